"""Signing and verifying the text of a note, by kind of key.

A log's Ed25519 key signs the text. Cosignatures, of witnesses and of a log's ML-DSA-44 key, are 8 bytes of time and a
signature over a message that names it (c2sp.org/tlog-cosignature).
"""

import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.keys import Kind, SignerKey, VerifierKey
from tallystick.tlog.merkle import SIZE_MAX

_TIME = struct.Struct(">Q")
_SIZE = {Kind.ED25519: 64, Kind.ED25519_COSIGNATURE: _TIME.size + 64, Kind.MLDSA44: _TIME.size + 2420}


def sign(key: SignerKey, text: str, time_s: int) -> bytes:
    """Sign the text of a note. `time_s`, whole seconds since the Unix epoch and not 0, stands in cosignatures only."""
    if key.kind is Kind.ED25519:
        return Ed25519PrivateKey.from_private_bytes(key.seed).sign(text.encode())
    if not 0 < time_s <= SIZE_MAX:
        raise ValueError(f"a cosignature at {time_s} s")
    message = _message(key.kind, key.name, time_s, text)
    if key.kind is Kind.MLDSA44:
        return _TIME.pack(time_s) + MLDSA44PrivateKey.from_seed_bytes(key.seed).sign(message)
    return _TIME.pack(time_s) + Ed25519PrivateKey.from_private_bytes(key.seed).sign(message)


def verify(key: VerifierKey, text: str, signature: bytes) -> int:
    """Check a signature over the text of a note; returns its time in seconds, 0 if its kind has none.

    Raises `InvalidProof` if it is not this key's over this text.
    """
    if len(signature) != _SIZE[key.kind]:
        raise InvalidProof(f"a signature of {key.name} has {len(signature)} bytes, not {_SIZE[key.kind]}")
    try:
        if key.kind is Kind.ED25519:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
            return 0
        (time_s,) = _TIME.unpack_from(signature)
        if not 0 < time_s <= SIZE_MAX:
            raise InvalidProof(f"a cosignature of {key.name} has no time")
        message = _message(key.kind, key.name, time_s, text)
        if key.kind is Kind.MLDSA44:
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[_TIME.size :], message)
        else:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[_TIME.size :], message)
    except (InvalidSignature, ValueError) as error:
        raise InvalidProof(f"the signature of {key.name} (key {key.key_id.hex()}) does not verify") from error
    return int(time_s)


def _message(kind: Kind, name: str, time_s: int, text: str) -> bytes:
    if kind is Kind.ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {time_s}\n{text}".encode()
    # An ML-DSA-44 cosignature is over a subtree, here always the whole tree: from leaf 0 to the size.
    checkpoint = parse_checkpoint(text)
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            b"subtree/v1\n\0",
            bytes([len(cosigner)]),
            cosigner,
            _TIME.pack(time_s),
            bytes([len(origin)]),
            origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )
