"""The private details of one block, handed to an authority: with what shows that they are the ones that were sealed.

Made of a block and the receipt of its seal, which is a leaf of the log; whoever checks needs nothing else of ours.
"""

import hashlib

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.errors import InvalidProof
from tallystick.records.blocks import EntryBlock
from tallystick.records.commands import Kind
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.entries import ENTRY, LEAF_SIZE, SEAL_EVENT

VERSION = 1


class Disclosure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it stands in a file, as JSON; bytes are base64."""

    v: int
    details: bytes
    """All of the block, in order, 104 bytes each; in the last one the salt of the seal."""
    receipt: bytes
    """Of the seal, which stands in its extra data."""


def disclose(block: EntryBlock, receipt: bytes) -> bytes:
    """The file. `receipt` is that of the block's last entry, its seal."""
    return msgspec.json.encode(
        Disclosure(v=VERSION, details=np.ascontiguousarray(block.details).tobytes(), receipt=receipt)
    )


def read(data: bytes) -> Disclosure:
    """The parts of such a file, nothing verified. Raises `InvalidProof` if it is none."""
    try:
        found = msgspec.json.decode(data, type=Disclosure)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidProof(f"this is no disclosure of details: {error}") from error
    if found.v != VERSION or not found.details or len(found.details) % DETAILS_SIZE:
        raise InvalidProof(f"a disclosure of version {VERSION} holds rows of {DETAILS_SIZE} bytes, and this does not")
    return found


def sealed_details(disclosure: Disclosure, seal: bytes) -> tuple[int, npt.NDArray[np.void]]:
    """The seq of the block's first entry, and its details, held against the seal (a leaf, which the caller verified).

    Raises `InvalidProof` if that leaf is no seal, or another block's.
    """
    entry = np.frombuffer(LEAF_SIZE.to_bytes(2, "big") + seal, ENTRY)[0]
    said = np.frombuffer(entry["event"].tobytes(), SEAL_EVENT)[0]
    rows = np.frombuffer(disclosure.details, DETAILS)
    if entry["kind"] != Kind.SEAL:
        raise InvalidProof("the leaf of the receipt is no seal, so it says nothing of details")
    if int(said["count"]) + 1 != len(rows):
        raise InvalidProof(f"the seal is of a block of {int(said['count'])} outcomes, and here are {len(rows) - 1}")
    if hashlib.sha256(disclosure.details).digest() != said["details_hash"].tobytes():
        raise InvalidProof("these details are not the ones that were sealed")
    return int(entry["seq"]) - int(said["count"]), rows
