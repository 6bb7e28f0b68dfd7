"""Where sealed text stands: by tenant and commitment. Any number of processes and threads use it.

Useless without the persons' keys, which are nowhere near it: a database's logs, standbys and backups keep what was
deleted, so a key in one of them could not be destroyed.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

Row = tuple[int, bytes, str, bytes]
"""Tenant, commitment (32 bytes), the opaque id of the person whose it is, sealed text."""


class SealedTexts(Protocol):
    """The rows."""

    def keep(self, rows: Sequence[Row]) -> None:
        """Keep rows, all or none; one that is there already stays. **Durable on return.** Raises `Unavailable`."""
        ...

    def find(self, tenant: int, commitment: bytes) -> tuple[str, bytes] | None:
        """Person and sealed text under a commitment. Raises `Unavailable`, `Corrupt`."""
        ...

    def of_tenant(self, tenant: int) -> Iterator[list[Row]]:
        """All of a tenant's rows, some at a time. Raises `Unavailable`, `Corrupt`."""
        ...

    def count(self, tenant: int, person: str) -> int:
        """How many are a person's. Raises `Unavailable`, `Corrupt`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
