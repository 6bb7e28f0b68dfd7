"""What a decision needs and the books lack: entries of the past, from the journal or from blocks still on their way.

Positions come from the id index and say only "perhaps here": whoever asks compares ids. The newest two drafts are
kept, since at most one block is unsynced while the next is decided.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

from tallystick.engine.drafts import Draft
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.ledger.compiled import records
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY, TRANSFER_WORK, WORK

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
