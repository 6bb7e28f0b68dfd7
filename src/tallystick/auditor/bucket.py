"""A bucket of an object store that speaks S3, as a place for a log. Three requests are all it takes, so it signs them
itself (AWS Signature Version 4) instead of depending on a client of a hundred services.

A file that never changes is made with `If-None-Match: *`: the store itself refuses to write it twice.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

import urllib3
import urllib3.exceptions

from tallystick.errors import Corrupt, Invalid, Unavailable

TIMEOUT_S = 30.0
_MADE, _GONE, _THERE = (200, 201, 204), 404, 412


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who writes there."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


class Bucket:
    """As `places.Place`; what it says is there is as durable as the store makes it."""

    def __init__(
        self, endpoint: str, bucket: str, prefix: str, credentials: Credentials, wall_ns: Callable[[], int]
    ) -> None:
        """`endpoint` is the store's URL, such as `https://s3.example.com`; paths stand below `prefix` in the bucket.

        Raises `Invalid` for an endpoint that is no URL.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise Invalid("--endpoint", f"{endpoint!r} is no URL of a store, such as https://s3.example.com")
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._root = "/" + "/".join(part for part in (bucket, prefix.strip("/")) if part)
        self._credentials = credentials
        self._wall_ns = wall_ns
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=TIMEOUT_S, read=TIMEOUT_S))

    def put_once(self, path: str, content: bytes) -> None:
        status, _ = self._ask("PUT", path, content, {"if-none-match": "*"})
        if status == _THERE:
            if self.get(path) != content:
                raise Corrupt(f"{path} there holds other bytes: of another log or journal, or changed")
        elif status not in _MADE:
            raise self._refused("PUT", path, status)

    def replace(self, path: str, content: bytes) -> None:
        status, _ = self._ask("PUT", path, content)
        if status not in _MADE:
            raise self._refused("PUT", path, status)

    def get(self, path: str) -> bytes | None:
        status, body = self._ask("GET", path)
        if status == _GONE:
            return None
        if status != 200:
            raise self._refused("GET", path, status)
        return body

    def _ask(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        place = quote(f"{self._root}/{path}", safe="/-_.~")
        at = datetime.fromtimestamp(self._wall_ns() // 1_000_000_000, UTC)
        signed = self._signed(method, place, content, headers or {}, at)
        try:
            answer = self._pool.request(method, self._url + place, body=content or None, headers=signed, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the store at {self._url} does not answer: {type(error).__name__}") from error
        return answer.status, answer.data

    def _signed(
        self, method: str, place: str, content: bytes, headers: Mapping[str, str], at: datetime
    ) -> dict[str, str]:
        """The headers, signed ("Create a signed AWS API request", AWS's documentation of IAM)."""
        moment, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
        digest = sha256(content).hexdigest()
        found = {**headers, "host": self._host, "x-amz-content-sha256": digest, "x-amz-date": moment}
        names = ";".join(sorted(found))
        canonical = "".join(f"{name}:{found[name]}\n" for name in sorted(found))
        request = f"{method}\n{place}\n\n{canonical}\n{names}\n{digest}"
        scope = f"{day}/{self._credentials.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self._credentials.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"{self._credentials.access_key}/{scope}"
        found["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        return found

    def _refused(self, method: str, path: str, status: int) -> Unavailable:
        hint = "; does this key have the right to?" if status in (401, 403) else ""
        return Unavailable(f"the store at {self._url} answers {status} to {method} {self._root}/{path}{hint}")
