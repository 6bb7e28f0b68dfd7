"""The block: the durable unit of commands in the intake and of entries in the journal (docs/records.md, ADR 0001).

    header 128 ‖ lane positions (24 each; journal only) ‖ records ‖ details (journal only)

One SHA-256 covers all of it but its own 32 bytes. A journal block holds `count` entries, the last of them its
seal, and `count` details; a command block holds `count` commands.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import starmap
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.records.commands import COMMAND, COMMAND_SIZE, COMMANDS_MAX, Kind
from tallystick.records.commands import VERSION as COMMAND_VERSION
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import CARRIED, ENTRY, ENTRY_SIZE, LEAF_SIZE
from tallystick.records.entries import VERSION as ENTRY_VERSION

Bytes: TypeAlias = bytes | bytearray | memoryview

MAGIC = b"TALLYBLK"
VERSION = 2
HEADER_SIZE = 128
LANE_SIZE = 24
HASH_AT = 96
ENTRIES_MAX = 2 * COMMANDS_MAX + 1
"""As many expiries, as many commands, and the seal."""
LANES_MAX = 1024
BLOCK_SIZE_MAX = HEADER_SIZE + LANES_MAX * LANE_SIZE + ENTRIES_MAX * (ENTRY_SIZE + DETAILS_SIZE)

_HASHED = struct.Struct("<8sHHHHQQQII16s32s")
_HEADER = struct.Struct(_HASHED.format + "32s")
_LANE = struct.Struct("<16sQ")
assert (_HASHED.size, _HEADER.size, _LANE.size) == (HASH_AT, HEADER_SIZE, LANE_SIZE)
_NO_LANE = bytes(16)
_NO_HASH = bytes(32)


class BlockKind(IntEnum):
    """What a block is made of."""

    COMMANDS = 1
    ENTRIES = 2


_KINDS = {int(kind): kind for kind in BlockKind}


class Header(msgspec.Struct, frozen=True):
    """The first 128 bytes of a block, understood."""

    kind: BlockKind
    shard: int
    size: int  # bytes, header included
    epoch: int  # of the writer; 0 in the intake
    first: int  # journal: seq of the first entry; intake: number of this block in its lane, from 1
    count: int  # of commands or entries
    lanes: int  # lane positions that follow
    lane: bytes  # 16 bytes: whose block this is; zero in the journal
    previous: bytes  # 32 bytes: hash of the block before; zero for the first and in the intake
    hash: bytes  # 32 bytes

    @property
    def next(self) -> int:
        """The `first` that the block after this one has."""
        return self.first + (self.count if self.kind is BlockKind.ENTRIES else 1)


class CommandBlock(msgspec.Struct, frozen=True):
    """Commands of one lane, durable together. `commands` is read-only memory of the block."""

    header: Header
    commands: npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class EntryBlock:
    """Entries and details decided together, and how far each lane had been taken by then."""

    header: Header
    positions: dict[bytes, int]
    entries: npt.NDArray[np.void] = field(repr=False)
    details: npt.NDArray[np.void] = field(repr=False)


def _sealed(fields: tuple[object, ...], parts: Sequence[Bytes]) -> tuple[bytes, list[Bytes]]:
    head = _HASHED.pack(*fields)
    hashed = hashlib.sha256(head)
    for part in parts:
        hashed.update(part)
    digest = hashed.digest()
    return digest, [head + digest, *parts]


def command_block(lane: bytes, number: int, commands: Bytes, shard: int = 0) -> list[Bytes]:
    """A command block as buffers to write one after the other. `commands` is n × 256 bytes, 1 ≤ n ≤ 8,190."""
    size = memoryview(commands).nbytes
    count = size // COMMAND_SIZE
    if not 1 <= count <= COMMANDS_MAX or size % COMMAND_SIZE:
        raise ValueError(
            f"a command block holds 1 to {COMMANDS_MAX} commands of {COMMAND_SIZE} bytes, not {size} bytes"
        )
    fields = (MAGIC, VERSION, BlockKind.COMMANDS, shard, 0, HEADER_SIZE + size, 0, number, count, 0, lane, _NO_HASH)
    return _sealed(fields, [commands])[1]


def entry_block(
    entries: npt.NDArray[np.void],
    details: npt.NDArray[np.void],
    positions: Mapping[bytes, int],
    first: int,
    previous: bytes,
    epoch: int,
    shard: int = 0,
) -> tuple[bytes, list[Bytes]]:
    """A journal block: its hash, and its bytes as buffers to write one after the other."""
    lanes = pack_positions(positions)
    return packed_block(lanes, bytes_of(entries), bytes_of(details), first, previous, epoch, shard)


def packed_block(
    lanes: bytes, entries: Bytes, details: Bytes, first: int, previous: bytes, epoch: int, shard: int = 0
) -> tuple[bytes, list[Bytes]]:
    """As `entry_block`, of what is bytes already: lanes from `pack_positions`, rows from `bytes_of`."""
    count, rest = divmod(len(entries), ENTRY_SIZE)
    lanes_count = len(lanes) // LANE_SIZE
    if not 1 <= count <= ENTRIES_MAX or rest or len(details) != count * DETAILS_SIZE or lanes_count > LANES_MAX:
        raise ValueError(
            f"a journal block holds 1 to {ENTRIES_MAX} entries, as many details, at most {LANES_MAX} lanes"
        )
    size = HEADER_SIZE + len(lanes) + len(entries) + len(details)
    kind = BlockKind.ENTRIES
    fields = (MAGIC, VERSION, kind, shard, 0, size, epoch, first, count, lanes_count, _NO_LANE, previous)
    return _sealed(fields, [lanes, entries, details])


def buffers_of(block: EntryBlock) -> list[Bytes]:
    """A journal block's bytes again, as buffers: the very ones it was read from. Raises `Corrupt` if they are not."""
    header = block.header
    digest, buffers = entry_block(
        block.entries, block.details, block.positions, header.first, header.previous, header.epoch, header.shard
    )
    if digest != header.hash:
        raise Corrupt(f"block {header.first}: its hash does not match its bytes")
    return buffers


