"""One shard's engine on a journal in memory, its steps called by hand: for scenario tables and property tests.

No thread, no clock, no file: the caller says when a batch is decided, what time it is, and when the engine is
restarted from its journal.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Delivery
from tallystick.engine.idindex import IdIndex
from tallystick.engine.recovery import recover
from tallystick.engine.writer import Writer
from tallystick.journal.memory import KeptBlocks, MemoryJournal
from tallystick.ledger.books import Bookkeeper


class _Silent:
    """A gate for answers that are read from the draft."""

    def decided(self, answers: object) -> None:
        pass

    def durable(self, positions: object) -> None:
        pass


class Shard:
    """One engine on a journal in memory, its steps called by hand; its windows hold 16 ids."""

    def __init__(self, accounts_max: int = 256, keys_from: int = 1) -> None:
        self._accounts_max = accounts_max
        self._keys_from = keys_from
        self.kept = KeptBlocks()
        self.decider: Decider
        self.journal: MemoryJournal
        self.restart()

    def restart(self) -> None:
        """Begin again from the journal."""
        journal = MemoryJournal(0, self.kept)
        key = np.arange(self._keys_from, self._keys_from + 4, dtype="<u8") * np.uint64(0x9E3779B97F4A7C15)
        indexes = [IdIndex(key, 16), IdIndex(key, 16)]
        books = Bookkeeper(self._accounts_max, key[::-1].copy(), key, indexes[0].current, indexes[1].current)
        self.decider = recover(journal, books, indexes[0], indexes[1])
        self.journal = journal
        self._writer = Writer(journal, _Silent(), _counted)

    def decide(self, requests: Sequence[npt.NDArray[np.void]], now: int) -> list[tuple[int, int, int]]:
        """Decide one batch at `now`, ns, and write it: (timestamp, status, replayed) of each command."""
        draft = self.decider.decide([Delivery(commands) for commands in requests], now)
        self._writer.step(draft)
        while self.decider.transfer_index.step() or self.decider.request_index.step():
            pass
        return [row for answer in draft.answers for row in answer.rows.tolist()]


def _counted(count: int) -> bytes:
    return bytes([7]) * count
