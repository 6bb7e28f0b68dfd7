"""Snapshots of the books, written behind: so that a start replays a tail and not the whole journal (DESIGN §4).

    block decided ─► rows marked ─► due? capture (a copy, between batches) ─► journal durable so far? ─► increment
                                                                 increments larger than the base ─► a new base

The loop's thread marks and copies; `step`, in another thread or between a simulation's steps, writes and merges. A
snapshot is valid only for the journal whose block, by its hash, ends where the snapshot was taken. All of it is
derived: whatever is damaged is told, left out and made again.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tallystick.engine import booktables
from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Draft
from tallystick.engine.endings import Endings
from tallystick.engine.snapshot_files import SLICE_BYTES, Label, Part, Say, Snapshots, Summary, TableSummary
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.ledger.books import Bookkeeper
from tallystick.records.blocks import pack_positions, unpack_positions

Job = Generator[None, None, None]
LoadEndings = Callable[[int], Endings | None]
"""The endings of all entries below a position, or None if they cannot be trusted; for 0 always some."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """When an increment is due."""

    rows: int = 100_000
    """Accounts touched since the last one, …"""
    entries_min: int = 250_000
    """… but not before so many entries: or increments would cost more than the journal."""
    entries_max: int = 500_000
    """Entries after which one is due in any case: what a start replays at most, or little more."""
    parts_max: int = 32
    """Increments that are merged even if they are smaller than the base."""


class _Captured(NamedTuple):
    """Rows copied at one position, to be written."""

    label: Label
    last_timestamp: int
    positions: bytes
    changed: list[booktables.Changed]


class Keeper:
    """Marks, captures, writes and merges, and restores at start. `step` alone may be called by another thread."""

    def __init__(
        self,
        snapshots: Snapshots,
        reader: JournalReader,
        load_endings: LoadEndings,
        cadence: Cadence = Cadence(),
        say: Say = lambda message: None,
        sweep: bool = True,
    ) -> None:
        """`reader` is for this alone: it reads the journal from whatever thread calls.

        `sweep` deletes at start what can never be used again.
        """
        self._sweep = sweep
        self._snapshots = snapshots
        self._reader = reader
        self._load_endings = load_endings
        self._cadence = cadence
        self._say = say
        self._chain: list[Part] = []
        self._older: list[Label] = []
        self._stop = 0  # where the last capture was made
        self._captured: _Captured | None = None
        self._job: Job | None = None
        self._anew = False
        self._decider: Decider
        self._marks: booktables.Marks

    @property
    def covered(self) -> int:
        """The position from which a start would replay."""
        return self._chain[-1].label.stop if self._chain else 0

    def restore(self, decider: Decider) -> int:
        """Fill empty books from the newest snapshot that can be trusted; returns its position, 0 if there is none.

        Raises `Invalid` if the books are too small.
        """
        bookkeeper = decider.bookkeeper
        chain = self._snapshots.load(self._reader.end(), self._fits, self._say, self._sweep)
        endings = self._load_endings(chain[-1].label.stop if chain else 0)
        if endings is None:
            self._say("how pending transfers ended cannot be read back: the books are made again from entry 0")
            if self._sweep:
                self._snapshots.remove([part.label for part in chain])
            chain, endings = [], self._load_endings(0)
        assert endings is not None
        for part in chain:
            _restore(bookkeeper, part)
        booktables.index(bookkeeper)
        self._chain, self._stop = chain, chain[-1].label.stop if chain else 0
        self._older = self._snapshots.superseded(chain[0].label) if chain else []
        decider.endings = endings
        if chain:
            last = chain[-1].summary
            decider.last_timestamp = last.last_timestamp
            decider.positions = unpack_positions(last.positions)
        return self._stop

    def follow(self, decider: Decider) -> None:
        """From now on take snapshots of the books of `decider`, to which the journal's tail was applied."""
        self._decider, self._marks = decider, booktables.Marks(decider.bookkeeper)
        self._marks.mark_since(self._stop)
        decider.decided = self._on_decided

    def capture_now(self) -> None:
        """Take a snapshot whether one is due or not, between blocks; `step` writes it."""
        if self._captured is None and self._decider.next_seq > self._stop:
            self._capture(self._decider.next_seq)

    def step(self) -> bool:
        """One slice of background work, a few milliseconds; False if there is no more to do now.

        Raises what disk and journal raise; the work is begun again at the next call.
        """
        if self._job is None:
            if self._captured is not None and self._reader.end() >= self._captured.label.stop:
                self._job = self._write(self._captured)
            elif self._captured is None and self._merge_is_due():
                self._job = self._merge()
            else:
                return False
        job, self._job = self._job, None
        try:
            next(job)
        except StopIteration:
            return True
        self._job = job
        return True

    def _fits(self, label: Label, summary: Summary) -> bool:
        """Whether a part is of these books and of this journal."""
        if summary.layout != booktables.LAYOUT:
            self._say(f"snapshot {label.name} is not used: it was made by another version")
            return False
        if summary.journal_hash != hash_before(self._reader, label.stop):
            self._say(f"snapshot {label.name} is not used: it is of another journal")
            return False
        return True

    def _on_decided(self, draft: Draft) -> None:
        """A block was decided: mark its rows, and copy all that are marked when that is due."""
        assert draft.outcome is not None
        self._marks.mark(draft.outcome.rows)
        if self._anew and self._captured is None:
            self._anew, self._stop = False, 0
            self._marks.mark_all()
        next_seq = draft.next_seq
        entries = next_seq - self._stop
        cadence = self._cadence
        due = entries >= cadence.entries_max or (self._marks.count >= cadence.rows and entries >= cadence.entries_min)
        if due and self._captured is None:
            self._capture(next_seq)

    def _capture(self, position: int) -> None:
        decider = self._decider
        decider.endings.capture(position)
        self._captured = _Captured(
            Label(self._stop, position),
            decider.last_timestamp,
            pack_positions(decider.positions),
            self._marks.take(),
        )
        self._stop = position

    def _write(self, captured: _Captured) -> Job:
        """The endings first: where a part says so, they must be complete."""
        yield from self._decider.endings.write()
        journal_hash = hash_before(self._reader, captured.label.stop)
        tables = tuple(
            TableSummary(changed.name, changed.rows.shape[1] * 8, changed.total, len(changed.rows))
            for changed in captured.changed
        )
        summary = Summary(booktables.LAYOUT, journal_hash, captured.last_timestamp, captured.positions, tables)
        part = yield from self._snapshots.write(captured.label, summary, _body(captured))
        self._chain.append(part)
        self._captured = None

    def _merge_is_due(self) -> bool:
        increments = self._chain[1:]
        size = sum(part.size for part in increments)
        return len(increments) > self._cadence.parts_max or (bool(increments) and size > self._chain[0].size)

    def _merge(self) -> Job:
        """One base of the whole chain. What it replaces stays until the next merge: should the base be damaged."""
        chain = list(self._chain)
        last = chain[-1]
        label = Label(0, last.label.stop)
        tables = tuple(
            TableSummary(table.name, table.row_size, table.count, table.count) for table in last.summary.tables
        )
        summary = Summary(
            booktables.LAYOUT, last.summary.journal_hash, last.summary.last_timestamp, last.summary.positions, tables
        )
        try:
            for part in chain:  # or a bit that fell over at rest would get a good hash
                yield from part.verified()
            base: Part = yield from self._snapshots.write(label, summary, _merged(chain))
        except Corrupt as error:
            self._say(f"a snapshot was damaged at rest, and is made anew from the books: {error}")
            self._begin_anew()
            return
        self._snapshots.remove(self._older)
        self._older = [part.label for part in chain]
        self._chain = [base]

    def _begin_anew(self) -> None:
        """What is stored cannot be built upon: the next capture, in the loop's thread, takes all rows."""
        self._snapshots.remove([*self._older, *(part.label for part in self._chain)])
        self._chain, self._older = [], []
        self._anew = True


