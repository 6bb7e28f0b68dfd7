"""Two books held against each other: what a start begins with, and what the journal makes from entry 0.

Balances, pending transfers, id runs and endings are all derived. Here they are derived once more, and the first
difference is named. It shares `recovery.apply_block` with a start, and nothing with snapshots, runs and endings.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tallystick.engine import booktables
from tallystick.engine.deciding import Decider
from tallystick.engine.idruns import IdRun
from tallystick.engine.idtail import enter_ids
from tallystick.engine.recovery import apply_block
from tallystick.journal.port import JournalReader
from tallystick.ledger import windows
from tallystick.ledger.compiled import U64, records
from tallystick.records.blocks import EntryBlock
from tallystick.records.endings import Ending
from tallystick.records.entries import TRANSFER_WORK, WORK

Progress = Callable[[int, int], None]
Pairs = npt.NDArray[np.uint64]
ENDINGS_COMPARED = 65_536
"""Endings compared at once."""


def first_difference(reader: JournalReader, saved: Decider, anew: Decider, progress: Progress | None) -> str | None:
    """Apply the whole journal to `anew`, whose books are empty, and compare; None if `saved` is what comes out.

    `saved` is as a start made it. Raises `Corrupt` if the journal is damaged, `Invalid` if books are too small.
    """
    end = saved.next_seq
    of_transfers = [_RunCheck(run, "transfers") for run in saved.transfer_index.whole_runs]
    of_requests = [_RunCheck(run, "requests") for run in saved.request_index.whole_runs]
    for block in reader.read(0) if end else ():
        apply_block(anew, block, end)  # its ids go into no window: they are compared with the runs
        transfers, requests = _spent_ids(anew, block)
        for check in of_transfers:
            check.take(transfers)
        for check in of_requests:
            check.take(requests)
        if progress is not None:
            progress(anew.next_seq, end)
    for check in of_transfers + of_requests:
        if (found := check.difference()) is not None:
            return found
    return _differing_state(saved, anew) or _differing_rows(saved, anew) or _differing_endings(saved, anew)


def _spent_ids(decider: Decider, block: EntryBlock) -> tuple[Pairs, Pairs]:
    """The ids that the entries of a block have spent, as the window would get them: transfers, requests.

    Rows of (hash, position).
    """
    # An import has two: its own, and its time (`ledger.imports`).
    tables = np.zeros((2, windows.slots_for(2 * len(block.entries)), 2), "<u8")
    books = decider.bookkeeper.books._replace(transfer_ids=tables[0], request_ids=tables[1])
    entries = block.entries.view(np.uint8).copy()
    views = records(entries.view(WORK)), records(entries.view(TRANSFER_WORK))
    enter_ids(*views, books, U64(0), U64(block.header.next))
    found = [table[table[:, 1] != 0] - np.array([0, 1], "<u8") for table in tables]
    return found[0], found[1]


class _RunCheck:
    """One id run, and the ids of the journal between its positions."""

    def __init__(self, run: IdRun, what: str) -> None:
        self._run = run
        self._what = what
        self._count = 0
        self._missing: int | None = None

    def take(self, pairs: Pairs) -> None:
        """Ids of one block."""
        label = self._run.label
        here = pairs[(pairs[:, 1] >= np.uint64(label.first)) & (pairs[:, 1] < np.uint64(label.stop))]
        if not len(here):
            return
        self._count += len(here)
        rows = self._run.rows
        at = np.searchsorted(rows[:, 0], here[:, 0])
        found = np.zeros(len(here), bool)
        while (looking := np.flatnonzero(~found & (at < len(rows)))).size:
            same = rows[at[looking], 0] == here[looking, 0]
            found[looking] = same & (rows[at[looking], 1] == here[looking, 1])
            at[looking] = np.where(same, at[looking] + 1, len(rows))
        if not found.all() and self._missing is None:
            self._missing = int(here[~found, 1].min())
        self._run.forget()

    def difference(self) -> str | None:
        """What is wrong with the run, in words."""
        label = self._run.label
        if self._missing is not None:
            return f"id run {label.name} of {self._what}: the id of entry {self._missing} is not in it"
        if self._count != label.count:
            return f"id run {label.name} of {self._what} holds {label.count} ids, the journal {self._count}"
        return None


def _differing_state(saved: Decider, anew: Decider) -> str | None:
    for name in ("next_seq", "last_timestamp", "positions"):
        here, there = getattr(saved, name), getattr(anew, name)
        if here != there:
            return f"{name.replace('_', ' ')}: the snapshot leads to {here}, the journal to {there}"
    return None


def _differing_rows(saved: Decider, anew: Decider) -> str | None:
    """The first row of the books that differs, by table."""
    for (name, here), (_, there) in zip(
        booktables.comparable(saved.bookkeeper), booktables.comparable(anew.bookkeeper), strict=True
    ):
        if len(here) != len(there):
            return f"{name}: the snapshot leads to {len(here)} rows, the journal to {len(there)}"
        differing = np.flatnonzero((booktables.words(here) != booktables.words(there)).any(axis=1))
        if len(differing):
            row = int(differing[0])
            fields = [field for field in here.dtype.names or () if (here[row][field] != there[row][field]).any()]
            shown = {field: (here[row][field].tolist(), there[row][field].tolist()) for field in fields}
            number = int(there[row]["id_lo"]) | int(there[row]["id_hi"]) << 64
            return f"{name}: row {row} (id {number:x}) differs, (snapshot, journal): {shown}"
    return None


def _differing_endings(saved: Decider, anew: Decider) -> str | None:
    for begin in range(0, saved.next_seq, ENDINGS_COMPARED):
        seqs = np.arange(begin, min(begin + ENDINGS_COMPARED, saved.next_seq), dtype="<u8")
        here, there = saved.endings.of(seqs), anew.endings.of(seqs)
        differing = np.flatnonzero(here != there)
        if len(differing):
            at = int(differing[0])
            told, true = (Ending(int(found[at])).name.lower() for found in (here, there))
            return f"endings: entry {begin + at} is {told} in the file, {true} by the journal"
    return None
