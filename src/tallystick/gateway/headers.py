"""Request headers, understood or refused by name. Pure.

Sources: RFC 7240 (Prefer), draft-ietf-httpapi-idempotency-key-header (Idempotency-Key), RFC 9110 §8.3 (Content-Type).
"""

import re
from binascii import unhexlify
from collections.abc import Mapping

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway.decoding import unsigned
from tallystick.gateway.problems import Problem

HEADERS_MAX = 64
HEAD_BYTES_MAX = 65_536
WAIT_S_MAX = 30
JSON = "application/json"
BINARY = "application/octet-stream"
_UNREPEATED = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "expires-at",
        "idempotency-key",
        "if-match",
        "tally-position",
        "x-request-id",
    }
)
_READ = (*_UNREPEATED, "accept", "expect", "prefer", "transfer-encoding")
_KNOWN = {spelling.encode(): name for name in _READ for spelling in (name, name.title())}
"""The header fields that somebody here reads; others are counted and forgotten."""
_EXCHANGE = re.compile(r"[!-~]{1,128}")
_RESERVED = (bytes(16), bytes([255]) * 16)
_PRINTABLE = re.compile(r"[ -~]+")


class Head:
    """The head of a request: its method, its target as it came, and those header fields that are read here."""

    __slots__ = ("count", "fields", "method", "repeated", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.fields: dict[str, str] = {}
        self.count = 0
        self.repeated = ""
        """A field that stands twice and may not, if any."""

    def add(self, name: bytes, value: bytes) -> None:
        """One more field, by lower-case name; of one that may stand several times the values are joined."""
        self.count += 1
        known = _KNOWN.get(name) or _KNOWN.get(name.lower())
        if known is None:
            return
        text = value.decode("latin-1")
        if known not in self.fields:
            self.fields[known] = text
        elif known in _UNREPEATED:
            self.repeated = known
        else:
            self.fields[known] += ", " + text

    def check(self) -> None:
        """Raises the problem `headers_too_large`, or `Invalid` naming a field that stands twice and may not: proxies
        differ on which one counts."""
        if self.count > HEADERS_MAX:
            raise too_many()
        if self.repeated:
            raise Invalid(self.repeated.title(), "stands twice")


def too_many() -> Problem:
    """More header fields than are taken, or larger ones."""
    detail = f"a request may have {HEADERS_MAX} header fields of {HEAD_BYTES_MAX // 1024} KiB in all"
    return Problem("headers_too_large", detail, limit_headers=HEADERS_MAX, limit_bytes=HEAD_BYTES_MAX)


def exchange(asked: str) -> str | None:
    """The client's `X-Request-Id` if it can be echoed: 1 to 128 visible ASCII characters. Others are ignored."""
    return asked if _EXCHANGE.fullmatch(asked) else None


def request_id(headers: Mapping[str, str], in_body: str | None) -> int:
    """The request's id, from the header or the body. Raises `Invalid`, or a problem if there is none.

    A key in double quotes, as the IETF draft writes it, is the same key without them.
    """
    key = headers.get("idempotency-key")
    if key is None:
        if in_body is None:
            raise Problem("missing_idempotency_key", "send an Idempotency-Key header", field="Idempotency-Key")
        return _key_id(in_body, "request_id")
    if len(key) > 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    number = _key_id(key, "Idempotency-Key")
    if in_body is not None and _key_id(in_body, "request_id") != number:
        raise Invalid("request_id", "differs from the Idempotency-Key header")
    return number


def _key_id(key: str, field: str) -> int:
    # The two spellings nearly all clients use, at a third of the general way's cost (0.5 and 0.9 µs).
    size = len(key)
    if size == 32 or (size == 36 and key[8] == key[13] == key[18] == key[23] == "-"):
        try:
            raw = unhexlify(key if size == 32 else key.replace("-", ""))
        except ValueError:
            raw = b""
        if len(raw) == 16 and raw not in _RESERVED:
            return int.from_bytes(raw, "big")
    if not _PRINTABLE.fullmatch(key):
        raise Invalid(field, "must have 1 to 255 printable ASCII characters")
    try:
        return ids.request_id(key)
    except Invalid as error:
        raise Invalid(field, error.message) from error


def expires_at(headers: Mapping[str, str], in_body: str | int | None) -> int:
    """When the request expires, ns since the epoch; 0: never. From the `Expires-At` header or the body."""
    text = headers.get("expires-at")
    if text is None:
        return 0 if in_body is None else unsigned(in_body, "expires_at")
    instant = unsigned(text, "Expires-At")
    if in_body is not None and unsigned(in_body, "expires_at") != instant:
        raise Invalid("expires_at", "differs from the Expires-At header")
    return instant


def wait_s(text: str, default_s: float) -> float:
    """How long to wait for the outcome: `Prefer: wait=0…30` in seconds; 0 for `respond-async`.

    Unknown preferences are ignored, as RFC 7240 §2 wants; a `wait` that is no such number is `Invalid`.
    """
    wait: float | None = None
    respond_async = False
    for preference in text.split(","):
        token = preference.partition(";")[0].strip()
        name, equals, value = (part.strip() for part in token.partition("="))
        name = name.lower()
        if name == "respond-async" and not equals:
            respond_async = True
        elif name == "wait" and wait is None:  # RFC 7240 §2: of two, the first counts
            value = value.strip('"')
            if not (value.isascii() and value.isdigit() and int(value[:9]) <= WAIT_S_MAX and len(value) < 9):
                raise Invalid("Prefer", f"wait must be a whole number of seconds, 0 to {WAIT_S_MAX}")
            wait = float(value)
    # RFC 7240 §4.3: with both, wait so long and turn asynchronous only then.
    return wait if wait is not None else 0.0 if respond_async else default_s


def content_type(text: str, taken: tuple[str, ...]) -> str:
    """The body's media type. Raises the problem `unsupported_media_type` unless it is one of `taken`."""
    media, _, parameters = text.partition(";")
    media = media.strip().lower()
    charset = parameters.replace(" ", "").lower()
    if media in taken and charset in ("", "charset=utf-8", 'charset="utf-8"'):
        return media
    wanted = " or ".join(taken)
    raise Problem("unsupported_media_type", f"Content-Type must be {wanted}", {"accept": wanted}, field="Content-Type")


def origin_form(target: str) -> str:
    """Path and query of a target in absolute form, as proxies send it (RFC 9112 §3.2.2); others are no path here."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return "*"
    _, slash, path = rest.partition("/")
    return slash + path or "/"
