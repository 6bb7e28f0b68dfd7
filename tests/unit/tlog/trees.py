"""Small logs for tests: entries, their tiles, their keys."""

from hashlib import sha256

from tallystick.tlog import merkle, tiles
from tallystick.tlog.keys import Kind, SignerKey
from tallystick.tlog.tiles import TiledTree

ORIGIN = "log.example/ledger-0"


def entry(number):
    return b"entry %d" % number


_leaves = bytearray()
"""Of the longest log so far: all logs here begin alike."""


def leaves(size):
    for number in range(len(_leaves) // 32, size):
        _leaves.extend(merkle.leaf_hash(entry(number)))
    return bytes(_leaves[: size * 32])


def level_hashes(size):
    """The hashes of each tile level, dense, as a log of `size` entries has them."""
    levels = [leaves(size)]
    while len(levels[-1]) >= tiles.TILE_SIZE:
        full = range(0, len(levels[-1]) // tiles.TILE_SIZE * tiles.TILE_SIZE, tiles.TILE_SIZE)
        levels.append(b"".join(tiles.tile_root(levels[-1][at : at + tiles.TILE_SIZE]) for at in full))
    return levels


def tree(size):
    levels = level_hashes(size)
    return TiledTree(size, lambda tile: levels[tile.level][tile.index * tiles.TILE_SIZE :][: tile.width * 32])


def naive_root(hashes):
    """MTH as RFC 6962 §2.1 defines it, by recursion over leaf hashes."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return merkle.node_hash(naive_root(hashes[:split]), naive_root(hashes[split:]))


def key(name=ORIGIN, kind=Kind.ED25519, seed=1):
    return SignerKey(name, kind, bytes([seed]) * 32)
