"""Valid blocks for the tests to break."""

import hashlib
import struct

import numpy as np

from tallystick.records import blocks, commands
from tallystick.records.details import DETAILS
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import ENTRY, LEAF_SIZE
from tallystick.records.entries import VERSION as ENTRY_VERSION

LANE = b"0123456789abcdef"
FIELDS = {
    "magic": (0, "<8s"),
    "version": (8, "<H"),
    "kind": (10, "<H"),
    "shard": (12, "<H"),
    "reserved": (14, "<H"),
    "size": (16, "<Q"),
    "epoch": (24, "<Q"),
    "first": (32, "<Q"),
    "count": (40, "<I"),
    "lanes": (44, "<I"),
    "lane": (48, "<16s"),
    "previous": (64, "<32s"),
}


def command_block(count=1, first=1, kind=commands.Kind.TRANSFER):
    """`count` commands whose every free byte is zero."""
    rows = commands.frame(bytes(128 * count), kind, 0, 0, 0)
    rows["fingerprint"] = 0
    return b"".join(blocks.command_block(LANE, first, rows.tobytes()))


def entry_block(count=1, lanes=1, first=0, epoch=1):
    """`count` entries and details whose every free byte is zero."""
    entries = np.zeros(count, ENTRY)
    entries["length"] = LEAF_SIZE
    entries["version"] = ENTRY_VERSION
    entries["kind"] = commands.Kind.TRANSFER
    entries["kind"][-1] = commands.Kind.SEAL
    details = np.zeros(count, DETAILS)
    details["version"] = DETAILS_VERSION
    positions = {number.to_bytes(16, "big"): 0 for number in range(lanes)}
    return b"".join(blocks.entry_block(entries, details, positions, first, bytes(32), epoch)[1])


def changed(block, resize=None, **fields):
    """The block with header fields overwritten and cut or filled to `resize` bytes, its hash made to fit again."""
    data = bytearray(block)
    for name, value in fields.items():
        offset, form = FIELDS[name]
        struct.pack_into(form, data, offset, value)
    if resize is not None:
        data = data[:resize] + bytes(max(0, resize - len(data)))
    return rehashed(data)


def patched(block, offset, data):
    """The block with bytes overwritten, its hash made to fit again: damage that only its meaning gives away."""
    return rehashed(bytearray(block[:offset] + data + block[offset + len(data) :]))


def rehashed(data):
    """The bytes with the hash that they should have."""
    digest = hashlib.sha256(data[: blocks.HASH_AT] + data[blocks.HEADER_SIZE :]).digest()
    data[blocks.HASH_AT : blocks.HEADER_SIZE] = digest
    return bytes(data)
