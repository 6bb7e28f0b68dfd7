"""The signer's keys: one signer key a line, in a file of its owner alone. All of them sign.

The first Ed25519 and the first ML-DSA-44 key are made with the log. A rotation adds a pair, both pairs sign while those
who verify learn of the new one, and then the old pair is retired.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from tallystick.clock import Entropy
from tallystick.errors import Corrupt, Invalid, InvalidProof, Unavailable
from tallystick.tlog.keys import Kind, SignerKey, new_key, parse_skey

PAIR = (Kind.ED25519, Kind.MLDSA44)
"""A log's."""
WITNESS_PAIR = (Kind.ED25519_COSIGNATURE, Kind.MLDSA44)
"""A witness's, which is kept in such a file too."""


def read(path: Path) -> list[SignerKey]:
    """The keys in force, oldest first; none if there is no file. Raises `Corrupt` for what is no key."""
    try:
        lines = path.read_text("ascii").splitlines()
        return [parse_skey(line) for line in lines if line]
    except FileNotFoundError:
        return []
    except (InvalidProof, UnicodeDecodeError) as error:
        raise Corrupt(f"{path}: {error}") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def create(path: Path, origin: str, entropy: Entropy, pair: Sequence[Kind] = PAIR) -> list[SignerKey]:
    """The first pair of keys under the name `origin`, unless there are keys. Returns those in force."""
    return read(path) or rotate(path, origin, entropy, pair)


def rotate(path: Path, origin: str, entropy: Entropy, pair: Sequence[Kind] = PAIR) -> list[SignerKey]:
    """Add a pair; from the next checkpoint on it signs too. Durable on return. Returns the keys in force.

    Raises `Invalid` if the keys there are of another log.
    """
    keys = read(path)
    if any(key.name != origin for key in keys):
        raise Invalid("origin", f"the keys in {path} are of {keys[0].name}, not of {origin}")
    keys += [new_key(origin, kind, entropy) for kind in pair]
    _write(path, keys)
    return keys


def retire(path: Path, key_id: str) -> list[SignerKey]:
    """Let the key with this id (8 hex digits) sign no more. Durable on return. Returns the keys in force.

    Raises `Invalid` if there is none, or if no Ed25519 key would be left: every reader knows that kind.
    """
    keys = read(path)
    left = [key for key in keys if key.verifier.key_id.hex() != key_id.lower()]
    if len(left) == len(keys):
        ids = ", ".join(key.verifier.key_id.hex() for key in keys) or "none"
        raise Invalid("key_id", f"no key {key_id!r} signs; those that do: {ids}")
    if not any(key.kind is Kind.ED25519 for key in left):
        raise Invalid("key_id", f"{key_id} is the last Ed25519 key: rotate first, and let both sign for a while")
    _write(path, left)
    return left


def _write(path: Path, keys: Sequence[SignerKey]) -> None:
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write("".join(f"{key.skey}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"the signer's keys could not be written to {path}: {error.strerror}") from error
