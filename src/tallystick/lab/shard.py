"""One shard's engine on a journal in memory, its steps called by hand: for scenario tables and property tests.

No thread, no clock, no file: the caller says when a batch is decided, what time it is, and when the engine is
restarted from its journal.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Delivery, Draft
from tallystick.engine.idindex import IdIndex
from tallystick.engine.recovery import recover
from tallystick.engine.writer import Writer
from tallystick.journal.memory import KeptBlocks, MemoryJournal
from tallystick.lab.model.events import Event, events_of
from tallystick.ledger.batches import REVIEW_TIMEOUT_S, Batch
from tallystick.ledger.books import Bookkeeper
from tallystick.records.commands import Kind
from tallystick.records.details import Verdict


class _Silent:
    """A gate for answers that are read from the draft."""

    def decided(self, answers: object, position: int) -> None:
        pass

    def durable(self, positions: object) -> None:
        pass


LANE = b"lane of a shard."


class Shard:
    """One engine on a journal in memory, its steps called by hand; by default its windows hold 16 ids.

    `verdict_of` screens: given a transfer as the model reads it, what screening says. `review_timeout` is in seconds.
    """

    def __init__(
        self,
        accounts_max: int = 256,
        window_ids: int = 16,
        keys_from: int = 1,
        pendings_max: int = 256,
        verdict_of: Callable[[Event], Verdict] | None = None,
        review_timeout: int = REVIEW_TIMEOUT_S,
        number: int = 0,
    ) -> None:
        """`number` is the shard's."""
        self._number = number
        self._accounts_max = accounts_max
        self._window_ids = window_ids
        self._keys_from = keys_from
        self._pendings_max = pendings_max
        self._verdict_of = verdict_of
        self._review_timeout = review_timeout
        self.kept = KeptBlocks()
        self.decider: Decider
        self.journal: MemoryJournal
        self.draft: Draft
        """What was decided last."""
        self.restart()

    def restart(self) -> None:
        """Begin again from the journal."""
        journal = MemoryJournal(self._number, self.kept)
        key = np.arange(self._keys_from, self._keys_from + 4, dtype="<u8") * np.uint64(0x9E3779B97F4A7C15)
        indexes = [IdIndex(key, self._window_ids), IdIndex(key, self._window_ids)]
        books = Bookkeeper(
            self._accounts_max, key[::-1].copy(), key, indexes[0].current, indexes[1].current, self._pendings_max
        )
        self.decider = recover(journal, books, indexes[0], indexes[1], self._number)
        self.decider.review_timeout_s = self._review_timeout
        if self._verdict_of is not None:
            self.decider.screen = self._screen
        self.journal = journal
        self._writer = Writer(journal, _Silent(), _counted, self._number)

    def _screen(self, work: Batch, now: int) -> None:
        assert self._verdict_of is not None
        transfers = work.commands["kind"] == Kind.TRANSFER
        if transfers.any():
            events = events_of(work.commands[transfers], Kind.TRANSFER)
            work.verdicts[transfers] = [self._verdict_of(event) for event in events]

    def decide(self, requests: Sequence[npt.NDArray[np.void]], now: int) -> list[tuple[int, int, int]]:
        """Decide one batch at `now`, ns, and write it: (timestamp, status, replayed) of each command."""
        number = self.decider.positions.get(LANE, 0)
        deliveries = [Delivery(commands, LANE, number + at) for at, commands in enumerate(requests, 1)]
        self.draft = self.decider.decide(deliveries, now)
        self.write(self.draft)
        return [row for answer in self.draft.answers for row in answer.rows.tolist()]

    def write(self, draft: Draft) -> None:
        """Write what was decided, or taken in."""
        self._writer.step(draft)
        while self.decider.transfer_index.step() or self.decider.request_index.step():
            pass


def _counted(count: int) -> bytes:
    return bytes([7]) * count
