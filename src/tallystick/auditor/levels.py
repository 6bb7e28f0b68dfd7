"""The tree on disk: one file a tile level, its hashes one after the other, so that each tile is a piece of a file.

Tile n of a level is 8,192 bytes at n × 8,192, and a partial tile is the beginning of its piece: every size that ever
was has its partial tiles, and nothing is written twice. So a batch of any number of leaves costs one sync a level,
where a file a tile would cost one a tile. Bytes beyond what the caller knows to be durable mean nothing, and are
written over with what will then be the same.
"""

from pathlib import Path

from tallystick.blockfile.disk import Disk, File
from tallystick.errors import Corrupt
from tallystick.tlog.merkle import HASH_SIZE
from tallystick.tlog.tiles import TILE_SIZE, WIDTH, Tile, TiledTree, edge_root, tile_root

NAME = "level-{}"


def read_tile(file: File, tile: Tile) -> bytes:
    """The hashes of a tile, out of its level's file. Raises `Corrupt` if the file ends before it does."""
    data = file.read(tile.index * TILE_SIZE, tile.width * HASH_SIZE)
    if len(data) != tile.width * HASH_SIZE:
        raise Corrupt(f"{tile.path} is not there: the file of level {tile.level} is too short")
    return data


class LevelFiles:
    """The one writer of the files. What `append` took is there after `flush`. Not safe for concurrent calls."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Creates the folder. The tree is empty until `resume` says otherwise."""
        disk.make_folder(folder)
        self._folder = folder
        self._disk = disk
        self._files: dict[int, File] = {}
        self.resume(0)

    def resume(self, size: int) -> None:
        """Go on from a tree of `size` leaves, all durable; what was appended and not flushed is forgotten.

        Raises `Corrupt` if a file is shorter than that.
        """
        self.size = size
        self._edge: list[bytes] = []  # by level, the hashes of its partial tile
        self._unwritten: list[bytes] = []  # by level, what is not yet in its file
        self._written: list[int] = []  # by level, the bytes that are
        level = 0
        while size >> 8 * level:
            full, width = divmod(size >> 8 * level, WIDTH)
            self._add_level(self._read(Tile(level, full, width)) if width else b"", (size >> 8 * level) * HASH_SIZE)
            level += 1

    def append(self, leaves: bytes) -> None:
        """Add leaf hashes, and what they complete above."""
        self.size += len(leaves) // HASH_SIZE
        level, hashes = 0, leaves
        while hashes:
            if level == len(self._edge):
                self._add_level(b"", 0)
            self._unwritten[level] += hashes
            edge = self._edge[level] + hashes
            full = len(edge) // TILE_SIZE * TILE_SIZE
            self._edge[level] = edge[full:]
            hashes = b"".join([tile_root(edge[at : at + TILE_SIZE]) for at in range(0, full, TILE_SIZE)])
            level += 1

    def flush(self) -> None:
        """Make what was appended durable: one write and one sync for each level that grew.

        Raises `Unavailable` or `OutcomeUnknown`; then `resume`.
        """
        created = False
        for level, unwritten in enumerate(self._unwritten):
            if unwritten:
                file = self._open(level)
                if file is None:
                    file = self._files[level] = self._disk.create(self._path(level))
                    created = True
                file.write(self._written[level], [unwritten])
                file.sync()
        if created:
            self._disk.sync_folder(self._folder)
        for level, unwritten in enumerate(self._unwritten):
            self._written[level] += len(unwritten)
            self._unwritten[level] = b""

    def root(self) -> bytes:
        """The tree's root, from its right edge alone: nothing is read."""
        return edge_root(self._edge)

    def tree(self) -> TiledTree:
        """The nodes of the tree as it is flushed now, for proofs."""
        return TiledTree(self.size, self._read)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _add_level(self, edge: bytes, written: int) -> None:
        self._edge.append(edge)
        self._unwritten.append(b"")
        self._written.append(written)

    def _path(self, level: int) -> Path:
        return self._folder / NAME.format(level)

    def _open(self, level: int) -> File | None:
        if level not in self._files:
            file = self._disk.open(self._path(level), writable=True)
            if file is None:
                return None
            self._files[level] = file
        return self._files[level]

    def _read(self, tile: Tile) -> bytes:
        file = self._open(tile.level)
        if file is None:
            raise Corrupt(f"{self._path(tile.level)} is missing")
        return read_tile(file, tile)
