"""The Merkle tree: hashes, inclusion and consistency proofs, and their verification (RFC 6962 §2.1, RFC 9162 §2.1).

A tree is known here by its size and by `Nodes`: the hash of any complete subtree. Where those are kept is not known
here (`tiles.py` reads them out of tiles). Hashes are 32 bytes.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeAlias

from tallystick.errors import InvalidProof

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
SIZE_MAX = 2**63 - 1
"""Go's readers keep sizes in signed 64 bits."""

Nodes: TypeAlias = Callable[[int, int], bytes]
"""(level, index) → hash of the complete subtree over leaves [index·2^level, (index+1)·2^level)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds `entry`: its prefix keeps it from ever being a node's."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two subtrees."""
    return sha256(b"\1" + left + right).digest()


def root(size: int, nodes: Nodes) -> bytes:
    """MTH(D[0:size]) (RFC 6962 §2.1)."""
    return range_hash(0, size, nodes) if size else EMPTY_ROOT


def range_hash(begin: int, end: int, nodes: Nodes) -> bytes:
    """MTH(D[begin:end]) of a subtree of some tree: `begin` is a multiple of a power of two ≥ its length."""
    found = b""
    for level, index in reversed(peaks(begin, end)):
        found = node_hash(nodes(level, index), found) if found else nodes(level, index)
    return found


def peaks(begin: int, end: int) -> list[tuple[int, int]]:
    """The largest complete subtrees of [begin, end), as (level, index), left to right."""
    found = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        found.append((level, begin >> level))
        begin += 1 << level
    return found


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Why leaf `index` is in the tree of `size` leaves, from the leaf's sibling up (RFC 6962 §2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path = []
    # Below `inner` the way up may lead along the right edge, above it every sibling is on the left, and complete.
    inner = (index ^ size - 1).bit_length()
    for level in range(inner):
        sibling = index >> level ^ 1
        if sibling + 1 << level <= size:
            path.append(nodes(level, sibling))
        else:
            path.append(range_hash(sibling << level, size, nodes))
    for level in range(inner, index.bit_length()):
        if index >> level & 1:
            path.append(nodes(level, (index >> level) - 1))
    return path


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Why the tree of `new` leaves only adds to that of `old` (RFC 6962 §2.1.2). Empty for equal sizes.

    `old` 0 has no proof to make: every tree begins empty, which the caller says by sending none.
    """
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof leads from {old} leaves to {new}")
    begin, end, whole = 0, new, True
    path = []
    while old < end:
        split = begin + _split(end - begin)
        if old <= split:
            path.append(range_hash(split, end, nodes))
            end = split
        else:
            path.append(range_hash(begin, split, nodes))
            begin, whole = split, False
    if not whole:
        path.append(range_hash(begin, end, nodes))
    return path[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], claimed_root: bytes) -> None:
    """Raise `InvalidProof` unless `proof` shows that leaf `index` of the tree of `size` leaves has the hash `leaf`.

    RFC 9162 §2.1.3.2, step by step.
    """
    _check_hashes(leaf, claimed_root, *proof)
    if not 0 <= index < size <= SIZE_MAX:
        raise InvalidProof(f"a tree of {size} leaves has no leaf {index}")
    first, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof(f"the proof is too long for leaf {index} of {size}")
        if first & 1 or first == last:
            found = node_hash(sibling, found)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise InvalidProof(f"the proof is too short for leaf {index} of {size}")
    if found != claimed_root:
        raise InvalidProof(f"leaf {index} is not in the tree of {size} leaves with this root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise `InvalidProof` unless `proof` shows that the tree of `new` leaves begins with that of `old`.

    RFC 9162 §2.1.4.2, step by step. Strict about size 0, where nothing can be proven: the caller decides what it means.
    """
    _check_hashes(old_root, new_root, *proof)
    if not 0 < old <= new <= SIZE_MAX:
        raise InvalidProof(f"no proof can lead from {old} leaves to {new}")
    if old == new:
        if proof or old_root != new_root:
            raise InvalidProof(f"two different trees of {new} leaves")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise InvalidProof(f"there is no proof from {old} leaves to {new}")
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old_found = new_found = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof(f"the proof from {old} leaves to {new} is too long")
        if first & 1 or first == last:
            old_found = node_hash(sibling, old_found)
            new_found = node_hash(sibling, new_found)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            new_found = node_hash(new_found, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise InvalidProof(f"the proof from {old} leaves to {new} is too short")
    if old_found != old_root or new_found != new_root:
        raise InvalidProof(f"the tree of {new} leaves does not begin with this tree of {old}")


def _split(length: int) -> int:
    """The largest power of two below `length` ≥ 2: where a tree is parted."""
    return 1 << (length - 1).bit_length() - 1


def _check_hashes(*hashes: bytes) -> None:
    if any(len(found) != HASH_SIZE for found in hashes):
        raise InvalidProof(f"a hash does not have {HASH_SIZE} bytes")
