"""The projection: the tables, how far it has come, and how it follows the journal.

Blocks are written many at a time, the cursor in the same commit as their effect; so it may be stopped at any line and
goes on where it was. It reads what is durable and nothing beyond.
"""

from collections.abc import Iterator, Sequence

from tallystick.errors import Unavailable
from tallystick.journal.follow import ENTRIES_AT_ONCE as ENTRIES_AT_ONCE
from tallystick.journal.follow import Cursor, catch_up, rows_from
from tallystick.journal.port import JournalReader
from tallystick.projector.port import WritableTables
from tallystick.projector.recording import Recorder
from tallystick.records.blocks import EntryBlock

COMMITTED_AT_ONCE = 262_144
"""Entries of a commit of a projector that catches up. An index by account is touched everywhere by every commit, so the
fewer commits, the fewer of its pages are written again and again."""


def _parts(blocks: Sequence[EntryBlock]) -> Iterator[Sequence[EntryBlock]]:
    """Blocks of `ENTRIES_AT_ONCE` entries, about: what is turned into rows at once."""
    part: list[EntryBlock] = []
    count = 0
    for block in blocks:
        part.append(block)
        count += block.header.count
        if count >= ENTRIES_AT_ONCE:
            yield part
            part, count = [], 0
    if part:
        yield part


class Projection:
    """One shard's tables. Not safe for concurrent calls."""

    def __init__(self, tables: WritableTables, journal: JournalReader) -> None:
        """The tables become the projection's, to be closed by it. Raises as they do."""
        self._journal = journal
        self.tables = tables
        self._recorder = Recorder(tables)
        with tables.telling():
            self._load_cursor()

    def _load_cursor(self) -> None:
        row = self.tables.execute("SELECT next_seq, decided_at, block_hash FROM cursor").fetchone()
        self.next_seq: int
        self._decided_at: int
        self._block_hash: bytes | None
        self.next_seq, self._decided_at, self._block_hash = row

    def catch_up(self) -> int:
        """Take in all that was durable at the call; returns the seq after it. On return it is committed.

        Raises `Corrupt` where the journal does not continue what is here, or contradicts itself; `Unavailable` if the
        disk is full. Either way nothing of the commit at hand is kept, and another call begins there again.
        """
        return catch_up(self._journal, self, ENTRIES_AT_ONCE)

    def cursor(self) -> Cursor:
        """How far it has come, as the tables say."""
        known = self.next_seq
        with self.tables.telling():
            self._load_cursor()
        if self.next_seq != known:
            self._recorder.forget()  # somebody else wrote
        return Cursor(self.next_seq, self._block_hash)

    def take(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        """Write what these blocks say, and `after` as the cursor, in one commit (`journal.follow.Effects`)."""
        with self.tables.telling():
            try:
                with self.tables.writing():
                    self._write(blocks, after)
            except BaseException:
                self._recorder.forget()
                self._load_cursor()
                raise

    def _write(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        if self.tables.execute("SELECT next_seq FROM cursor").fetchone() != (self.next_seq,):
            # A library's queries and a projector on one folder: what is remembered here is no longer so.
            raise Unavailable("another process wrote to the projection; this one looks again")
        decided_at = self._decided_at
        for part in _parts(blocks):
            decided_at = self._recorder.record(*rows_from(part, self.next_seq), decided_at)
        self.tables.execute(
            "UPDATE cursor SET next_seq = ?, decided_at = ?, block_hash = ?",
            (after.next_seq, decided_at, after.block_hash),
        )
        self.next_seq, self._decided_at, self._block_hash = after.next_seq, decided_at, after.block_hash

    def close(self) -> None:
        """Let go of the tables. The journal's reader is the caller's."""
        self.tables.close()
