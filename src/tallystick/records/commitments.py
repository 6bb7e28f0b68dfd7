"""Commitments to text that comes with a payment: the entry has 32 bytes, and only who has the openings can read them.

    field:    HMAC-SHA256(salt of 32 bytes, field ‖ 0 ‖ value)
    payment:  that of its one field; of several, SHA-256("tallystick/metadata/v1" ‖ 0 ‖ those of the fields, by name)

So single fields can be shown and others kept: what is not shown is its commitment. Without its salt, a value that can
be guessed cannot be checked against its commitment; that is why erasing the salt is enough.
"""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from tallystick.errors import InvalidProof

SALT_SIZE = 32
COMMITMENT_SIZE = 32
_SEVERAL = b"tallystick/metadata/v1\0"


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What reveals one field. Bytes are base64 where it is JSON."""

    salt: bytes
    value: str


def commit(field: str, opening: Opening) -> bytes:
    """The commitment to one field's value."""
    if len(opening.salt) != SALT_SIZE or "\0" in field:
        raise InvalidProof(f"field {field!r}: a salt has {SALT_SIZE} bytes, and a name no zero byte")
    return hmac.digest(opening.salt, field.encode() + b"\0" + opening.value.encode(), "sha256")


def combined(commitments: Mapping[str, bytes]) -> bytes:
    """The payment's commitment, of those to its fields, one or more."""
    ordered = [commitments[field] for field in sorted(commitments)]
    return ordered[0] if len(ordered) == 1 else hashlib.sha256(_SEVERAL + b"".join(ordered)).digest()


def commit_all(openings: Mapping[str, Opening]) -> bytes:
    """The payment's commitment to all of these fields."""
    return combined({field: commit(field, found) for field, found in openings.items()})


def check(commitment: bytes, openings: Mapping[str, Opening]) -> None:
    """Raise `InvalidProof` unless these fields, all of them, are what `commitment` commits to."""
    if not openings or commit_all(openings) != commitment:
        raise InvalidProof("the text is not the one that the entry commits to")
