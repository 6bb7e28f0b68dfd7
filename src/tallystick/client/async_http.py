"""As `http`, for coroutines: one HTTP request, and which of the two ways it failed."""

from collections.abc import Mapping
from types import TracebackType

import aiohttp

from tallystick.client.http import CONNECT_S, Answer, Seen, base_url
from tallystick.errors import OutcomeUnknown, Unavailable


class AsyncApi:
    """A gateway and a key to it, for the coroutines of one event loop: at most `connections` at once.

    `wait_s` is how long to wait for an answer; keep it above the gateway's own wait for an outcome.
    """

    def __init__(self, url: str, key: str, connections: int, wait_s: float) -> None:
        self.url = base_url(url)
        self.seen = Seen()
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._connections = connections
        # The time a request spends waiting for one of the connections is not the gateway's.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=wait_s)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and wait for its answer, whatever its status.

        Raises `Unavailable` if no connection came about, `OutcomeUnknown` if it broke or timed out afterwards.
        """
        session = self._session
        if session is None:
            session = self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=self._timeout,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        sent = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        try:
            async with session.request(
                method, self.url + path, data=body or None, headers=sent, allow_redirects=False
            ) as answer:
                self.seen.note(answer.headers)
                return Answer(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(f"nothing answers at {self.url}; is `tally up` running there?") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise OutcomeUnknown(f"{self.url} broke off before it answered ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> "AsyncApi":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
