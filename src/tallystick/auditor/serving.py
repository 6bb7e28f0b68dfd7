"""The log as readers get it: checkpoint, tiles, bundles, receipts. Reads files only, in any process, and takes no lock.

Nothing beyond the published checkpoint is shown: what is not signed may still be taken back by a power cut. Bundles are
read out of the journal, whose entries are framed as bundles are: nothing is kept twice, and what is served is what the
engine committed.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tallystick.auditor.levels import NAME, read_tile
from tallystick.blockfile import slots
from tallystick.blockfile.disk import Disk, File
from tallystick.errors import Corrupt, InvalidProof, Unavailable
from tallystick.journal.port import JournalReader
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.merkle import inclusion_proof
from tallystick.tlog.notes import Note, parse_note
from tallystick.tlog.receipts import Receipt
from tallystick.tlog.tiles import WIDTH, Tile, TiledTree

TREE, STATE, PUBLISHED = "tree", "state", "checkpoint"
"""What stands in the auditor's folder."""


class LogReader:
    """One log, read from its folder. Safe for threads, one at a time."""

    def __init__(self, folder: Path, disk: Disk, journal: JournalReader) -> None:
        """The folder need not exist yet: then there is no checkpoint."""
        self._folder = folder
        self._disk = disk
        self._journal = journal
        self._lock = threading.Lock()
        self._files: dict[int, File] = {}
        self._tree = TiledTree(0, self._tile)
        self._parsed_from = b""
        self._parsed: tuple[Note, Checkpoint] | None = None

    def checkpoint(self) -> bytes | None:
        """The published checkpoint as a note; None before the first. Raises `Corrupt`."""
        return slots.read(self._folder / PUBLISHED, self._disk)

    def tile(self, tile: Tile) -> bytes | None:
        """A tile or bundle; None if the published tree has none such. Partial tiles of every older size are there."""
        with self._lock:
            published = self._published()
            if published is None:
                return None
            level = max(tile.level, 0)
            if tile.index * WIDTH + tile.width > published[1].size >> 8 * level:
                return None
            return self._bundle(tile) if tile.level < 0 else self._tile(tile)

    def receipt(self, seq: int, extra: Callable[[bytes], bytes]) -> bytes:
        """The receipt of entry `seq`; `extra` makes its extra data of the entry's bytes.

        Raises `Unavailable` if no checkpoint covers the entry yet: the next one, in a second, will.
        """
        with self._lock:
            published = self._published()
            if published is None or seq >= published[1].size:
                raise Unavailable(f"entry {seq} is not under a signed checkpoint yet; ask again in a second")
            note, checkpoint = published
            tree = self._tree.at(checkpoint.size)
            proof = inclusion_proof(seq, checkpoint.size, tree.nodes)
            entries, _ = self._journal.rows(np.array([seq], np.uint64))
            # The checkpoint as it is published: encoding its signatures again costs as much as the proof.
            return Receipt(seq, tuple(proof), note, extra(entries.tobytes()[2:])).head() + self._parsed_from

    def close(self) -> None:
        """Let go of the files; the journal's reader is closed by who opened it."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _published(self) -> tuple[Note, Checkpoint] | None:
        data = self.checkpoint()
        if data is None:
            return None
        if data != self._parsed_from:
            try:
                note = parse_note(data)
                self._parsed = note, parse_checkpoint(note.text)
            except InvalidProof as error:
                raise Corrupt(f"{self._folder / PUBLISHED}: {error}") from error
            self._parsed_from = data
        return self._parsed

    def _tile(self, tile: Tile) -> bytes:
        file = self._files.get(tile.level)
        if file is None:
            path = self._folder / TREE / NAME.format(tile.level)
            file = self._disk.open(path)
            if file is None:
                raise Corrupt(f"{path} is missing")
            self._files[tile.level] = file
        return read_tile(file, tile)

    def _bundle(self, tile: Tile) -> bytes:
        first = tile.index * WIDTH
        entries, _ = self._journal.rows(np.arange(first, first + tile.width, dtype=np.uint64))
        return entries.tobytes()
