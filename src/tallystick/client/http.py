"""One HTTP request, and which of the two ways it failed.

Knows connections and errors, not payments. The difference it draws is the one money needs: a request that surely
never left this machine is `Unavailable`; any other failure is `OutcomeUnknown`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
import urllib3.exceptions

from tallystick.errors import Invalid, OutcomeUnknown, Unavailable

CONNECT_S = 5.0


def base_url(url: str) -> str:
    """Where a gateway is. Raises `Invalid`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Invalid("url", f"must look like http://127.0.0.1:7400, not {url!r}")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none, so that a stranger's error page needs no special care."""
        try:
            found = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}


class Seen:
    """The newest position of the journal that a gateway's answers told. Any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._position = 0

    def note(self, headers: Mapping[str, str]) -> None:
        """Take note of the position in an answer, if it has one."""
        told = headers.get("Tally-Position", "")
        if told.isascii() and told.isdigit():
            with self._lock:
                self._position = max(self._position, int(told))

    @property
    def headers(self) -> dict[str, str]:
        """What makes a read know at least as much."""
        return {"Tally-Position": str(self._position)} if self._position else {}


class Api:
    """A gateway and a key to it. Threads may share it: each request takes one of `connections` pooled connections.

    `wait_s` is how long to wait for an answer; keep it above the gateway's own wait for an outcome.
    """

    def __init__(self, url: str, key: str, connections: int = 1, wait_s: float = 35.0) -> None:
        self.url = base_url(url)
        self.seen = Seen()
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        # No retries down there: whoever repeats a payment must know that it does (`requests.settle`).
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=wait_s),
        )

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and wait for its answer, whatever its status.

        Raises `Unavailable` if no connection came about, `OutcomeUnknown` if it broke or timed out afterwards.
        """
        try:
            answer = self._pool.request(
                method,
                self.url + path,
                body=body or None,
                headers={**self._headers, **({"Content-Type": "application/json"} if body else {}), **(headers or {})},
                redirect=False,
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise Unavailable(f"nothing answers at {self.url}; is `tally up` running there?") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise OutcomeUnknown(f"{self.url} broke off before it answered ({type(error).__name__})") from error
        self.seen.note(answer.headers)
        return Answer(answer.status, answer.headers, answer.data)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
