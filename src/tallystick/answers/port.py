"""What a gateway may ask the engine. Every answer is durable: what it tells is never lost later (DESIGN §4, §6).

Results travel as `records.results.RESULT` rows.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tallystick.records.results import RESULT as RESULT

FOUND_ACCOUNT_EXTRA = np.dtype(
    [("credit_limit_lo", "<u8"), ("credit_limit_hi", "<u8"), ("frozen", "<u4"), ("reserved", "<u4")]
)
"""What we keep about an account beyond TigerBeetle's 128 bytes. `frozen` has `records.commands.Side` bits."""


@dataclass(frozen=True, slots=True)
class RequestResults:
    """What is known of a request: `NOT_DECIDED`, `IDEMPOTENCY_KEY_REUSED`, `TENANT_ELSEWHERE`, or one row a command
    (status None)."""

    status: int | None
    results: npt.NDArray[np.void]  # RESULT rows


class Answers(Protocol):
    """The look-ups. Each waits for the durable gate; raises `Unavailable` if the engine is not there in time."""

    async def results(self, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
        """The results of a request, never another payment's: the fingerprint must match. Empty means any."""
        ...

    async def accounts(self, tenant: int, ids: list[int]) -> list[tuple[npt.NDArray[np.void], npt.NDArray[np.void]]]:
        """Per id found, in order, its `ACCOUNT_EVENT` row as of now and its `FOUND_ACCOUNT_EXTRA` row."""
        ...

    async def transfers(self, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
        """`TRANSFER_EVENT` rows of those ids that were created: amount is what moved, timestamp when."""
        ...

    async def seqs(self, tenant: int, ids: list[int]) -> list[int]:
        """Of those ids that were created, in order, the seqs of their entries in the journal."""
        ...


class EngineLink(Answers, Protocol):
    """All that a gateway needs of the engine: the look-ups, the doorbell, and pushes of its lanes' results."""

    position: int
    """The journal's, behind all that the engine has told so far: a read from there on shows what was answered."""

    def subscribe(self, topic: bytes) -> None:
        """Hear results of the lane with this id, from shortly after the call on. A push may be lost."""
        ...

    def ring(self, lane: bytes, number: int) -> None:
        """Tell the engine that block `number` of `lane` is durable. May be lost; never blocks. From any thread."""
        ...

    async def positions(self) -> dict[bytes, int]:
        """By lane id, the number of the last block that is decided, durably. Raises `Unavailable` like the others."""
        ...
