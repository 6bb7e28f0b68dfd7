"""Identifiers: 128-bit numbers, shown as 32 hex digits, any UUID spelling accepted.

Clients choose ids of accounts, transfers and requests. What a client left out is derived here, so that
the same request sent twice derives the same ids. Sources: RFC 9562 §5.7 (UUIDv7) and §5.8 (UUIDv8).
"""

import hashlib
import itertools
import re
from collections.abc import Callable

from tallystick.errors import Invalid

ID_MAX = (1 << 128) - 1
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_DASHED = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(rf"(?:urn:uuid:)?{_DASHED}|\{{{_DASHED}\}}", re.ASCII | re.IGNORECASE)


def parse(text: str, field: str = "id") -> int:
    """The number that 32 hex digits, or a UUID in any usual spelling (dashes, braces, `urn:uuid:`), stand for.

    Raises `Invalid` naming `field`. Zero and all ones are let through: what they mean is the caller's rule.
    """
    if len(text) == 32 and _HEX.fullmatch(text):
        return int(text, 16)
    if _UUID.fullmatch(text):
        return int(text.strip("{}")[-36:].replace("-", ""), 16)
    raise Invalid(field, "must be 32 hex digits or a UUID")


def show(number: int) -> str:
    """32 lower-case hex digits."""
    return f"{number:032x}"


def time_ordered(now_ns: int, random_bytes: Callable[[int], bytes]) -> int:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then random bits. `random_bytes(10)` gives the entropy."""
    milliseconds = (now_ns // 1_000_000) & ((1 << 48) - 1)
    noise = int.from_bytes(random_bytes(10), "big")
    high = (milliseconds << 16) | 0x7000 | (noise & 0x0FFF)
    low = (0b10 << 62) | ((noise >> 12) & ((1 << 62) - 1))
    return (high << 64) | low


class Minter:
    """Makes time-ordered ids in one process, cheaply: 62 random bits once, then counted up (RFC 9562 §6.2, method 2).

    Two ids of one minter never meet, nor, by their random start, those of two minters.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._counted = itertools.count(int.from_bytes(random_bytes(8), "big"))

    def mint(self, now_ns: int) -> int:
        """A UUIDv7 of this instant. Safe for many threads."""
        milliseconds = (now_ns // 1_000_000) & ((1 << 48) - 1)
        return milliseconds << 80 | 7 << 76 | 0b10 << 62 | next(self._counted) & ((1 << 62) - 1)


def request_id(key: str) -> int:
    """The request id of an `Idempotency-Key`: a UUID-shaped key *is* the id, any other is hashed into a UUIDv8.

    Raises `Invalid` for an empty key, one over 255 characters, zero and all ones (ADR 0003).
    """
    if not key or len(key) > 255:
        raise Invalid("Idempotency-Key", "must have 1 to 255 characters")
    try:
        number = parse(key)
    except Invalid:
        try:
            text = key.encode()
        except UnicodeEncodeError as error:
            raise Invalid("Idempotency-Key", "must be text that UTF-8 can write") from error
        number = int.from_bytes(hashlib.sha256(b"tallystick/request\0" + text).digest()[:16], "big")
        number = number & ~(0xF << 76) & ~(0b11 << 62) | (8 << 76) | (0b10 << 62)
    if number in (0, ID_MAX):
        raise Invalid("Idempotency-Key", "must not be zero or all ones")
    return number


def derived(request: int, index: int) -> int:
    """The id of event `index` (0–8,189) of a request whose client left it out.

    Places from 16,384 to 65,535 are those of payments (`gateway.payments`).

    The request's upper 48 bits stay (so ids made from time-ordered requests are time-ordered too), the other 80
    are hashed, so that two requests with neighbouring ids do not meet.
    """
    digest = hashlib.sha256(request.to_bytes(16, "big") + index.to_bytes(2, "big")).digest()
    return (request >> 80 << 80) | int.from_bytes(digest[:10], "big")
