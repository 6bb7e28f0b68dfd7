"""Who asks: API keys, denied by default, from one file of hashes.

Only SHA-256 hashes of keys are kept: a key has 256 random bits, so a slow password hash would add nothing. A tenant
comes from its key and from nowhere else. The file is written whole and renamed into place, mode 0600.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from tallystick.clock import Entropy
from tallystick.errors import Invalid, Unavailable
from tallystick.gateway.problems import Problem

READ, PAY, CONTROL, METRICS, WEBHOOKS, AUDIT = "read", "pay", "control", "metrics", "webhooks", "audit"
SCOPES = (READ, PAY, CONTROL, METRICS, WEBHOOKS, AUDIT)
"""Look up · open accounts and pay · freeze, unfreeze and set limits · read this gateway's metrics · subscribe · read
the whole log, of all tenants."""
KEY_PREFIX = "sk_"
KEY_BYTES = 32
RECHECK_S = 0.25
TENANT_MAX = (1 << 64) - 1

_sha256 = hashlib.sha256
_SHA256 = re.compile(r"[0-9a-f]{64}")


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a key. `created_at` is RFC 3339."""

    sha256: str
    tenant: int
    name: str
    scopes: list[str]
    created_at: str


class Principal(msgspec.Struct, frozen=True):
    """Who a request comes from."""

    tenant: int
    name: str
    scopes: frozenset[str]
    id: str = ""
    """Opaque: the begin of the key's hash. Its name may tell of a person."""


def make_key(entropy: Entropy) -> str:
    """A new key: `sk_` and 256 random bits in hex. Shown once, kept nowhere."""
    return KEY_PREFIX + entropy(KEY_BYTES).hex()


def key_hash(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_id(record: KeyRecord) -> str:
    """What a key is called in the logs of acts."""
    return f"key:{record.sha256[:16]}"


def read_keys(path: Path) -> list[KeyRecord]:
    """The records of a keys file; none if there is no file. Raises `Invalid` naming the culprit."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {error}") from error
    try:
        records = msgspec.json.decode(data, type=list[KeyRecord])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(path), f"is no list of keys: {error}") from error
    for record in records:
        _check(record)
    if len({record.sha256 for record in records}) != len(records):
        raise Invalid(str(path), "has a key twice")
    return records


def _check(record: KeyRecord) -> None:
    if not _SHA256.fullmatch(record.sha256):
        raise Invalid("sha256", "must be 64 lower-case hex digits")
    if not 0 < record.tenant <= TENANT_MAX:
        raise Invalid("tenant", "must be between 1 and 2^64 - 1")
    if not 0 < len(record.name) <= 255:
        raise Invalid("name", "must have 1 to 255 characters")
    unknown = [scope for scope in record.scopes if scope not in SCOPES]
    if unknown or not record.scopes:
        raise Invalid("scopes", f"must be some of {', '.join(SCOPES)}")


def add_key(
    path: Path,
    key: str,
    tenant: int,
    name: str,
    scopes: Sequence[str],
    now_ns: int,
    note: Callable[[str, KeyRecord], None] = lambda act, record: None,
) -> KeyRecord:
    """Let `key` in from now on (gateways notice within 250 ms); returns what is kept of it. Durable on return.

    `note` is told before it is done, and may stop it. Raises `Invalid` for a name already in use, an unknown scope, a
    tenant out of range, or a malformed file.
    """
    created_at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")
    record = KeyRecord(key_hash(key), tenant, name, sorted(set(scopes), key=list(scopes).index), created_at)
    _check(record)
    with _locked(path):
        records = read_keys(path)
        if any(other.name == name for other in records):
            raise Invalid("name", f"{name!r} is in use; revoke that key first, or choose another name")
        note("key_new", record)
        _write(path, [*records, record])
    return record


def list_keys(path: Path) -> list[KeyRecord]:
    """All keys, in order of creation. Raises `Invalid` for a malformed file."""
    return read_keys(path)


def revoke_key(path: Path, name: str, note: Callable[[str, KeyRecord], None] = lambda act, record: None) -> KeyRecord:
    """Let the key of this name in no more (gateways notice within 250 ms); returns it. Raises `Invalid` if unknown."""
    with _locked(path):
        records = read_keys(path)
        for record in records:
            if record.name == name:
                note("key_revoke", record)
                _write(path, [other for other in records if other is not record])
                return record
    raise Invalid("name", f"no key is called {name!r}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer of the keys file at a time, so that no added key is lost to another's rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, records: list[KeyRecord]) -> None:
    draft = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(records), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"the keys file {path} could not be written: {error}") from error


class Keys:
    """The keys in force, reread when the file changes.

    Lookup is by hashes (SHA-256; of a header just seen, Python's own with its random key), so its time tells nothing of
    a key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_hash: dict[bytes, Principal] = {}
        self._presented: dict[str, Principal] = {}
        """By the header as it came, those let in since the file was last looked at: most come again before it is looked
        at again, and hashing costs 0.6 µs."""
        self._seen: tuple[int, int, int] | None = None
        self._checked_at_s = float("-inf")
        self._log = structlog.get_logger("tallystick.gateway.auth")

    def principal(self, authorization: str | None, now_s: float) -> Principal:
        """Who presents this `Authorization` header at monotonic time `now_s`. Raises the problem `unauthenticated`."""
        if now_s - self._checked_at_s >= RECHECK_S:
            self._checked_at_s = now_s
            self._presented.clear()
            self._reload()
        if authorization is None:
            raise self._denied("the Authorization header is missing")
        known = self._presented.get(authorization)
        if known is not None:
            return known
        if authorization[:7].lower() != "bearer " or len(authorization) == 7:
            raise self._denied("the Authorization header must be: Bearer <key>")
        principal = self._by_hash.get(_sha256(authorization[7:].encode()).digest())
        if principal is None:
            raise self._denied("the key is not known here; it may have been revoked", invalid=True)
        self._presented[authorization] = principal
        return principal

    @staticmethod
    def _denied(detail: str, invalid: bool = False) -> Problem:
        challenge = 'Bearer realm="tallystick"' + (', error="invalid_token"' if invalid else "")
        return Problem("unauthenticated", detail, {"www-authenticate": challenge}, field="Authorization")

    def _reload(self) -> None:
        """Take over a changed file; a malformed one is reported and the last good one stays in force."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._log.warning("the keys file is gone: nobody gets in", path=str(self._path))
            self._seen, self._by_hash = None, {}
            return
        except OSError as error:
            self._log.error("the keys file cannot be read; the last keys stay in force", error=str(error))
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            records = read_keys(self._path)
        except Invalid as error:
            self._log.error("the keys file is malformed; the last good keys stay in force", error=str(error))
            return
        self._by_hash = {
            bytes.fromhex(record.sha256): Principal(
                record.tenant, record.name, frozenset(record.scopes), key_id(record)
            )
            for record in records
        }
        self._log.info("keys loaded", path=str(self._path), keys=len(records))


def lacking(scope: str) -> Problem:
    """The key does not have `scope`."""
    return Problem("forbidden", f"this needs a key with the scope {scope}", scope=scope)
