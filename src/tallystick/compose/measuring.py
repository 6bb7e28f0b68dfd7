"""What the engine's process counts of itself: around its parts, never inside, so that the engine knows nothing of it.

    intake ─► [taken: how many, how old] ─► decide ─► [decided: how long] ─► writer ─► [appended: how long, how much]

Costs about 5 µs a batch, where deciding and writing the smallest takes 400 to 1,000 µs of CPU. Gateways show it in
/metrics; what each family means for an operator stands in docs/operations.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tallystick.clock import Clock
from tallystick.compose.parts import Parts
from tallystick.engine.drafts import Delivery, Draft
from tallystick.engine.loop import Source
from tallystick.engine.writer import LookedUp
from tallystick.journal.port import Journal
from tallystick.ledger.books import Counter
from tallystick.measures import file, table
from tallystick.measures.table import Family, Measures
from tallystick.records.blocks import Bytes
from tallystick.settings import Settings

NAME = "engine"
SLOW_NS = 500_000_000
"""A batch that takes longer is told in the log, with its requests: somebody's client has noticed."""
LOGGED_IDS_MAX = 100
SECOND = 1_000_000_000
_MS = 1_000_000
_DECIDE_NS = (50_000, 100_000, 200_000, 500_000, _MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 200 * _MS, SECOND)
_APPEND_NS = (200_000, 500_000, _MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 100 * _MS, 500 * _MS, SECOND)
_WAIT_NS = (_MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 100 * _MS, 500 * _MS, SECOND, 5 * SECOND, 60 * SECOND)
_COMMANDS = (1, 4, 16, 64, 256, 1024, 4096, 8190)

_log = structlog.get_logger("tallystick.compose.measuring")


def _counter(name: str, meaning: str) -> Family:
    return Family(name=f"tally_engine_{name}", meaning=meaning, kind="counter")


def _gauge(name: str, meaning: str, per_unit: int = 1) -> Family:
    return Family(name=f"tally_engine_{name}", meaning=meaning, kind="gauge", per_unit=per_unit)


def _histogram(name: str, meaning: str, bounds: tuple[int, ...], per_unit: int = SECOND) -> Family:
    return Family(name=f"tally_engine_{name}", meaning=meaning, kind="histogram", per_unit=per_unit, bounds=bounds)


FAMILIES = (
    _counter("commands", "Commands taken from the lanes, repeated ones too."),
    _counter("journal_bytes", "Bytes appended to the journal."),
    _counter("lookups", "Look-ups answered."),
    _histogram("batch_commands", "Commands decided together.", _COMMANDS, per_unit=1),
    _histogram("wait_seconds", "Age of the oldest command of a batch when it was taken.", _WAIT_NS),
    _histogram("decide_seconds", "Time to decide a batch, or to let pending transfers expire.", _DECIDE_NS),
    _histogram("append_seconds", "Time to make a block durable in the journal.", _APPEND_NS),
    _gauge("next_seq", "Entries in the journal: where it goes on."),
    _gauge("snapshot_seq", "The entry from which a start would replay."),
    _gauge("accounts", "Accounts in the books."),
    _gauge("accounts_max", "Accounts the books have room for (TALLY_ACCOUNTS_MAX)."),
    _gauge("pendings_open", "Open pending transfers."),
    _gauge("pendings_max", "Open pending transfers the books have room for (TALLY_PENDINGS_MAX)."),
    _gauge("epoch", "Number of this engine's term: one more with each start."),
    _gauge("crashes", "How often the same requests have crashed it; 2: they are decided one by one."),
    _gauge("clock_jumped", "1: the wall clock is over a second away from the entries' time."),
    _gauge("started_timestamp_seconds", "When it was ready.", SECOND),
    _gauge("start_seconds", "How long that start took.", SECOND),
    _gauge("seen_timestamp_seconds", "When its loop last went round; long ago: it is stopped or stuck.", SECOND),
)


