"""How a follower comes along behind the journal: read to the durable end → effect → cursor, in one transaction.

The cursor is the follower's own and stands in its store, moved by the transaction that stores the effect. So it may be
stopped at any line, by anything, and the next one goes on where the last commit was: exactly once in effect. Nothing
here sleeps or starts a thread: `step` says how long to wait, and `compose` waits.

There is no doorbell to lose: the durable end is memory that the writer shares, and a look at it costs microseconds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tallystick.clock import Clock
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.journal.pacing import Pace
from tallystick.journal.port import JournalReader
from tallystick.records.blocks import EntryBlock
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY

ENTRIES_AT_ONCE = 65_536
"""Entries of a slice, about: blocks are taken whole. What a follower that catches up keeps in memory, 24 MB."""
POLL_S = 0.005
"""How long to wait for more at the durable end; what a follower is behind when nothing is wrong."""
RETRY_S = 0.1
RETRY_S_MAX = 30.0
"""The wait after an effect that was not possible: doubled each time it is again not possible, up to this."""

BEGINNING = bytes(32)
"""The hash of the block before the first one."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a follower has come."""

    next_seq: int = 0
    """The first entry whose effect is not there yet. It may stand inside a block."""
    block_hash: bytes | None = BEGINNING
    """Of the block before it; None: not known, as where one begins at some position. Then it is not checked."""


