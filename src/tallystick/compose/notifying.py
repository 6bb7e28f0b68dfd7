"""What the notifier's process counts of itself, in a file that gateways show in /metrics (docs/operations.md)."""

from pathlib import Path

import structlog

from tallystick.clock import Clock
from tallystick.measures import file, table
from tallystick.measures.table import Family, Measures
from tallystick.notifier.deliveries import Attempt
from tallystick.notifier.delivering import Courier
from tallystick.notifier.schedule import Next
from tallystick.notifier.subscriptions import Subscriptions

NAME = "notifier"
_SECOND, _MS = 1_000_000_000, 1_000_000
_ATTEMPT_NS = (_MS, 5 * _MS, 20 * _MS, 50 * _MS, 100 * _MS, 250 * _MS, 500 * _MS, _SECOND, 5 * _SECOND, 15 * _SECOND)

_log = structlog.get_logger("tallystick.compose.notifying")


def _counter(name: str, meaning: str) -> Family:
    return Family(name=f"tally_notifier_{name}", meaning=meaning, kind="counter")


def _gauge(name: str, meaning: str, per_unit: int = 1) -> Family:
    return Family(name=f"tally_notifier_{name}", meaning=meaning, kind="gauge", per_unit=per_unit)


FAMILIES = (
    _counter("attempts", "Webhooks sent, or tried to be."),
    _counter("failures", "Attempts that were not answered with 2xx."),
    _counter("dead", "Deliveries that are not tried any more."),
    Family(
        name="tally_notifier_attempt_seconds",
        meaning="How long receivers took to answer.",
        kind="histogram",
        per_unit=_SECOND,
        bounds=_ATTEMPT_NS,
    ),
    _gauge("on_their_way", "Webhooks that are being sent."),
    _gauge("subscriptions", "Subscriptions there are."),
    _gauge("subscriptions_disabled", "Subscriptions that are sent nothing."),
    _gauge("subscriptions_behind", "Subscriptions that lack what is to be made from the journal later."),
    _gauge("seen_timestamp_seconds", "When its loop last went round; long ago: it is stopped or stuck.", _SECOND),
)


class Watch:
    """Counts what the courier does. Everything on its thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """In `folder`, or in memory if nothing can be written there: webhooks go on."""
        self._measures = _opened(folder)
        self._clock = clock
        self._attempts = self._measures.counter("tally_notifier_attempts")
        self._failures = self._measures.counter("tally_notifier_failures")
        self._dead = self._measures.counter("tally_notifier_dead")
        self._took = self._measures.histogram("tally_notifier_attempt_seconds")

    def attempted(self, attempt: Attempt, follows: Next) -> None:
        """One attempt is over."""
        self._attempts.add(1)
        self._took.note(attempt.took_ms * _MS)
        if not attempt.reply.succeeded:
            self._failures.add(1)
        if follows in (Next.DEAD, Next.GONE):
            self._dead.add(1)

    def tell(self, courier: Courier, subscriptions: Subscriptions) -> None:
        """How it stands now."""
        found = list(subscriptions)
        for name, value in (
            ("on_their_way", courier.hands),
            ("subscriptions", len(found)),
            ("subscriptions_disabled", sum(not each.enabled for each in found)),
            ("subscriptions_behind", sum(each.behind_seq is not None for each in found)),
            ("seen_timestamp_seconds", self._clock.wall_ns()),
        ):
            self._measures.gauge(f"tally_notifier_{name}").set(value)


def _opened(folder: Path) -> Measures:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return file.create(folder, NAME, FAMILIES)
    except OSError as error:
        _log.warning("nothing will be measured: the file cannot be written", error=str(error))
        return table.in_memory(FAMILIES)
