"""Roll a journal forward: append what its archive has and it has not, block by block, as they were made."""

from collections.abc import Callable
from typing import Protocol

from tallystick.archive.port import ArchiveReader
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader, Tail
from tallystick.records.blocks import Bytes, buffers_of

Progress = Callable[[int, int], None]
"""Called with the seq that has been reached, and the one to reach."""


class Rollable(JournalReader, Protocol):
    """The writing end of a journal that can be rolled forward."""

    def tail(self) -> Tail:
        """Where it ends now."""
        ...

    def adopt(self, block: list[Bytes], expected_seq: int) -> None:
        """Append a block of another writer as that one made it. **Durable on return**, whole or not at all."""
        ...


def roll_forward(journal: Rollable, archive: ArchiveReader, progress: Progress | None = None) -> int:
    """Bring a journal up to its archive; returns how many entries that added. **Durable on return.**

    Killed anywhere, another call goes on. If it added any, the journal must be opened again before it is written to.
    Raises `Corrupt` if the two tell different histories: whoever decided entries on a journal that had not been rolled
    forward has forked it.
    """
    tail, end = journal.tail(), archive.end()
    if end.next_seq <= tail.next_seq:
        check_holds(journal, end.next_seq, end.hash)
        return 0
    for block in archive.read(tail.next_seq):
        header, now = block.header, journal.tail()
        if header.previous != now.hash:
            raise Corrupt(_forked(now.next_seq))
        journal.adopt(buffers_of(block), header.first)
        if progress is not None:
            progress(header.next, end.next_seq)
    return journal.tail().next_seq - tail.next_seq


def check_holds(journal: JournalReader, next_seq: int, digest: bytes) -> None:
    """See that an archive's last block is one of the journal's: its hash stands for all before it. Raises `Corrupt`."""
    if not next_seq:
        return
    block = next(iter(journal.read(next_seq - 1)))
    if (block.header.next, block.header.hash) != (next_seq, digest):
        raise Corrupt(_forked(next_seq))


def _forked(seq: int) -> str:
    return (
        f"before entry {seq} the journal tells another history than its archive; nothing is decided on it: restore it "
        "from a backup, and let it roll forward from the archive"
    )
