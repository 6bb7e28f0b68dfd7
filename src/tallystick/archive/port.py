"""The archive's promise: the journal's blocks, as they were made, in order and without a hole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from tallystick.records.blocks import EntryBlock


@dataclass(frozen=True, slots=True)
class Archived:
    """How far an archive reaches."""

    next_seq: int = 0
    """The first entry that is not in it."""
    hash: bytes = bytes(32)
    """Of its last block; what the next one must continue."""
    positions: Mapping[bytes, int] = field(default_factory=dict)
    """How far that block had taken each lane: the intake need not keep what lies at or below."""


class ArchiveReader(Protocol):
    """Reads an archive. Takes no lock; any number of them, in any process."""

    def end(self) -> Archived:
        """How far it reaches **durably**. Raises `Unavailable` if it cannot be reached, `Corrupt` if it is damaged."""
        ...

    def read(self, seq: int) -> Iterator[EntryBlock]:
        """Blocks in order, from the one that begins with `seq` up to the end as it was at the call.

        Each is verified: its hash, and that it continues the one before. Raises `Corrupt` if one fails, or if no block
        begins with `seq`; `Unavailable` as `end`.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Archive(ArchiveReader, Protocol):
    """The one writer, too. Not safe for concurrent calls."""

    def add(self, blocks: Sequence[EntryBlock]) -> None:
        """Add blocks of the journal, in order. **Durable on return**, all of them.

        Those it has already are passed over, once they have been shown to be the same. Raises `Corrupt` if they are
        not, or do not continue what is there: journal and archive tell two histories, and a person must find out why.
        Raises `Unavailable` or `OutcomeUnknown` if it could not be done now; the same call may be made again.
        """
        ...


EMPTY_ROOT = sha256(b"").digest()
"""Of a tree without leaves (RFC 6962 §2.1)."""


@dataclass(frozen=True, slots=True)
class ArchivedActs:
    """How far an archive of a log of acts reaches."""

    count: int = 0
    """Acts in it; the number of the first that is not."""
    root: bytes = EMPTY_ROOT
    """Of the tree of so many: the log of acts must come to the same."""


class ActArchiveReader(Protocol):
    """Reads an archive of acts. Takes no lock; any number of them, in any process."""

    def end(self) -> ArchivedActs:
        """How far it reaches **durably**. Raises `Unavailable` if it cannot be reached, `Corrupt` if it is damaged."""
        ...

    def read(self, first: int) -> Iterator[list[bytes]]:
        """Acts in order from number `first` to the end, a list at a time. Raises as `end`."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class ActArchive(ActArchiveReader, Protocol):
    """The one writer, too. Not safe for concurrent calls."""

    def add(self, entries: Sequence[bytes], root: bytes) -> None:
        """Add the acts that come next; `root` is that of the tree with them. **Durable on return**, all or none.

        Raises `Unavailable` or `OutcomeUnknown` if it could not be done now: ask `end` how far it is, and go on.
        """
        ...
