"""What a receipt carries beside its proof, in `extra`: the entry that it is about, for its owner to read offline.

Not authenticated by itself, and need not be: whoever verifies hashes the entry in it, and the tree says whether that
was logged.
"""

import base64
import binascii

import msgspec

from tallystick.errors import InvalidProof
from tallystick.records.entries import LEAF_SIZE

VERSION = 1


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON in `extra`. `entry` is the leaf's 254 bytes in base64."""

    v: int
    entry: str


def pack(entry: bytes) -> bytes:
    """Extra data for the receipt of this entry."""
    return msgspec.json.encode(Opening(VERSION, base64.b64encode(entry).decode()))


def unpack(extra: bytes) -> bytes:
    """The entry in a receipt's extra data. Raises `InvalidProof` if there is none as we write it."""
    try:
        opening = msgspec.json.decode(extra, type=Opening)
        entry = base64.b64decode(opening.entry, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise InvalidProof(f"the receipt carries no entry of ours: {error}") from error
    if opening.v != VERSION or len(entry) != LEAF_SIZE:
        raise InvalidProof(f"the receipt carries an entry of another version, or not of {LEAF_SIZE} bytes")
    return entry
