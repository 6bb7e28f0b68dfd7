"""The receipt: why an entry is in the log, for anyone to check without asking us (c2sp.org/tlog-proof).

c2sp.org/tlog-proof@v1
extra <base64>             what the entry's owner needs beside it; not authenticated by itself
index <i>
<hash, base64>             leaf's sibling first
…

<checkpoint>
"""

from binascii import b2a_base64
from dataclasses import dataclass, field

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import decimal
from tallystick.tlog.keys import strict_base64
from tallystick.tlog.merkle import HASH_SIZE, verify_inclusion
from tallystick.tlog.notes import Note, parse_note
from tallystick.tlog.policies import Believed, Policy, believe

HEADER = "c2sp.org/tlog-proof@v1"
EXTRA_BYTES_MAX = 49_146
"""Go's reader takes no longer line."""
_HASHES_MAX = 63


@dataclass(frozen=True, slots=True)
class Receipt:
    """An inclusion proof with the checkpoint it leads to. Believe nothing of it before `verify`."""

    index: int
    hashes: tuple[bytes, ...] = field(repr=False)
    checkpoint: Note
    extra: bytes = b""

    def encode(self) -> bytes:
        """Its bytes; raises `ValueError` if `extra` is too long for other readers."""
        return self.head() + self.checkpoint.encode()

    def head(self) -> bytes:
        """Its bytes up to the checkpoint, whose bytes its maker has at hand."""
        if len(self.extra) > EXTRA_BYTES_MAX:
            raise ValueError(f"a receipt has room for {EXTRA_BYTES_MAX} extra bytes, not {len(self.extra)}")
        extra = b"extra " + b2a_base64(self.extra) if self.extra else b""
        hashes = b"".join(map(b2a_base64, self.hashes))  # each ends in a newline
        return b"%s\n%sindex %d\n%s\n" % (HEADER.encode(), extra, self.index, hashes)


def parse_receipt(data: bytes) -> Receipt:
    """A receipt from its bytes, nothing verified. Raises `InvalidProof` for any spelling but the one."""
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidProof("a receipt begins in ASCII, and this does not") from error
    if not blank or lines.pop(0) != HEADER:
        raise InvalidProof(f"a receipt begins with {HEADER} and ends its proof with a blank line")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = strict_base64(lines.pop(0).removeprefix("extra "), "the extra data")
        if not 0 < len(extra) <= EXTRA_BYTES_MAX:
            raise InvalidProof(f"extra data has 1 to {EXTRA_BYTES_MAX} bytes, or its line is left out")
    if not lines or not lines[0].startswith("index "):
        raise InvalidProof("a receipt says `index` before its hashes")
    index = decimal(lines.pop(0).removeprefix("index "), "the index")
    if len(lines) > _HASHES_MAX:
        raise InvalidProof(f"no tree needs more than {_HASHES_MAX} hashes")
    hashes = tuple(strict_base64(line, "a hash of the proof") for line in lines)
    if any(len(found) != HASH_SIZE for found in hashes):
        raise InvalidProof(f"a hash of the proof does not have {HASH_SIZE} bytes")
    return Receipt(index, hashes, parse_note(checkpoint), extra)


def verify(receipt: Receipt, leaf: bytes, policy: Policy) -> Believed:
    """Check that the entry with this leaf hash is in a log that the policy believes. Raises `InvalidProof`."""
    believed = believe(receipt.checkpoint, policy)
    checkpoint = believed.checkpoint
    verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.hashes, checkpoint.root)
    return believed