class Effects(Protocol):
    """What a follower makes of the journal, in a store that has transactions. One thread calls it."""

    def cursor(self) -> Cursor:
        """Where the last commit left it, read from the store. Raises `Unavailable` if the store cannot be read."""
        ...

    def take(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        """The effect of these blocks' entries from `cursor().next_seq` on, and `after` as cursor, in **one commit**.

        Either both are durable in the store on return, or neither is there after an error. `rows_from` leaves out
        what of the first block was before the cursor. Raises `Unavailable` if it is not possible now and will be
        tried again, `OutcomeUnknown` if it may have been committed (then the cursor tells), `Corrupt` for an entry
        that does not fit: a person is needed.
        """
        ...


def rows_from(blocks: Sequence[EntryBlock], seq: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Entries and details from `seq` on, as one array each; the blocks are dense and the first may begin before."""
    # As bytes: NumPy copies rows of many fields field by field.
    entries = np.concatenate([block.entries.view(np.uint8) for block in blocks]).view(ENTRY)
    details = np.concatenate([block.details.view(np.uint8) for block in blocks]).view(DETAILS)
    skipped = max(0, seq - blocks[0].header.first)
    return entries[skipped:], details[skipped:]


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole blocks, at least one, and the cursor after them."""

    blocks: Sequence[EntryBlock]
    after: Cursor


def slices(journal: JournalReader, cursor: Cursor, entries_at_once: int = ENTRIES_AT_ONCE) -> Iterator[Slice]:
    """What is durable at the call from the cursor on. Each slice ends with the block that completes so many entries.

    Raises `Corrupt` where the journal does not continue what the cursor stands for, or ends before it.
    """
    blocks: list[EntryBlock] = []
    count = 0
    for block in journal.read(cursor.next_seq):
        cursor = _continued(cursor, block)
        blocks.append(block)
        count += block.header.count
        if count >= entries_at_once:
            yield Slice(blocks, cursor)
            blocks, count = [], 0
    if blocks:
        yield Slice(blocks, cursor)


def _continued(cursor: Cursor, block: EntryBlock) -> Cursor:
    """The cursor after `block`. Raises `Corrupt` unless it is the one to come next."""
    header = block.header
    begins = header.first == cursor.next_seq
    # Inside a block one can only have begun at a position; whoever took a block has taken all of it.
    inside = header.first < cursor.next_seq < header.next and cursor.block_hash is None
    if not (begins or inside) or cursor.block_hash not in (None, header.previous):
        raise Corrupt(f"block {header.first} does not continue what was followed up to entry {cursor.next_seq}")
    return Cursor(header.next, header.hash)


def catch_up(journal: JournalReader, effects: Effects, entries_at_once: int = ENTRIES_AT_ONCE) -> int:
    """Take in all that was durable at the call; returns the seq after it.

    Raises whatever the journal or the effects raise; another call begins after the last slice that was committed.
    """
    cursor = effects.cursor()
    for each in slices(journal, cursor, entries_at_once):
        effects.take(each.blocks, each.after)
        cursor = each.after
    return cursor.next_seq


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a follower is, as of its last step."""

    next_seq: int
    end: int
    """The journal's durable end when it was last looked at."""
    since_ns: int
    """Nothing that it lacks is older, ns since the epoch; 0: not known yet. When it is level: when that was seen."""
    trouble: str
    """Why the last step could not be done and is tried again; empty: it was done."""


class Follower:
    """One follower's walk. Not safe for concurrent calls."""

    def __init__(
        self,
        journal: JournalReader,
        effects: Effects,
        clock: Clock,
        entries_at_once: int = ENTRIES_AT_ONCE,
        pace: Pace | None = None,
    ) -> None:
        """Takes up where the effects' own cursor stands, when first stepped. Without a `pace` it never rests."""
        self._journal = journal
        self._effects = effects
        self._clock = clock
        self._entries_at_once = entries_at_once
        self._pace = pace
        self._slices: Iterator[Slice] | None = None
        self._cursor: Cursor | None = None
        self._failures = 0
        self._trouble = ""
        self._since_ns = 0
        self._end = 0

    def step(self) -> float:
        """Take in one slice, if there is one. Returns how many seconds to wait before the next step; 0: do not wait.

        What is not possible now (`Unavailable`, `OutcomeUnknown`) is tried again after ever longer waits, from the
        cursor in the store. Whatever else is raised ends the follower: `Corrupt` needs a person.
        """
        try:
            wait_s = self._take_next()
        except (Unavailable, OutcomeUnknown) as error:
            self._slices = self._cursor = None
            self._trouble = str(error)
            self._failures += 1
            return float(min(RETRY_S * 2 ** min(self._failures - 1, 30), RETRY_S_MAX))
        except BaseException:
            self._slices = self._cursor = None  # else the slice that failed would be passed over
            raise
        self._failures, self._trouble = 0, ""
        return wait_s

    def _take_next(self) -> float:
        if self._pace is not None and (rest_s := self._pace.rest_s()):
            return rest_s
        if self._cursor is None:
            self._cursor = self._effects.cursor()
        if self._slices is None:
            looked_at_ns = self._clock.wall_ns()
            end = self._journal.end()
            if end == self._cursor.next_seq:
                self._since_ns = looked_at_ns
                return POLL_S
            at_once = self._entries_at_once
            if self._pace is not None and (part := self._pace.part(end - self._cursor.next_seq, end)):
                at_once = min(at_once, part)
            self._slices = slices(self._journal, self._cursor, at_once)
        found = next(self._slices, None)
        if found is None:
            self._slices = None
            return 0.0
        self._decided_by(found.blocks[0], np.min)
        self._effects.take(found.blocks, found.after)
        before, self._cursor = self._cursor, found.after
        self._decided_by(found.blocks[-1], np.max)
        if self._pace is None:
            return 0.0
        self._pace.took(found.after.next_seq - before.next_seq)
        self._slices = None  # how much to take next is asked anew
        return self._pace.rest_s()

    def _decided_by(self, block: EntryBlock, end: Callable[..., np.uint64]) -> None:
        """What is still lacking was decided after the first, or the last, entry of this block."""
        times = block.entries["timestamp"]
        times = times[times != 0]  # a seal has none
        if len(times):
            self._since_ns = max(self._since_ns, int(end(times)))

    def progress(self) -> Progress:
        """How far it is. Raises `Corrupt` if the journal does."""
        next_seq = 0 if self._cursor is None else self._cursor.next_seq
        try:
            self._end = self._journal.end()
        except Unavailable as error:  # a server that is away: the next step says so, too
            return Progress(next_seq, max(self._end, next_seq), self._since_ns, self._trouble or str(error))
        if self._pace is not None:
            self._pace.see(self._end)
        return Progress(next_seq, self._end, self._since_ns, self._trouble)
