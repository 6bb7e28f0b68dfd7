"""A receiver of webhooks, for development: checks every signature, tells each notification once, may hand it on.

What a receiver must do is here to be read: check the signature over the bytes as they came, before anything else;
answer 2xx only for what was taken; and act once for each `webhook-id`, since a webhook may come twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tallystick.clock import Clock
from tallystick.errors import InvalidProof, Unavailable
from tallystick.webhooks import signing
from tallystick.webhooks.signing import Verifier

BODY_BYTES_MAX = 1_048_576
REMEMBERED_MAX = 100_000
"""Ids that are known again."""
KEY_WAIT_S = 5.0
"""How long a webhook waits for the key, which its subscription's answer brings."""
FORWARD_S = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook whose signature holds."""

    id: str
    body: dict[str, Any]
    repeated: bool
    """It came before; its effect must not be had again."""
    forwarded: int | None
    """What the program that it was handed on to answered; 502: nothing; None: it was not handed on."""


class Receiver:
    """Listens on a port; lives on one event loop."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[Received], None],
        refused: Callable[[str], None],
        forward: str | None = None,
    ) -> None:
        """`tell` gets each webhook, `refused` why one was not taken. `forward`: hand them on there, bytes and all."""
        self._clock = clock
        self._tell = tell
        self._refused = refused
        self._forward = forward
        self._verifier: asyncio.Future[Verifier] = asyncio.get_running_loop().create_future()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def listen(self, host: str, port: int) -> int:
        """Take webhooks from now on; returns the port, found if `port` is 0. Raises `Unavailable`."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        if self._forward is not None:
            timeout = aiohttp.ClientTimeout(total=FORWARD_S)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise Unavailable(f"cannot listen on {host} port {port}: {error}; choose another port") from error
        return int(self._runner.addresses[0][1])

    def trust(self, key: str) -> None:
        """The key of the subscription: `whsec_…` or `whpk_…`. Raises `Invalid`."""
        self._verifier.set_result(signing.verifier(key))

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            async with asyncio.timeout(KEY_WAIT_S):
                verifier = await asyncio.shield(self._verifier)
        except TimeoutError:
            return web.Response(status=503, text="the key is not known yet")
        try:
            webhook_id = signing.verify([verifier], request.headers, body, self._clock.wall_ns() / 1e9)
            content = msgspec.json.decode(body, type=dict[str, Any])
        except (InvalidProof, msgspec.DecodeError) as error:
            self._refused(str(error))
            return web.Response(status=401, text="not taken")
        forwarded = await self._hand_on(request, body)
        if forwarded is None or 200 <= forwarded < 300:
            self._tell(Received(webhook_id, content, self._repeated(webhook_id), forwarded))
            return web.Response(status=forwarded or 204)
        # It was not taken there, so it will come again.
        self._tell(Received(webhook_id, content, webhook_id in self._seen, forwarded))
        return web.Response(status=forwarded)

    async def _hand_on(self, request: web.Request, body: bytes) -> int | None:
        if self._session is None or self._forward is None:
            return None
        headers = {name: request.headers[name] for name in (signing.ID, signing.TIMESTAMP, signing.SIGNATURE)}
        headers["content-type"] = "application/json"
        try:
            async with self._session.post(self._forward, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 502

    def _repeated(self, webhook_id: str) -> bool:
        known = webhook_id in self._seen
        self._seen[webhook_id] = None
        self._seen.move_to_end(webhook_id)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return known
