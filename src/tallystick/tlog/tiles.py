"""Tiles: the tree in pieces of 256 hashes, and entries in bundles of 256 (c2sp.org/tlog-tiles).

Tile `index` of tile level `l` holds the hashes of subtrees of 256^l leaves; one that is not full is *partial* and has
the tree size's own width. A tile's bytes follow from tree size and leaves alone, and never change.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

import numpy as np

from tallystick.errors import InvalidProof
from tallystick.tlog.merkle import EMPTY_ROOT, HASH_SIZE, Nodes, leaf_hash, node_hash, peaks

WIDTH = 256
TILE_SIZE = WIDTH * HASH_SIZE
LEVEL_MAX = 63
ENTRY_MAX = 65_535
ENTRIES = "entries"
_CACHED = 1024
"""Expanded tiles kept by a reader, 16 KiB each."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile, and how much of it. `level` −1 is the bundle of entries under level 0's tile."""

    level: int
    index: int
    width: int = WIDTH  # 1 to 256; below 256 it is partial

    @property
    def path(self) -> str:
        """Its place under the log's URL or folder: `tile/1/x001/x234/067.p/17`."""
        name = ENTRIES if self.level < 0 else str(self.level)
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{name}/{_groups(self.index)}{partial}"


def parse_path(path: str) -> Tile:
    """The tile that a path names. Raises `InvalidProof` for any spelling but the one of `Tile.path`."""
    parts = path.split("/")
    width = WIDTH
    if len(parts) > 3 and parts[-2].endswith(".p"):
        width = _number(parts.pop(), WIDTH - 1, path)
        parts[-1] = parts[-1].removesuffix(".p")
    if len(parts) < 3 or parts[0] != "tile":
        raise InvalidProof(f"{path!r} names no tile")
    level = -1 if parts[1] == ENTRIES else _number(parts[1], LEVEL_MAX, path)
    digits = "".join(part.removeprefix("x") for part in parts[2:])
    found = Tile(level, _number(digits.lstrip("0") or "0", 2**63, path), width)
    if found.path != path or not width:
        raise InvalidProof(f"{path!r} names no tile")
    return found


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree, bottom up, bundles not among them; a tree of 70,000 has 276, three of them partial."""
    level = 0
    while size >> 8 * level:
        full, width = divmod(size >> 8 * level, WIDTH)
        for index in range(full):
            yield Tile(level, index)
        if width:
            yield Tile(level, full, width)
        level += 1


def bundles_of(size: int) -> Iterator[Tile]:
    """Every bundle of entries of a tree."""
    for tile in tiles_of(size):
        if tile.level:
            return
        yield Tile(-1, tile.index, tile.width)


def leaf_hashes(framed: bytes | memoryview, stride: int) -> bytes:
    """The leaf hashes of framed entries of equal length, concatenated: a bundle's bytes in, its level-0 tile out.

    `stride` counts the two bytes of length before each entry. Hashing is all that costs here, so the prefix is put in
    place for all at once, over the length's low byte, and nothing is copied again.
    """
    rows = np.frombuffer(framed, np.uint8).reshape(-1, stride).copy()
    rows[:, 1] = 0
    view = rows.reshape(-1).data
    return b"".join([sha256(view[at + 1 : at + stride]).digest() for at in range(0, len(view), stride)])


def bundle_hashes(bundle: bytes, width: int) -> bytes:
    """The level-0 tile of a bundle of `width` entries, of any lengths. Raises `InvalidProof` as `unpack_bundle`."""
    head = bundle[:2]
    stride = 2 + int.from_bytes(head, "big")
    lengths = bundle[::stride], bundle[1::stride]
    if len(bundle) == width * stride and lengths == (head[:1] * width, head[1:] * width):
        return leaf_hashes(bundle, stride)  # all of one length, as ours are: three times as fast
    return b"".join([leaf_hash(entry) for entry in unpack_bundle(bundle, width)])


def parents(hashes: bytes) -> bytes:
    """The hashes one level up, of an even number of them."""
    return b"".join([sha256(b"\1" + hashes[at : at + 64]).digest() for at in range(0, len(hashes), 64)])


def tile_root(hashes: bytes) -> bytes:
    """The hash of a full tile: what the tile above holds of it."""
    while len(hashes) > HASH_SIZE:
        hashes = parents(hashes)
    return hashes


def edge_root(edge: Sequence[bytes]) -> bytes:
    """The root of a tree from its right edge: by tile level, the hashes of its partial tile (none where it is full)."""
    found: list[bytes] = []
    for hashes in reversed(edge):
        for inner, index in peaks(0, len(hashes) // HASH_SIZE):
            part = hashes[(index << inner) * HASH_SIZE : (index + 1 << inner) * HASH_SIZE]
            for _ in range(inner):
                part = parents(part)
            found.append(part)
    root = found.pop() if found else EMPTY_ROOT
    while found:
        root = node_hash(found.pop(), root)
    return root


def pack_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle: each behind its length, big-endian."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def unpack_bundle(bundle: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises `InvalidProof` if there are more, fewer, or a part of one."""
    found = []
    at = 0
    while at < len(bundle):
        size = int.from_bytes(bundle[at : at + 2], "big")
        entry = bundle[at + 2 : at + 2 + size]
        if at + 2 > len(bundle) or len(entry) != size:
            raise InvalidProof("a bundle ends inside an entry")
        found.append(entry)
        at += 2 + size
    if len(found) != width:
        raise InvalidProof(f"a bundle of {width} entries holds {len(found)}")
    return found


