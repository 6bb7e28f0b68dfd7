"""Names of keys: verifier keys, signer keys and key ids (c2sp.org/signed-note, "Verifier keys").

    vkey   <name>+<key id, 8 hex digits>+base64(kind ‖ public key)
    skey   PRIVATE+KEY+<name>+<key id>+base64(kind ‖ 32-byte seed), as Go's x/mod/sumdb/note writes it

`signatures.py` signs and verifies with them.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tallystick.errors import InvalidProof

SEED_SIZE = 32
_PRIVATE = "PRIVATE+KEY+"
NAME_BYTES_MAX = 255
"""What a cosigned message has room for (c2sp.org/tlog-cosignature)."""


class Kind(IntEnum):
    """What a key signs, and how: its signature type byte."""

    ED25519 = 0x01  # a log's, over the note's text
    ED25519_COSIGNATURE = 0x04  # a witness's, with a time
    MLDSA44 = 0x06  # a log's or a witness's, with a time


_PUBLIC_SIZE = {Kind.ED25519: 32, Kind.ED25519_COSIGNATURE: 32, Kind.MLDSA44: 1312}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name. Name and key id together say which key signed."""

    name: str
    kind: Kind
    public: bytes = field(repr=False)

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ newline ‖ kind ‖ public key), its first four bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text."""
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key under a name, as its seed of 32 bytes. Its text is a secret: for files of its owner alone."""

    name: str
    kind: Kind
    seed: bytes = field(repr=False)

    @property
    def verifier(self) -> VerifierKey:
        """Its public half."""
        if self.kind is Kind.MLDSA44:
            public = MLDSA44PrivateKey.from_seed_bytes(self.seed).public_key().public_bytes_raw()
        else:
            public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, self.kind, public)

    @property
    def skey(self) -> str:
        """The key as text, secret."""
        encoded = base64.b64encode(bytes([self.kind]) + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encoded}"


def new_key(name: str, kind: Kind, entropy: Callable[[int], bytes]) -> SignerKey:
    """A fresh key. Raises `InvalidProof` for a name no note can carry."""
    check_name(name)
    return SignerKey(name, kind, entropy(SEED_SIZE))


def parse_vkey(text: str) -> VerifierKey:
    """A verifier key. Raises `InvalidProof` if any part is not exactly as it is written."""
    name, key_id, kind, public = _parts(text)
    if len(public) != _PUBLIC_SIZE[kind]:
        raise InvalidProof(f"verifier key of {name}: {len(public)} bytes, not {_PUBLIC_SIZE[kind]}")
    found = VerifierKey(name, kind, public)
    if found.key_id.hex() != key_id:
        raise InvalidProof(f"verifier key of {name}: its key id is {found.key_id.hex()}, not {key_id}")
    return found


def parse_skey(text: str) -> SignerKey:
    """A signer key. Raises `InvalidProof`, without the text."""
    if not text.startswith(_PRIVATE):
        raise InvalidProof("this is no signer key")
    name, key_id, kind, seed = _parts(text.removeprefix(_PRIVATE))
    if len(seed) != SEED_SIZE:
        raise InvalidProof(f"signer key of {name}: {len(seed)} bytes, not {SEED_SIZE}")
    found = SignerKey(name, kind, seed)
    if found.verifier.key_id.hex() != key_id:
        raise InvalidProof(f"signer key of {name}: its key id does not fit")
    return found


def check_name(name: str) -> None:
    """Raise `InvalidProof` for a key name that no signature line can carry."""
    if not name or "+" in name or any(sign.isspace() or sign < " " for sign in name):
        raise InvalidProof(f"{name!r} is no key name: it may not be empty, nor hold blanks, + or control characters")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise InvalidProof(f"a key name has at most {NAME_BYTES_MAX} bytes")


def strict_base64(text: str, what: str) -> bytes:
    """Standard base64 with padding, in its one spelling. Raises `InvalidProof` naming `what`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidProof(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise InvalidProof(f"{what} is base64 in another spelling than the one")
    return data


def _parts(text: str) -> tuple[str, str, Kind, bytes]:
    # Base64 may hold a + of its own, so only the first two part the text.
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise InvalidProof("a key is written name+id+base64")
    name, key_id, encoded = parts
    check_name(name)
    data = strict_base64(encoded, f"the key of {name}")
    if not data or data[0] not in set(Kind):
        raise InvalidProof(f"the key of {name} is of a kind not known here")
    return name, key_id, Kind(data[0]), data[1:]
