"""How text is committed to and encrypted, by a person's key: HKDF-SHA256 and AES-256-GCM of `cryptography`.

Salts derive from the key and the request, so that a request sent again has the same commitment, and so the same
fingerprint; with the key they are gone.
"""

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tallystick.errors import Corrupt
from tallystick.records.commitments import SALT_SIZE, Opening

NONCE_SIZE = 12


def openings_of(key: bytes, request_id: int, index: int, fields: Mapping[str, str]) -> dict[str, Opening]:
    """The fields with their salts. `index`: which of the request's payments they came with."""
    # That of the first has no number: it is the same payment alone, in a batch of one, or in a bundle.
    use = b"salt/%d" % index if index else b"salt"
    return {
        field: Opening(_derived(key, use, request_id.to_bytes(16, "big") + field.encode(), SALT_SIZE), value)
        for field, value in fields.items()
    }


def seal(key: bytes, nonce: bytes, tenant: int, commitment: bytes, openings: Mapping[str, Opening]) -> bytes:
    """The openings, encrypted, bound to tenant and commitment. `nonce`: 12 random bytes, never used again."""
    plain = msgspec.json.encode(dict(openings))
    return nonce + AESGCM(_derived(key, b"seal", b"", 32)).encrypt(nonce, plain, _bound(tenant, commitment))


def unseal(key: bytes, tenant: int, commitment: bytes, sealed: bytes) -> dict[str, Opening]:
    """The openings again. Raises `Corrupt` if this was not sealed for this tenant and commitment by this key."""
    cipher = AESGCM(_derived(key, b"seal", b"", 32))
    try:
        plain = cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], _bound(tenant, commitment))
    except (InvalidTag, ValueError) as error:
        raise Corrupt("a text kept under a commitment cannot be decrypted: it was changed, or is another's") from error
    return msgspec.json.decode(plain, type=dict[str, Opening])


def _derived(key: bytes, use: bytes, context: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt=None, info=b"tallystick/metadata/v1/" + use + b"\0" + context).derive(key)


def _bound(tenant: int, commitment: bytes) -> bytes:
    return tenant.to_bytes(8, "big") + commitment
