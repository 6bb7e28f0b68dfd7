"""A draft: one block decided on the books, not yet durable; and whose commands it answers."""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.ledger.batches import Outcome


class Delivery(msgspec.Struct, frozen=True):
    """Whole requests that came together and are answered together: a lane's block, or what callers handed in."""

    commands: npt.NDArray[np.void]  # COMMAND rows
    lane: bytes = b""  # empty in process
    number: int = 0  # of the block in its lane
    tag: object = None  # whatever the answering side needs


class Answer(msgspec.Struct, frozen=True):
    """The result rows of one delivery, `RESULT`, one for each of its commands."""

    delivery: Delivery
    rows: npt.NDArray[np.void]


class Draft(msgspec.Struct, frozen=True):
    """A block on its way to the journal, and the answers that wait for it.

    `outcome` is None where nothing new was decided (only retries came): there is no block then, the answers wait
    for the one before all the same.
    """

    outcome: Outcome | None
    first_seq: int
    positions: Mapping[bytes, int]
    answers: list[Answer]

    @property
    def next_seq(self) -> int:
        """The seq after this block's seal."""
        return self.first_seq + (len(self.outcome.entries) if self.outcome else 0)
