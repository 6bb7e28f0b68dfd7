"""The checkpoint: which log, how many leaves, which root (c2sp.org/tlog-checkpoint). Its signed form is a note.

    <origin>
    <size>
    <root, base64>

Ours never has a further line, and one that has is refused: what nobody checks, nobody should sign.
"""

import base64
from dataclasses import dataclass

from tallystick.errors import InvalidProof
from tallystick.tlog.keys import check_name, strict_base64
from tallystick.tlog.merkle import EMPTY_ROOT, HASH_SIZE, SIZE_MAX


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a log."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """Its text as it is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(body: str) -> Checkpoint:
    """A checkpoint from the text of a note. Raises `InvalidProof` for any other spelling than the one."""
    found = parse_body(body)
    if found.size == 0 and found.root != EMPTY_ROOT:
        raise InvalidProof("an empty tree has one root, and this is another")
    return found


def parse_body(body: str) -> Checkpoint:
    """As `parse_checkpoint`, for who has an answer of its own to an empty tree with another root than the empty one."""
    lines = body.split("\n")
    if len(lines) != 4 or lines[3]:
        raise InvalidProof(f"a checkpoint has three lines, this one {len(lines) - 1}")
    origin, size, encoded = lines[:3]
    check_name(origin)  # an origin is its key's name
    root = strict_base64(encoded, "the root of the checkpoint")
    if len(root) != HASH_SIZE:
        raise InvalidProof(f"a root has {HASH_SIZE} bytes, this one {len(root)}")
    return Checkpoint(origin, decimal(size, "the size of the checkpoint"), root)


def decimal(text: str, what: str) -> int:
    """A number as the formats write it: ASCII digits, no leading zero, at most 2^63−1. Raises `InvalidProof`."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise InvalidProof(f"{what}: {text[:32]!r} is no number in its one spelling")
    if int(text) > SIZE_MAX:
        raise InvalidProof(f"{what} is beyond {SIZE_MAX}")
    return int(text)