def open_measures(folder: Path) -> Measures:
    """The engine's measures in the data folder's `run`, or in memory if they cannot be written: payments go on."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return file.create(folder, NAME, FAMILIES)
    except OSError as error:
        _log.warning("nothing will be measured: the file cannot be written", error=str(error))
        return table.in_memory(FAMILIES)


@dataclass
class Watch:
    """Counts what passes. `taken`, `put` and `looked_up` belong to the loop's thread, `append` to whoever writes."""

    measures: Measures
    clock: Clock
    _began_ns: int = field(init=False, default=0)
    _deliveries: list[Delivery] = field(init=False, default_factory=list)
    _unwritten: dict[int, list[Delivery]] = field(init=False, default_factory=dict)
    """By first seq, what a block that is being written decides; one or two of them."""

    def __post_init__(self) -> None:
        measures = self.measures
        self._now_ns, self._wall_ns = self.clock.monotonic_ns, self.clock.wall_ns
        self._commands = measures.counter("tally_engine_commands")
        self._bytes = measures.counter("tally_engine_journal_bytes")
        self._lookups = measures.counter("tally_engine_lookups")
        self._batch = measures.histogram("tally_engine_batch_commands")
        self._wait = measures.histogram("tally_engine_wait_seconds")
        self._decide = measures.histogram("tally_engine_decide_seconds")
        self._append = measures.histogram("tally_engine_append_seconds")
        self._next_seq = measures.gauge("tally_engine_next_seq")

    def source(self, source: Source) -> Source:
        """The same source, watched."""
        return _WatchedSource(source, self)

    def journal(self, journal: Journal) -> Journal:
        """The same journal, its appends timed."""
        return _WatchedJournal(journal, self)

    def putting(self, put: Callable[[Draft | LookedUp], None]) -> Callable[[Draft | LookedUp], None]:
        """The same way to the writer, for the loop: what passes has just been decided."""

        now_ns = self._now_ns

        def watched(work: Draft | LookedUp) -> None:
            if isinstance(work, Draft):
                decided_ns = now_ns() - self._began_ns
                self._decide.note(decided_ns)
                if work.outcome is not None:  # else only retries came, and nothing is written
                    self._unwritten[work.first_seq] = self._deliveries
                put(work)
                if decided_ns > SLOW_NS:
                    _log.warning("slow to decide", seconds=decided_ns / SECOND, **_about(self._deliveries))
                if work.answers and not work.answers[0].delivery.lane:
                    self._tell_alone(work)
                    self._began_ns = now_ns()  # they come one after the other
            else:
                put(work)

        return watched

    def _tell_alone(self, draft: Draft) -> None:
        """A request was decided by itself, since deciding it with others has crashed the engine."""
        for answer in draft.answers:
            status = int(answer.rows["status"][0])
            _log.error("request decided alone", status=status, seq=draft.first_seq, **_about([answer.delivery]))

    def ends(self, error: BaseException) -> None:
        """What ended the engine, and what it was at."""
        _log.critical("the engine ends", error=str(error), kind=type(error).__name__, **_about(self._deliveries))

    def looked_up(self) -> None:
        """A look-up was answered."""
        self._lookups.add(1)

    def taken(self, deliveries: list[Delivery]) -> None:
        """The loop took these to decide them now."""
        self._deliveries = deliveries
        if deliveries:
            commands = deliveries[0].commands
            count = len(commands)
            oldest_ns = commands["submitted_at"][0]
            for delivery in deliveries[1:]:
                commands = delivery.commands
                count += len(commands)
                oldest_ns = min(oldest_ns, commands["submitted_at"][0])
            self._commands.add(count)
            self._batch.note(count)
            self._wait.note(self._wall_ns() - int(oldest_ns))
        self._began_ns = self._now_ns()

    def appended(self, began_ns: int, size: int, first_seq: int, next_seq: int) -> None:
        """A block is durable."""
        took_ns = self._now_ns() - began_ns
        self._append.note(took_ns)
        if took_ns > SLOW_NS:
            about = _about(self._unwritten.get(first_seq, []))
            _log.warning("slow to append", seconds=took_ns / SECOND, first_seq=first_seq, **about)
        self._unwritten.pop(first_seq, None)
        self._bytes.add(size)
        self._next_seq.set(next_seq)


def _about(deliveries: list[Delivery]) -> dict[str, object]:
    """Which requests these are, for a log line: their ids, as far as a line should go, and whose they are."""
    told: list[str] = []
    for delivery in deliveries:
        firsts = delivery.commands[delivery.commands["index"] == 0][: LOGGED_IDS_MAX - len(told)]
        told += [f"{int(row['request_id_hi']):016x}{int(row['request_id_lo']):016x}" for row in firsts]
    lanes = [f"{delivery.lane.hex()}:{delivery.number}" for delivery in deliveries if delivery.lane]
    return {
        "commands": sum(len(delivery.commands) for delivery in deliveries),
        "request_ids": told,
        "lanes": lanes,
    }


@dataclass
class _WatchedSource:
    inner: Source
    watch: Watch

    def receive(self, commands_max: int) -> list[Delivery]:
        deliveries = self.inner.receive(commands_max)
        self.watch.taken(deliveries)
        return deliveries


class _WatchedJournal:
    """Passes everything on to the journal; `append` is timed on its way."""

    def __init__(self, inner: Journal, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch
        self._now_ns = watch.clock.monotonic_ns
        self.end = inner.end
        self.read = inner.read
        self.rows = inner.rows
        self.close = inner.close
        self.tail = inner.tail

    @property
    def epoch(self) -> int:
        return self._inner.epoch

    def append(self, block: list[Bytes], expected_seq: int, epoch: int) -> None:
        began_ns = self._now_ns()
        self._inner.append(block, expected_seq, epoch)
        # Parts of a block are bytes, or memory counted in bytes.
        self._watch.appended(began_ns, sum(map(len, block)), expected_seq, self._inner.tail().next_seq)


class Standing:
    """How the engine stands, told once a second by its loop."""

    def __init__(self, measures: Measures, parts: Parts, settings: Settings, clock: Clock, start_ns: int) -> None:
        self._parts = parts
        self._clock = clock
        self._measures = measures
        for name, value in (
            ("next_seq", parts.decider.next_seq),
            ("accounts_max", settings.accounts_max),
            ("pendings_max", settings.pendings_max),
            ("epoch", parts.journal.epoch),
            ("started_timestamp_seconds", clock.wall_ns()),
            ("start_seconds", start_ns),
        ):
            self._set(name, value)
        self.tell()

    def tell(self) -> None:
        """As it is now."""
        counters = self._parts.decider.bookkeeper.books.counters
        for name, value in (
            ("snapshot_seq", self._parts.snapshot_seq()),
            ("accounts", self._parts.decider.bookkeeper.count()),
            ("pendings_open", int(counters[Counter.PENDINGS] - counters[Counter.PENDINGS_FREE])),
            ("crashes", self._parts.poison.crashes),
            ("clock_jumped", int(self._parts.timekeeper.jumped)),
            ("seen_timestamp_seconds", self._clock.wall_ns()),
        ):
            self._set(name, value)

    def _set(self, name: str, value: int) -> None:
        self._measures.gauge(f"tally_engine_{name}").set(value)
