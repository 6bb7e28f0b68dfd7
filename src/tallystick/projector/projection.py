"""The projection: the file, how far it has come, and how it follows the journal.

Blocks are written many at a time, the cursor in the same commit as their effect; so it may be stopped at any line and
goes on where it was. It reads what is durable and nothing beyond.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.projector.recording import Recorder
from tallystick.projector.schema import connect, telling
from tallystick.records.blocks import EntryBlock
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY

ENTRIES_AT_ONCE = 65_536
"""Entries of a commit, about: blocks are taken whole. What a catching-up reader keeps in memory."""


class Projection:
    """One shard's tables. Not safe for concurrent calls."""

    def __init__(self, path: Path | None, journal: JournalReader) -> None:
        """The file at `path`, made if it is not there; None: in memory. Its folder must exist.

        Raises `Corrupt` if it is none of ours, `Unavailable` if it cannot be opened.
        """
        self._path = path
        self._journal = journal
        self.connection = connect(path)
        self._recorder = Recorder(self.connection)
        with telling(path):
            self._load_cursor()

    def _load_cursor(self) -> None:
        row = self.connection.execute("SELECT next_seq, decided_at, block_hash FROM cursor").fetchone()
        self.next_seq: int
        self._decided_at: int
        self._block_hash: bytes
        self.next_seq, self._decided_at, self._block_hash = row

    def catch_up(self) -> int:
        """Take in all that was durable at the call; returns the seq after it. On return it is committed.

        Raises `Corrupt` where the journal does not continue what is here, or contradicts itself; `Unavailable` if the
        disk is full. Either way nothing of the commit at hand is kept, and another call begins there again.
        """
        end = self._journal.end()
        if end < self.next_seq:
            raise Corrupt(f"{self._path}: has entries up to {self.next_seq}, but the journal ends at {end}")
        while self.next_seq < end:
            self._take(self._journal.read(self.next_seq))
        return self.next_seq

    def _take(self, blocks: Iterable[EntryBlock]) -> None:
        """Write all these blocks, in commits of bounded size."""
        waiting: list[EntryBlock] = []
        count = 0
        for block in blocks:
            waiting.append(block)
            count += block.header.count
            if count >= ENTRIES_AT_ONCE:
                self._commit(waiting)
                waiting, count = [], 0
        if waiting:
            self._commit(waiting)

    def _commit(self, blocks: list[EntryBlock]) -> None:
        with telling(self._path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(blocks)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                self._recorder.forget()
                self._load_cursor()
                raise

    def _write(self, blocks: list[EntryBlock]) -> None:
        next_seq, block_hash = self.next_seq, self._block_hash
        for block in blocks:
            header = block.header
            if header.first != next_seq or header.previous != block_hash:
                raise Corrupt(f"{self._path}: block {header.first} does not continue what was read up to {next_seq}")
            next_seq, block_hash = header.next, header.hash
        # As bytes: NumPy copies rows of many fields field by field.
        entries = np.concatenate([block.entries.view(np.uint8) for block in blocks]).view(ENTRY)
        details = np.concatenate([block.details.view(np.uint8) for block in blocks]).view(DETAILS)
        decided_at = self._recorder.record(entries, details, self._decided_at)
        self.connection.execute(
            "UPDATE cursor SET next_seq = ?, decided_at = ?, block_hash = ?", (next_seq, decided_at, block_hash)
        )
        self.next_seq, self._decided_at, self._block_hash = next_seq, decided_at, block_hash

    def close(self) -> None:
        """Let go of the file. The journal's reader is the caller's."""
        with telling(self._path):
            self.connection.close()
