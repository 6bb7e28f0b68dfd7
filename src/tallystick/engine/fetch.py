"""What a decision needs and the books lack: entries of the past, from the journal or from blocks still on their way.

Positions come from the id index and say only "perhaps here": whoever asks compares ids. The newest two drafts are
kept, since at most one block is unsynced while the next is decided.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

from tallystick.engine.drafts import Draft
from tallystick.engine.idindex import IdIndex
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.ledger import imports
from tallystick.ledger.batches import Batch
from tallystick.ledger.compiled import records
from tallystick.records.commands import AccountFlag, Kind, TransferFlag
from tallystick.records.details import DETAILS
from tallystick.records.entries import CARRIED, ENTRY, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK

DRAFTS_KEPT = 2


class Fetcher:
    """Reads entries and details by position. Used by the engine's loop alone."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal
        self._drafts: deque[Draft] = deque(maxlen=DRAFTS_KEPT)

    def remember(self, draft: Draft) -> None:
        """A block that may not be readable in the journal yet."""
        if draft.outcome is not None:
            self._drafts.append(draft)

    def rows(self, positions: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """Entries (as `WORK`) and details at these positions, in their order.

        Single rows cannot be hash-checked, so raises `Corrupt` for one that does not know its own position.
        """
        entries, details = np.empty(len(positions), ENTRY), np.empty(len(positions), DETAILS)
        durable = np.ones(len(positions), bool)
        for draft in self._drafts:
            assert draft.outcome is not None
            here = (positions >= draft.first_seq) & (positions < draft.next_seq)
            at = (positions[here] - np.uint64(draft.first_seq)).astype(np.int64)
            entries[here] = draft.outcome.entries.view(np.ndarray)[at].view(ENTRY)
            details[here] = draft.outcome.details.view(np.ndarray)[at]
            unsealed = positions == np.uint64(draft.next_seq - 1)
            entries["seq"][unsealed], entries["kind"][unsealed] = draft.next_seq - 1, Kind.SEAL  # the writer fills it
            durable &= ~here
        if durable.any():
            entries[durable], details[durable] = self._journal.rows(positions[durable])
        if (entries["seq"] != positions).any():
            # Zeros read by mistake would pass for "no such id", and a payment would be made twice.
            raise Corrupt(f"the journal gave another entry than {int(positions[entries['seq'] != positions][0])}")
        return entries.view(WORK), details

    def transfers(self, positions: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
        """Entries at these positions, read as transfers (`TRANSFER_WORK`), as the kernel takes them."""
        return records(self.rows(positions)[0].view(TRANSFER_WORK))

    def by_timestamp(self, times: npt.NDArray[np.uint64], end: int) -> npt.NDArray[np.void]:
        """For each time the entry of that timestamp among the first `end` of the journal, as `TRANSFER_WORK`.

        Where there is none, some other entry; copies are not found by theirs. The others' timestamps increase, so it is
        a binary search, all times at once.
        """
        low, high = np.zeros(len(times), np.int64), np.full(len(times), end - 1, np.int64)
        while (low < high).any():
            middle = (low + high) // 2
            # A seal has no time: the entry before it stands for it; a block holds at least one.
            searching, later = low < high, self._timestamps(middle) < times
            low, high = np.where(searching & later, middle + 1, low), np.where(searching & ~later, middle, high)
        return self.rows(low.astype(np.uint64))[0].view(TRANSFER_WORK)

    def _timestamps(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        entries = self.rows(positions.astype(np.uint64))[0]
        times = _places_in_time(entries)
        seals = entries["kind"] == Kind.SEAL
        if seals.any():
            times[seals] = _places_in_time(self.rows((positions[seals] - 1).astype(np.uint64))[0])
        return times


def _places_in_time(entries: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """The time that an entry stands at in its journal: a copy tells that apart from its timestamp (`placing.carry`)."""
    return np.where(entries["version"] == CARRIED, entries["submitted_at"], entries["timestamp"])


def find_clashes(work: Batch, index: IdIndex, fetcher: Fetcher, last_timestamp: int, next_seq: int) -> None:
    """Mark the imports of a batch whose timestamp an event of the other kind has, in a block before (`Batch.clashes`).

    Imported events and copies are found by the id that their timestamp was entered under, others by their place in the
    journal.
    """
    importing = np.flatnonzero(work.import_hashes != 0)
    events = work.transfers.view(np.ndarray)  # accounts have their flags and time at the same places
    times = events["timestamp"].copy()
    hi = np.full(len(times), imports.ID_HI, "<u8")
    which, positions = index.candidates(work.import_hashes, times, hi, work.import_hashes != 0)
    if len(which):
        there = fetcher.transfers(positions).view(np.ndarray)
        _mark_clashes(work, which, there, by_place=False)
    if not next_seq or not (times[importing] <= last_timestamp).any():
        return
    there = fetcher.by_timestamp(times[importing], next_seq).view(np.ndarray)
    _mark_clashes(work, importing, there, by_place=True)


def _mark_clashes(
    work: Batch,
    which: npt.NDArray[np.int64],
    there: npt.NDArray[np.void],
    by_place: bool,
) -> None:
    asked = work.transfers.view(np.ndarray)[which]
    of_transfer = there["kind"] == Kind.TRANSFER
    flag = np.where(of_transfer, TransferFlag.IMPORTED, AccountFlag.IMPORTED)
    imported = (there["flag_bits"] & flag) != 0
    times = np.where(imported, there["event_timestamp"], there["timestamp"])
    is_placed = ~imported & (there["version"] != CARRIED)
    clash = (
        (of_transfer | (there["kind"] == Kind.ACCOUNT))
        & (there["kind"] != asked["kind"])
        & (there["tenant"] == asked["tenant"])
        & (there["status"] == STORED_MASK)
        & (is_placed == by_place)
        & (times == asked["timestamp"])
    )
    work.clashes[which[clash]] = 1