def hash_before(reader: JournalReader, position: int) -> bytes:
    """The hash of the block that ends before entry `position`; nothing if none does."""
    block = next(iter(reader.read(position - 1)), None)
    return block.header.hash if block is not None and block.header.next == position else b""


def _body(captured: _Captured) -> Iterator[memoryview]:
    """Numbers and rows, table by table."""
    for changed in captured.changed:
        for words in (changed.numbers, changed.rows) if captured.label.first else (changed.rows,):
            data = np.ascontiguousarray(words).view(np.uint8).reshape(-1).data
            for at in range(0, len(data), SLICE_BYTES):
                yield data[at : at + SLICE_BYTES]


def _merged(chain: list[Part]) -> Iterator[memoryview]:
    """All rows of each table as the last part that holds it has them, a slice at a time."""
    for table in chain[-1].summary.tables:
        numbers = [part.numbers(table.name) for part in chain]
        at_once = max(1, SLICE_BYTES // table.row_size)
        for begin in range(0, table.count, at_once):
            end = min(table.count, begin + at_once)
            rows = np.zeros((end - begin, table.row_size // 8), "<u8")
            for part, held in zip(chain, numbers, strict=True):
                low, high = np.searchsorted(held, np.array([begin, end], "<u8")).tolist()
                if high > low:
                    rows[(held[low:high] - np.uint64(begin)).astype(np.int64)] = part.rows(table.name, low, high)
            yield rows.view(np.uint8).reshape(-1).data


def _restore(bookkeeper: Bookkeeper, part: Part) -> None:
    """Lay the rows of a part over those of the parts before it."""
    for table in part.summary.tables:
        words = booktables.resized(bookkeeper, table.name, table.count)
        numbers = part.numbers(table.name).astype(np.int64)
        at_once = max(1, SLICE_BYTES // table.row_size)
        for begin in range(0, table.held, at_once):
            end = min(table.held, begin + at_once)
            words[numbers[begin:end]] = part.rows(table.name, begin, end)
