"""The journal's promise: blocks of entries, appended whole or not at all, by one writer at a time (DESIGN §6).

`tallystick.conformance.journal` is the suite every adapter must pass.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.records.blocks import Bytes, EntryBlock


class Tail(msgspec.Struct, frozen=True):
    """Where the journal ends: what the next block must continue."""

    next_seq: int = 0
    hash: bytes = bytes(32)
    epoch: int = 0
    positions: Mapping[bytes, int] = {}


class JournalReader(Protocol):
    """Reads what is durable, and nothing beyond. Takes no lock; any number of them, in any process."""

    def end(self) -> int:
        """The seq after the last durable entry."""
        ...

    def read(self, seq: int) -> Iterator[EntryBlock]:
        """Durable blocks in order, from the one that holds `seq`, up to the durable end as it was at the call.

        Each is verified: hash, `previous`, dense seqs. Raises `Corrupt` if one fails or `seq` is past the end.
        """
        ...

    def rows(self, seqs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """Entries and details at `seqs` (any order, all durable), as fresh `ENTRY` and `DETAILS` arrays.

        Not hash-checked: the caller compares ids. Raises `Corrupt` for a seq past the durable end.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Journal(JournalReader, Protocol):
    """The one writer of a shard, too. Opening it takes the exclusive lock and raises the epoch."""

    @property
    def epoch(self) -> int:
        """This writer's epoch, greater than any before it."""
        ...

    def tail(self) -> Tail:
        """Where to go on, as found at opening or left by the last append."""
        ...

    def append(self, block: list[Bytes], expected_seq: int, epoch: int) -> None:
        """Append one block (buffers as `records.blocks.entry_block` made them). **Durable when it returns.**

        Whole or not at all. Raises `Fenced` if `epoch` is no longer the journal's, or `expected_seq` not its end;
        `Unavailable` if nothing was written (disk full); `OutcomeUnknown` if it may have been: this writer is then
        spent, and a new one finds out at opening.
        """
        ...