TileReader: TypeAlias = Callable[[Tile], bytes]
"""Reads the hashes of a tile, exactly `width` of them."""


class TiledTree:
    """The nodes of one tree, read out of its tiles. What was read is kept a while: tiles never change.

    It believes what it reads. Who does not trust the tiles checks proofs made from them against a signed root.
    """

    def __init__(self, size: int, read: TileReader) -> None:
        self.size = size
        self._read = read
        self._expanded: Callable[[int, int, int], list[bytes]] = lru_cache(_CACHED)(self._expand)

    def at(self, size: int) -> "TiledTree":
        """The same log's tree at another size. They share what was read: a tile says its width."""
        other = TiledTree(size, self._read)
        other._expanded = self._expanded
        return other

    def node(self, level: int, index: int) -> bytes:
        """As `merkle.Nodes`. Raises `InvalidProof` for a tile of another width."""
        # A receipt asks twenty times: shifts take half of the time of divmod and min.
        tile_level, inner = level >> 3, level & 7
        first = index << inner
        tile_index = first >> 8
        width = (self.size >> 8 * tile_level) - (tile_index << 8)
        rows = self._expanded(tile_level, tile_index, width if width < WIDTH else WIDTH)
        at = (first & 255) >> inner << 5
        return rows[inner][at : at + HASH_SIZE]

    @property
    def nodes(self) -> Nodes:
        """`node` as a function."""
        return self.node

    def _expand(self, level: int, index: int, width: int) -> list[bytes]:
        """The hashes of a tile and of all complete subtrees inside it, by level: proofs ask for most of them."""
        tile = Tile(level, index, width)
        hashes = self._read(tile)
        if len(hashes) != width * HASH_SIZE:
            raise InvalidProof(f"{tile.path} holds {len(hashes)} bytes, not {width * HASH_SIZE}")
        rows = [hashes]
        while len(hashes) >= 2 * HASH_SIZE:
            hashes = parents(hashes[: len(hashes) // (2 * HASH_SIZE) * (2 * HASH_SIZE)])
            rows.append(hashes)
        return rows


def _groups(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def _number(text: str, most: int, path: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise InvalidProof(f"{path!r} names no tile")
    return int(text)
