"""The body of add-checkpoint: what a log sends to whoever is to sign that it only grew (c2sp.org/tlog-witness).

old <size>
<hash, base64>             a consistency proof from there, at most 63
…

<checkpoint>
"""

import base64
from dataclasses import dataclass, field

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import decimal
from tallystick.tlog.keys import strict_base64
from tallystick.tlog.merkle import HASH_SIZE

HASHES_MAX = 63


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint, with why it adds to the one of `old` leaves: a note's bytes, or a bare body for our signer."""

    old: int
    proof: tuple[bytes, ...] = field(repr=False)
    checkpoint: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        lines = [f"old {self.old}", *(base64.b64encode(found).decode() for found in self.proof)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint


def parse_submission(data: bytes) -> Submission:
    """A submission from its bytes; the checkpoint is not looked at. Raises `InvalidProof` for any other spelling."""
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidProof("a submission begins in ASCII, and this does not") from error
    if not blank or not lines[0].startswith("old "):
        raise InvalidProof("a submission is a line `old <size>`, a proof, a blank line and a checkpoint")
    if len(lines) - 1 > HASHES_MAX:
        raise InvalidProof(f"no tree needs more than {HASHES_MAX} hashes")
    proof = tuple(strict_base64(line, "a hash of the proof") for line in lines[1:])
    if any(len(found) != HASH_SIZE for found in proof):
        raise InvalidProof(f"a hash of the proof does not have {HASH_SIZE} bytes")
    return Submission(decimal(lines[0].removeprefix("old "), "the old size"), proof, checkpoint)
