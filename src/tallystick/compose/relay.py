"""The relay process: `Settings` → a follower that sends events to a broker, until SIGTERM or SIGINT.

One thread: take a slice, send it, see it confirmed, move the cursor. A broker that is away is tried again, ever later,
up to half a minute; meanwhile nothing is lost, since the journal has it, and no payment waits for it.
"""

from pathlib import Path

import structlog

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.brokers.address import Address, parse
from tallystick.clock import Clock, SystemClock
from tallystick.compose import logs
from tallystick.compose.following import Walk, alone
from tallystick.compose.journals import Place
from tallystick.errors import Invalid
from tallystick.journal.follow import Follower
from tallystick.measures import file, table
from tallystick.measures.table import Family, Measures
from tallystick.relay import cloudevents
from tallystick.relay.port import Outlet
from tallystick.relay.sending import ENTRIES_AT_ONCE, Sending
from tallystick.settings import Settings

NAME = FOLDER = "relay"
SUFFIX = ".cursor"
SETTING = "TALLY_RELAY"
OPTIONS = {"kafka": frozenset({"mechanism", "partitions"}), "rabbitmq": frozenset[str]()}
"""By scheme, what an address may say beside what every broker's may."""
REST_S = 0.05
"""What an event is later, so that moving the cursor costs payments no more than 40 syncs a second."""
_SECOND, _MS = 1_000_000_000, 1_000_000
_SEND_NS = (_MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 100 * _MS, 500 * _MS, _SECOND, 5 * _SECOND)
FAMILIES = (
    Family(name="tally_relay_events", meaning="Events that the broker has confirmed.", kind="counter"),
    Family(name="tally_relay_unrouted", meaning="Of them, those for which it had no queue.", kind="counter"),
    Family(
        name="tally_relay_send_seconds",
        meaning="How long it took to send a slice and see it confirmed.",
        kind="histogram",
        per_unit=_SECOND,
        bounds=_SEND_NS,
    ),
    Family(
        name="tally_relay_seen_timestamp_seconds",
        meaning="When its loop last went round; long ago: it is stopped or stuck.",
        kind="gauge",
        per_unit=_SECOND,
    ),
)

_log = structlog.get_logger("tallystick.compose.relay")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another relay has the folder, `Invalid` for settings,
    or a topic's, that make no sense.
    """
    logs.configure(NAME)
    where = address(settings)
    disk, clock = SystemDisk(), SystemClock(settings.clock_offset_file)
    run_folder, cursor = settings.path("run"), cursor_path(settings, where)
    for folder in (run_folder, cursor.parent):
        disk.make_folder(folder)
    with alone(disk, run_folder, NAME):
        watch = Watch(run_folder, clock)
        outlet = open_outlet(where, clock)
        journal = Place.of(settings).reader(disk)
        source = cloudevents.source(settings.log_origin_of_shard)
        sending = Sending(outlet, lambda: Slots(cursor, disk), source, settings.shard, clock, watch.sent)
        walk = Walk(NAME, Follower(journal, sending, clock, ENTRIES_AT_ONCE), run_folder, clock, REST_S)

        def moved(next_seq: int) -> None:
            outlet.tend()
            watch.seen()

        _log.info("relay ready", outlet=str(where), next_seq=sending.stored().next_seq, end=journal.end())
        try:
            walk.run(moved)
        finally:
            outlet.close()
            sending.close()
            journal.close()
    _log.info("relay stopped")


def address(settings: Settings) -> Address:
    """Where `TALLY_RELAY` says. Raises `Invalid` that says what is wrong with it."""
    if not settings.relay:
        raise Invalid(SETTING, "is not set: it names a Kafka topic or a RabbitMQ exchange, see docs/guides/relay.md")
    options = OPTIONS.get(settings.relay.partition("://")[0], frozenset())
    found = parse(settings.relay, SETTING, options, "-_.")
    partitions = found.options.get("partitions", "1")
    if not partitions.isdecimal() or not 0 < int(partitions) <= 10_000:
        raise Invalid(SETTING, f"?partitions={partitions} is no number from 1 to 10,000")
    return found


def cursor_path(settings: Settings, where: Address) -> Path:
    """Where the cursor of this outlet stands: another topic or exchange has another, so it is sent everything."""
    return settings.path(FOLDER, f"{where.scheme}-{where.name}{SUFFIX}")


def open_outlet(where: Address, clock: Clock) -> Outlet:
    """The outlet there; nothing is connected yet. Raises `Invalid` if its client is not installed."""
    try:
        if where.scheme == "kafka":
            from tallystick.relay.kafka import KafkaOutlet

            return KafkaOutlet(where, clock)
        from tallystick.relay.rabbitmq import RabbitOutlet

        return RabbitOutlet(where, clock)
    except ModuleNotFoundError as error:
        extra = f"pip install 'tallystick[{where.scheme}]'"
        raise Invalid(SETTING, f"{where.scheme}:// needs a package more: {extra}") from error


class Watch:
    """Counts what is sent. Everything on the relay's thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """In `folder`, or in memory if nothing can be written there: events go on."""
        measures = _opened(folder)
        self._clock = clock
        self._events = measures.counter("tally_relay_events")
        self._unrouted = measures.counter("tally_relay_unrouted")
        self._took = measures.histogram("tally_relay_send_seconds")
        self._seen = measures.gauge("tally_relay_seen_timestamp_seconds")
        self._told = False

    def sent(self, events: int, unrouted: int, took_ns: int) -> None:
        """A slice was confirmed."""
        self._events.add(events)
        self._took.note(took_ns)
        self._unrouted.add(unrouted)
        if unrouted and not self._told:
            _log.warning("no queue is bound for some events: they are gone there; see tally_relay_unrouted_total")
        self._told = bool(unrouted)

    def seen(self) -> None:
        """The loop went round."""
        self._seen.set(self._clock.wall_ns())


def _opened(folder: Path) -> Measures:
    try:
        return file.create(folder, NAME, FAMILIES)
    except OSError as error:
        _log.warning("nothing will be measured: the file cannot be written", error=str(error))
        return table.in_memory(FAMILIES)
