"""What a receipt carries beside its proof, in `extra`: the entry that it is about, for its owner to read offline.

Not authenticated by itself, and need not be: whoever verifies hashes the entry in it, and the tree says whether that
was logged.
"""

import base64
import binascii
from collections.abc import Mapping

import msgspec
import numpy as np

from tallystick.errors import InvalidProof
from tallystick.records import commitments
from tallystick.records.entries import ENTRY, LEAF_SIZE

VERSION = 1


class Currency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the amounts mean: `amount / 10**scale` units of `code`. Said by entry `control` of the log `control`, which
    whoever doubts it verifies there."""

    code: str
    scale: int
    control: int


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The JSON in `extra`. `entry` is the leaf's 254 bytes in base64; `text` opens its commitment, field by field;
    `currency` is that of its ledger, if it was said."""

    v: int
    entry: str
    text: dict[str, commitments.Opening] = {}
    currency: Currency | None = None


def pack(
    entry: bytes, text: Mapping[str, commitments.Opening] | None = None, currency: Currency | None = None
) -> bytes:
    """Extra data for the receipt of this entry, of the text that came with it, and what its amounts mean."""
    return msgspec.json.encode(Opening(VERSION, base64.b64encode(entry).decode(), dict(text or {}), currency))


def commitment_of(entry: bytes) -> bytes:
    """The commitment in a leaf, zero if it has none."""
    return bytes(np.frombuffer(LEAF_SIZE.to_bytes(2, "big") + entry, ENTRY)[0]["metadata"].tobytes())


def unpack(extra: bytes) -> bytes:
    """The entry in a receipt's extra data. Raises `InvalidProof` if there is none as we write it."""
    return _understood(extra)[1]


def text(extra: bytes) -> dict[str, str]:
    """The text in a receipt's extra data, held against the commitment of the entry there, which the caller verifies.

    Empty if the receipt carries none. Raises `InvalidProof` if it is not what the entry commits to.
    """
    opening, entry = _understood(extra)
    if opening.text:
        commitments.check(commitment_of(entry), opening.text)
    return {field: found.value for field, found in opening.text.items()}


def currency(extra: bytes) -> Currency | None:
    """What the receipt says of its amounts; None if it says nothing. Not proven by the receipt itself."""
    return _understood(extra)[0].currency


def _understood(extra: bytes) -> tuple[Opening, bytes]:
    try:
        opening = msgspec.json.decode(extra, type=Opening)
        entry = base64.b64decode(opening.entry, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise InvalidProof(f"the receipt carries no entry of ours: {error}") from error
    if opening.v != VERSION or len(entry) != LEAF_SIZE:
        raise InvalidProof(f"the receipt carries an entry of another version, or not of {LEAF_SIZE} bytes")
    return opening, entry
