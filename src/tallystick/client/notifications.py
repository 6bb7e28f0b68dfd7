"""Webhooks that come in: is this one of ours, and what does it say? (docs/webhooks.md)"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.clock import Clock, SystemClock
from tallystick.errors import InvalidProof
from tallystick.webhooks import signing


class Notification(Struct, frozen=True):
    """A webhook whose signature holds. The `id` is the same each time that it is sent again: act on it once."""

    id: str
    body: dict[str, Any]


def verify_webhook(body: bytes, headers: Mapping[str, str], *secrets: str, clock: Clock | None = None) -> Notification:
    """Check a webhook, by the bytes as they came, against the keys of its subscription (`whsec_…` or `whpk_…`; several
    while one replaces another).

    Raises `InvalidProof`: it is not ours, or an old one; do not act on it. Raises `Invalid` for a key that is none.
    """
    now_s = (clock or SystemClock()).wall_ns() / 1e9
    id = signing.verify([signing.verifier(secret) for secret in secrets], headers, body, now_s)
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidProof(f"the webhook is signed, and no JSON object: {error}") from error
    return Notification(id, found)
