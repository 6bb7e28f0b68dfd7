"""The promise of a log of acts. Any number of processes write to it, any number read."""

from collections.abc import Sequence
from typing import Protocol

ACCESS, CONTROL = "access", "control"
LOGS = (ACCESS, CONTROL)
"""Who read what, durable before it is answered; who changed what, durable before it is changed."""


class ActReader(Protocol):
    """Reads acts that are durable."""

    def end(self) -> int:
        """How many there are: their numbers are dense, from 0. Raises `Unavailable`, `Corrupt`."""
        ...

    def read(self, first: int, count: int) -> list[bytes]:
        """Entries from number `first` on, as they were appended; at most `count`, fewer only at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class ActLog(ActReader, Protocol):
    """Writes them, too."""

    def append(self, entries: Sequence[bytes], expected: int | None = None) -> int:
        """Append entries (`acts.entries`), all or none; returns the number of the first. **Durable on return.**

        `expected`: the number that the first must get, else nothing is appended, which is `Unavailable`.
        Raises `Unavailable` if it cannot be done now: whatever was to be noted must then not happen.
        """
        ...
