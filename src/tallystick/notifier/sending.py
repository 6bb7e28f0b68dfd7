"""The webhook client: aiohttp, with every bound that a stranger's server calls for."""

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp.abc import AbstractResolver

from tallystick.notifier.addresses import Forbidden, Guard
from tallystick.notifier.schedule import Reply

ANSWER_BYTES_MAX = 65_536
"""What is read of an answer's body, to be thrown away, so that its connection can be used again."""
HEAD_BYTES_MAX = 8_190
CONNECT_S = 5.0
IDLE_S = 30.0
USER_AGENT = "Tallystick-Webhooks/1"
_FIELDS = {"content-type": "application/json", "user-agent": USER_AGENT, "accept-encoding": "identity"}


class HttpSender:
    """A `Sender`. Lives on one event loop; close it there."""

    def __init__(self, guard: Guard, timeout_s: float, resolver: AbstractResolver | None = None) -> None:
        """`timeout_s`: for one webhook, from looking the name up to the end of the answer."""
        # Every connection is to an address that was looked up for it and checked at its socket: no cache of names, and
        # nothing of the environment (proxies, netrc), which would lead around the guard.
        connector = aiohttp.TCPConnector(
            resolver=resolver or aiohttp.ThreadedResolver(),
            use_dns_cache=False,
            socket_factory=guard.socket,
            limit=0,  # the courier's lanes are the bound: a wait in here would count as the receiver's
            keepalive_timeout=IDLE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
            trust_env=False,
            auto_decompress=False,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            headers=_FIELDS,
        )
        self._timeout_s = timeout_s

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                # One who answers without an end gets no more than this; its connection is closed.
                await answer.content.readexactly(ANSWER_BYTES_MAX)
                answer.close()
                return Reply(answer.status)
        except asyncio.IncompleteReadError:
            return Reply(answer.status)
        except TimeoutError:
            return Reply(error=f"no answer within {self._timeout_s:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Reply(error="its certificate is not valid for this host")
        except aiohttp.ClientConnectorDNSError:
            return Reply(error="its host name is not known")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(error=_told(error))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _told(error: Exception) -> str:
    """Why it failed, without addresses: a name server's inner view is nobody's business outside."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Forbidden):
            return "its address is not public"
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return "the connection broke off"
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return "its answer is no HTTP"
    return type(error).__name__
