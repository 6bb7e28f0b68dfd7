"""The audit of a whole log: every entry hashed again, every tile compared, up to the signed root.

It believes nothing that it is served but the checkpoint's signatures. What it cannot see is in no tree: a history that
was rewritten and signed again with the true key (a kept checkpoint or a witness sees that), and what never was logged.
"""

from collections.abc import Callable

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.merkle import HASH_SIZE, consistency_proof
from tallystick.tlog.merkle import verify_consistency as verify_growth
from tallystick.tlog.tiles import (
    TILE_SIZE,
    WIDTH,
    Tile,
    TiledTree,
    TileReader,
    bundle_hashes,
    bundles_of,
    edge_root,
    tile_root,
)

Progress = Callable[[int, int], None]
"""Entries checked, and how many there are."""


def check_whole(checkpoint: Checkpoint, read: TileReader, progress: Progress | None = None) -> None:
    """Raise `InvalidProof`, naming the entry or the tile, unless the served log comes to the checkpoint's root.

    `read` gives tiles and bundles; it raises what it raises for one that is not there.
    """
    levels = _Levels(checkpoint.size, read)
    for bundle in bundles_of(checkpoint.size):
        hashes = bundle_hashes(read(bundle), bundle.width)
        levels.compare(Tile(0, bundle.index, bundle.width), hashes, "entry")
        levels.add(0, hashes)
        if progress is not None:
            progress(bundle.index * WIDTH + bundle.width, checkpoint.size)
    levels.finish()
    if levels.root() != checkpoint.root:
        raise InvalidProof(f"the entries of {checkpoint.origin} do not come to the root of its checkpoint")


def check_growth(old: Checkpoint, new: Checkpoint, read: TileReader) -> None:
    """Raise `InvalidProof` unless the log of `new` begins with that of `old`, shown by a proof out of its tiles.

    Finds a rollback, a fork, a rewritten history and two trees of one size, each signed with the true key or not.
    """
    if old.origin != new.origin:
        raise InvalidProof(f"the kept checkpoint is of {old.origin}, this one of {new.origin}")
    if new.size < old.size:
        raise InvalidProof(f"the log had {old.size} entries and now has {new.size}: it was rolled back")
    if old.size == 0:
        return
    tree = TiledTree(new.size, read)
    proof = consistency_proof(old.size, new.size, tree.nodes) if old.size < new.size else []
    verify_growth(old.size, new.size, old.root, new.root, proof)


class _Levels:
    """The tile levels as they come out of the entries, each tile compared with the served one when it is full."""

    def __init__(self, size: int, read: TileReader) -> None:
        self._read = read
        self._size = size
        self._open: list[bytes] = []
        self._done: list[int] = []  # full tiles by level

    def add(self, level: int, hashes: bytes) -> None:
        if level == len(self._open):
            self._open.append(b"")
            self._done.append(0)
        self._open[level] += hashes
        if len(self._open[level]) == TILE_SIZE:
            full, self._open[level] = self._open[level], b""
            if level:
                self.compare(Tile(level, self._done[level]), full, "subtree")
            self._done[level] += 1
            self.add(level + 1, tile_root(full))

    def compare(self, tile: Tile, hashes: bytes, what: str) -> None:
        served = self._read(tile)
        if served == hashes:
            return
        if len(served) != len(hashes):
            raise InvalidProof(f"{tile.path} has {len(served)} bytes, not {len(hashes)}")
        byte = next(at for at, (left, right) in enumerate(zip(served, hashes, strict=True)) if left != right)
        raise InvalidProof(f"{what} {tile.index * WIDTH + byte // HASH_SIZE} is not the one in {tile.path}")

    def finish(self) -> None:
        for level, hashes in enumerate(self._open):
            if hashes and level:
                self.compare(Tile(level, self._done[level], len(hashes) // HASH_SIZE), hashes, "subtree")

    def root(self) -> bytes:
        return edge_root(self._open)
