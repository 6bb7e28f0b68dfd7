"""The entry of an act: one JSON object in the form of RFC 8785, so that there is one way to write it.

It names who did what to what by opaque ids only: a key by the begin of its hash, a person never. The nonce keeps the
leaf's hash from being guessed. Integers that may pass 2^53 are strings.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tallystick.errors import Corrupt

VERSION = 1
NONCE_SIZE = 16
TEXT_MAX = 1_024
"""Characters kept of a text; an entry stays far below the 65,535 bytes that a bundle has room for."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing done, or asked for."""

    act: str
    """What: the name of an operation, such as `statement` or `key_new`."""
    at_ns: int
    """When, ns since the epoch, by the clock of the process that notes it."""
    by: str
    """Who: `key:` and 16 hex digits of an API key's SHA-256, or `uid:` and a number of this machine's system."""
    via: str
    """Where it came in: `gateway` or `cli`."""
    nonce: bytes
    tenant: int = 0
    """0: of no tenant."""
    target: str = ""
    """To what: a path, or an id."""
    result: str = ""
    """`asked` where it is noted before it is done; else the HTTP status of the answer."""
    more: Mapping[str, str] = {}


def encode(act: Act) -> bytes:
    """The entry's bytes."""
    fields: dict[str, Any] = {
        "act": act.act,
        "at": str(act.at_ns),
        "by": act.by,
        "more": {name: act.more[name][:TEXT_MAX] for name in sorted(act.more)},
        "nonce": act.nonce.hex(),
        "result": act.result,
        "target": act.target[:TEXT_MAX],
        "tenant": str(act.tenant),
        "v": VERSION,
        "via": act.via,
    }
    return msgspec.json.encode({name: value for name, value in fields.items() if value not in ("", {})})


def shown(entry: bytes) -> dict[str, Any]:
    """An entry as it is shown. Raises `Corrupt` if it is none."""
    try:
        found = msgspec.json.decode(entry, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Corrupt(f"an act's entry cannot be read: {error}") from error
    if found.get("v") != VERSION:
        raise Corrupt(f"an act's entry of version {found.get('v')!r} is not known to this program; upgrade it")
    return found
