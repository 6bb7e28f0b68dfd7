"""Signatures of webhooks, made and checked, by Standard Webhooks 1.0.0: v1 is HMAC-SHA256, v1a is Ed25519.

What is signed is `id.timestamp.body`, byte for byte as it travels: check it before the body is parsed, and never parse
and write it again in between. A header holds several signatures while a secret is rotated; one that fits is enough.

Keys are written as the specification does: `whsec_` (a secret both ends share), `whsk_` (private, the sender's) and
`whpk_` (public, the receiver's), each followed by base64.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from tallystick.errors import Invalid, InvalidProof

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
"""The three header fields of a webhook."""
TOLERANCE_S = 300
"""How far the time of a webhook may lie from the receiver's clock, to either side."""
SIGNATURES_MAX = 16
"""Signatures that are looked at in one header: a stranger's header must not cost more than a few checks."""

SECRET_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
SECRET_BYTES_MIN, SECRET_BYTES, SECRET_BYTES_MAX = 24, 32, 64
"""SW, "Signature scheme": a shared secret has 24 to 64 random bytes. Ours have 32."""
_SEED_BYTES = 32
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class Verifier(Protocol):
    """What a receiver checks with."""

    @property
    def scheme(self) -> str:
        """`v1` or `v1a`."""
        ...

    def check(self, signature: bytes, content: bytes) -> None:
        """Raises `InvalidProof` unless `signature` is that of `content`."""
        ...


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A `whsec_` key: signs and checks. Its bytes are in no `repr`."""

    secret: bytes = field(repr=False)
    scheme: str = "v1"

    def sign(self, content: bytes) -> bytes:
        """32 bytes."""
        return self._mac(content).finalize()

    def check(self, signature: bytes, content: bytes) -> None:
        """Compares in constant time. Raises `InvalidProof`."""
        try:
            self._mac(content).verify(signature)
        except InvalidSignature as error:
            raise InvalidProof("the webhook's signature does not fit") from error

    def _mac(self, content: bytes) -> HMAC:
        mac = HMAC(self.secret, SHA256())
        mac.update(content)
        return mac

    def __str__(self) -> str:
        return SECRET_PREFIX + base64.b64encode(self.secret).decode()


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A `whpk_` key: checks."""

    key: Ed25519PublicKey
    scheme: str = "v1a"

    def check(self, signature: bytes, content: bytes) -> None:
        """Raises `InvalidProof`."""
        try:
            self.key.verify(signature, content)
        except InvalidSignature as error:
            raise InvalidProof("the webhook's signature does not fit") from error

    def __str__(self) -> str:
        return PUBLIC_PREFIX + base64.b64encode(self.key.public_bytes_raw()).decode()


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A `whsk_` key: signs."""

    key: Ed25519PrivateKey = field(repr=False)
    scheme: str = "v1a"

    def sign(self, content: bytes) -> bytes:
        """64 bytes."""
        return self.key.sign(content)

    @property
    def public(self) -> PublicKey:
        """What its receivers get."""
        return PublicKey(self.key.public_key())

    def __str__(self) -> str:
        return PRIVATE_PREFIX + base64.b64encode(self.key.private_bytes_raw()).decode()


Signer: TypeAlias = SharedSecret | PrivateKey


def signer(text: str) -> Signer:
    """The `whsec_` or `whsk_` key that `text` writes. Raises `Invalid` naming `secret`, and shows nothing of it."""
    if text.startswith(PRIVATE_PREFIX):
        raw = _decoded(text.removeprefix(PRIVATE_PREFIX))
        # Some write the seed alone, some the public key behind it.
        if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):
            raise Invalid("secret", f"{PRIVATE_PREFIX}… must hold 32 or 64 bytes in base64")
        private = PrivateKey(Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES]))
        if raw[_SEED_BYTES:] not in (b"", private.public.key.public_bytes_raw()):
            raise Invalid("secret", f"{PRIVATE_PREFIX}… holds a public key that is another's")
        return private
    if text.startswith(SECRET_PREFIX):
        raw = _decoded(text.removeprefix(SECRET_PREFIX))
        if not SECRET_BYTES_MIN <= len(raw) <= SECRET_BYTES_MAX:
            raise Invalid("secret", f"{SECRET_PREFIX}… must hold {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
        return SharedSecret(raw)
    raise Invalid("secret", f"must begin with {SECRET_PREFIX} or {PRIVATE_PREFIX}")


def verifier(text: str) -> Verifier:
    """The `whsec_` or `whpk_` key that `text` writes. Raises `Invalid` naming `secret`."""
    if not text.startswith(PUBLIC_PREFIX):
        if text.startswith(PRIVATE_PREFIX):
            raise Invalid("secret", f"is the sender's private key; receivers have the {PUBLIC_PREFIX} one")
        found = signer(text)
        assert isinstance(found, SharedSecret)
        return found
    raw = _decoded(text.removeprefix(PUBLIC_PREFIX))
    if len(raw) != _SEED_BYTES:
        raise Invalid("secret", f"{PUBLIC_PREFIX}… must hold 32 bytes in base64")
    return PublicKey(Ed25519PublicKey.from_public_bytes(raw))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("secret", "is no base64 behind its prefix") from error


def sign(signers: Iterable[Signer], webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three header fields of one webhook, with a signature by each of `signers`. `timestamp_s`: Unix seconds."""
    content = _content(webhook_id, str(timestamp_s), body)
    signatures = [f"{each.scheme},{base64.b64encode(each.sign(content)).decode()}" for each in signers]
    return {ID: webhook_id, TIMESTAMP: str(timestamp_s), SIGNATURE: " ".join(signatures)}


def verify(
    verifiers: Iterable[Verifier],
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """The id of a webhook that one of our keys signed, now. `headers` in any case; `now_s`: Unix seconds.

    Raises `InvalidProof` if a header is missing, the time is off by more than the tolerance, or no signature fits. The
    id is the same each time that a webhook is sent again: what was done once under it must not be done twice.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not fields.get(name)]
    if missing:
        raise InvalidProof(f"the webhook has no header {missing[0]}")
    sent_at = fields[TIMESTAMP]
    if not _SECONDS.fullmatch(sent_at):
        raise InvalidProof(f"{TIMESTAMP} is no number of seconds")
    if abs(now_s - int(sent_at)) > tolerance_s:
        raise InvalidProof(f"{TIMESTAMP} is more than {tolerance_s:g} s from now: an old webhook, or a wrong clock")
    content = _content(fields[ID], sent_at, body)
    known = list(verifiers)
    for signature in fields[SIGNATURE].split(" ")[:SIGNATURES_MAX]:
        scheme, _, encoded = signature.partition(",")
        for each in known:
            if each.scheme == scheme and _fits(each, encoded, content):
                return fields[ID]
    raise InvalidProof("no signature of the webhook is by a key that is known here")


def _fits(known: Verifier, encoded: str, content: bytes) -> bool:
    try:
        known.check(base64.b64decode(encoded, validate=True), content)
    except (InvalidProof, binascii.Error, ValueError):
        return False
    return True


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{webhook_id}.{timestamp}.".encode() + body
