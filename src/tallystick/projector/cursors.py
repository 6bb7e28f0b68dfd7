"""Cursors of pages: opaque to clients, signed, and good only for the tenant and the question that they came from.

A cursor carries the position that its first page was of, so that all pages show the same moment, and the place where
the next page begins. HMAC-SHA256 (RFC 2104) of both and of the question, cut to 16 bytes, under a key of this data
folder: who has not been given it cannot make one.
"""

import base64
import hashlib
import hmac
import struct
from binascii import Error as NotBase64

from tallystick.errors import Invalid

KEY_BYTES = 32
TAG_BYTES = 16
_PLACES = struct.Struct(">QQ")
_SIZE = _PLACES.size + TAG_BYTES


def _tag(key: bytes, tenant: int, question: bytes, places: bytes) -> bytes:
    signed = tenant.to_bytes(8, "big") + hashlib.sha256(question).digest() + places
    return hmac.new(key, signed, hashlib.sha256).digest()[:TAG_BYTES]


def make(key: bytes, tenant: int, question: bytes, position: int, place: int) -> str:
    """A cursor. `question`: what is asked, in bytes that are the same for every page of it."""
    places = _PLACES.pack(position, place)
    return base64.urlsafe_b64encode(places + _tag(key, tenant, question, places)).rstrip(b"=").decode()


def read(key: bytes, tenant: int, question: bytes, cursor: str) -> tuple[int, int]:
    """Position and place. Raises `Invalid` for a cursor that was not made here for this tenant and question."""
    try:
        data = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (NotBase64, ValueError) as error:
        raise _foreign() from error
    if len(data) != _SIZE:
        raise _foreign()
    places, tag = data[: _PLACES.size], data[_PLACES.size :]
    if not hmac.compare_digest(tag, _tag(key, tenant, question, places)):
        raise _foreign()
    position, place = _PLACES.unpack(places)
    return position, place


def _foreign() -> Invalid:
    return Invalid("cursor", "is none of this question: send it as it came, with the same parameters")
