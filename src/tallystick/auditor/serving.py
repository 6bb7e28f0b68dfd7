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
from tallystick.tlog.merkle import consistency_proof, inclusion_proof
from tallystick.tlog.notes import Note, parse_note
from tallystick.tlog.receipts import Receipt
from tallystick.tlog.tiles import WIDTH, Tile, TiledTree

TREE, STATE, PUBLISHED, WITNESSED = "tree", "state", "checkpoint", "witnessed"
"""What stands in the auditor's folder."""
_GRADES = {PUBLISHED: "signed", WITNESSED: "witnessed"}


class LogReader:
    """One log, read from its folder. Safe for threads, one at a time."""

    def __init__(self, folder: Path, disk: Disk, journal: JournalReader | None) -> None:
        """The folder need not exist yet: then there is no checkpoint. None: a log of other entries (`_framed`)."""
        self._folder = folder
        self._disk = disk
        self._journal = journal
        self._lock = threading.Lock()
        self._files: dict[int, File] = {}
        self._tree = TiledTree(0, self._tile)
        self._records = {name: slots.Reader(folder / name, disk) for name in _GRADES}
        self._parsed: dict[str, tuple[bytes, Note, Checkpoint]] = {}

    def checkpoint(self, witnessed: bool = False) -> bytes | None:
        """The published checkpoint as a note; None before the first. Raises `Corrupt`.

        `witnessed`: the last one that has the quorum's cosignatures.
        """
        with self._lock:
            return self._records[WITNESSED if witnessed else PUBLISHED].read()

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

    def growth(self, old: int, size: int) -> list[bytes]:
        """A consistency proof between two sizes of the published tree, 0 < old ≤ size."""
        with self._lock:
            return consistency_proof(old, size, self._tree.at(size).nodes)

    def receipt(self, seq: int, extra: Callable[[bytes], bytes], witnessed: bool = False) -> bytes:
        """The receipt of entry `seq`; `extra` makes its extra data of the entry's bytes.

        Its grade is *logged*, or *witnessed* if asked: then its checkpoint has the quorum's cosignatures. Raises
        `Unavailable` if no checkpoint of that grade covers the entry yet: one will, in a second or two.
        """
        with self._lock:
            name = WITNESSED if witnessed else PUBLISHED
            published = self._published(name)
            if published is None or seq >= published[1].size:
                raise Unavailable(f"entry {seq} is not under a {_GRADES[name]} checkpoint yet; ask again in a second")
            note, checkpoint = published
            tree = self._tree.at(checkpoint.size)
            proof = inclusion_proof(seq, checkpoint.size, tree.nodes)
            entry = self._framed(seq, 1)[2:]
            # The checkpoint as it is published: encoding its signatures again costs as much as the proof.
            head = Receipt(seq, tuple(proof), note, extra(entry)).head()
            return head + self._parsed[name][0]

    def close(self) -> None:
        """Let go of the files; the journal's reader is closed by who opened it."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _published(self, name: str = PUBLISHED) -> tuple[Note, Checkpoint] | None:
        data = self._records[name].read()
        if data is None:
            return None
        known = self._parsed.get(name)
        if known is not None and known[0] == data:
            return known[1:]
        try:
            note = parse_note(data)
            self._parsed[name] = data, note, parse_checkpoint(note.text)
        except InvalidProof as error:
            raise Corrupt(f"{self._folder / name}: {error}") from error
        return self._parsed[name][1:]

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
        return self._framed(tile.index * WIDTH, tile.width)

    def _framed(self, first: int, count: int) -> bytes:
        """Entries as a bundle has them, each behind its length."""
        assert self._journal is not None
        entries, _ = self._journal.rows(np.arange(first, first + count, dtype=np.uint64))
        return entries.tobytes()