def bytes_of(rows: npt.NDArray[np.void]) -> memoryview:
    """The rows as plain bytes, uncopied where they are contiguous."""
    if not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows)
    return np.ndarray(rows.nbytes, np.uint8, rows).data  # `view` would do, at five times the cost


def pack_positions(positions: Mapping[bytes, int]) -> bytes:
    """Lane positions, 24 bytes each, sorted by lane id."""
    return b"".join(starmap(_LANE.pack, sorted(positions.items())))


def unpack_positions(data: Bytes) -> dict[bytes, int]:
    """Lane positions as `pack_positions` made them."""
    return dict(_LANE.iter_unpack(data))


def parse_header(data: Bytes) -> Header:
    """The header of a block. Raises `Corrupt` if no block of this version can begin so; hashes nothing."""
    if memoryview(data).nbytes < HEADER_SIZE:
        raise Corrupt(f"a block header has {HEADER_SIZE} bytes, here are {memoryview(data).nbytes}")
    magic, version, number, shard, reserved, size, epoch, first, count, lanes, lane, previous, digest = (
        _HEADER.unpack_from(data)
    )
    if magic != MAGIC:
        raise Corrupt("this is no block: wrong magic")
    if version != VERSION:
        raise Corrupt(f"block version {version} is not known to this program; upgrade it")
    kind = _KINDS.get(number)
    if kind is None or reserved:
        raise Corrupt("block header: unknown kind or reserved bytes in use")
    if kind is BlockKind.COMMANDS:
        legal = 1 <= count <= COMMANDS_MAX and not lanes and size == HEADER_SIZE + count * COMMAND_SIZE and first >= 1
        unused = not epoch and previous == _NO_HASH
    else:
        expected = HEADER_SIZE + lanes * LANE_SIZE + count * (ENTRY_SIZE + DETAILS_SIZE)
        legal = 1 <= count <= ENTRIES_MAX and lanes <= LANES_MAX and size == expected
        unused = lane == _NO_LANE
    if not legal:
        raise Corrupt("block header: size, count and lanes do not fit each other")
    if not unused:
        raise Corrupt("block header: a field that this kind of block leaves zero is in use")
    return Header(kind, shard, size, epoch, first, count, lanes, lane, previous, digest)


def parse(data: Bytes, header: Header | None = None) -> CommandBlock | EntryBlock:
    """A whole block, hash checked. `data` is exactly its bytes. Raises `Corrupt`.

    `header` is what `parse_header` made of these very bytes, where the caller has called it.
    """
    header = header or parse_header(data)
    view = memoryview(data).cast("B")
    if len(view) != header.size:
        raise Corrupt(f"block of {header.size} bytes: {len(view)} given")
    digest = hashlib.sha256(view[:HASH_AT])
    digest.update(view[HEADER_SIZE:])
    if digest.digest() != header.hash:
        raise Corrupt(f"block {header.first}: its hash does not match its bytes")
    if header.kind is BlockKind.COMMANDS:
        _check_rows(header, view, HEADER_SIZE, COMMAND, _COMMANDS_LEGAL)
        return CommandBlock(header, np.frombuffer(view, COMMAND, header.count, HEADER_SIZE))
    at = HEADER_SIZE + header.lanes * LANE_SIZE
    positions = unpack_positions(view[HEADER_SIZE:at])
    if list(positions) != sorted(positions) or len(positions) != header.lanes:
        raise Corrupt(f"block {header.first}: lane positions are not sorted and distinct")
    entries = np.frombuffer(view, ENTRY, header.count, at)
    details = np.frombuffer(view, DETAILS, header.count, at + header.count * ENTRY_SIZE)
    _check_rows(header, view, at, ENTRY, _ENTRIES_LEGAL)
    _check_rows(header, view, at + header.count * ENTRY_SIZE, DETAILS, _DETAILS_LEGAL)
    if (entries["length"] != LEAF_SIZE).any():
        raise Corrupt(f"block {header.first}: an entry's length is not {LEAF_SIZE}")
    return EntryBlock(header, positions, entries, details)


def _check_rows(header: Header, view: memoryview, at: int, dtype: np.dtype[np.void], legal: dict[str, bytes]) -> None:
    """Refuse rows of another version, or of a kind unknown to it: single bytes at the same place in each row."""
    end = at + header.count * dtype.itemsize
    for name, values in legal.items():
        place = dtype.fields[name][1]  # type: ignore[index]
        if view[at + place : end : dtype.itemsize].tobytes().translate(None, values):  # what is not among them
            raise Corrupt(f"block {header.first}: rows of a {name} not known to this program; upgrade it")


_COMMANDS_LEGAL = {
    "version": bytes([COMMAND_VERSION]),
    "kind": bytes([Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL]),
}
_ENTRIES_LEGAL = {
    "version": bytes([ENTRY_VERSION, CARRIED]),
    "kind": bytes([Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL, Kind.SEAL, Kind.EXPIRY, Kind.PLACEMENT]),
}
_DETAILS_LEGAL = {"version": bytes([DETAILS_VERSION])}
