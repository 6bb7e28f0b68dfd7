"""HTTP/1.1 on one event loop: bytes in, an exchange for the application, bytes out in the order they were asked for.

httptools (Node's llhttp) knows the syntax; here are the limits that hold against strangers: the size of heads and
bodies, the time a message may take, idle and stuck connections, how many there may be. A request that comes whole in
one read costs no timer and no table. Sources: RFC 9110, RFC 9112. Why not an ordinary server: ADR 0007.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from tallystick.clock import Clock
from tallystick.gateway import headers
from tallystick.gateway.answering import Answer
from tallystick.gateway.calls import Exchange
from tallystick.gateway.problems import Problem

HEAD_S_MAX = 30.0
BODY_S_MAX = 10.0
IDLE_S_MAX = 120.0
STUCK_S_MAX = 30.0
"""How long a client may leave its answer unread."""
CONNECTIONS_MAX = 16_384
SWEEP_S = 0.5
PIECE_BYTES = headers.HEAD_BYTES_MAX // 2
"""What the parser is given at a time, so that a head over its limit is noticed before it is taken."""
DISCARDED_BYTES = 8_388_608
"""What is read beyond the limit and thrown away: a client that is cut off while it sends never sees its answer."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Application(Protocol):
    """What answers. Neither raises what a request can cause: that is answered."""

    def begin(self, head: headers.Head) -> Exchange:
        """Look at a head: route, key, media type."""
        ...

    def answer(self, exchange: Exchange, body: bytes, say: Callable[[Answer], None]) -> None:
        """Have it answered: `say` is called once, now or later. `body` is empty if the exchange is refused already."""
        ...


class _CutOff(Exception):
    """Stops the parser: what follows on this connection is not looked at."""


class Connections:
    """All connections of one listening gateway, and what limits them. Lives on one event loop."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        body_bytes_max: int,
        body_s_max: float = BODY_S_MAX,
        head_s_max: float = HEAD_S_MAX,
        idle_s_max: float = IDLE_S_MAX,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.application = application
        self.body_bytes_max = body_bytes_max
        self.body_s_max = body_s_max
        self.head_s_max = head_s_max
        self.connections_max = connections_max
        self.loop = asyncio.get_running_loop()
        self.closing = False
        """Each answer is now the last on its connection."""
        self.busy = 0
        """Exchanges begun and not yet answered."""
        self.open: set[Connection] = set()
        self.receiving: dict[Connection, float] = {}
        """Those in the middle of a message, and when it must be there by the loop's clock."""
        self.date = ""
        self._clock = clock
        self._idle_s_max = idle_s_max
        self._tick()

    def connect(self) -> "Connection":
        """A protocol for a new connection, as `loop.create_server` wants it."""
        return Connection(self)

    def _tick(self) -> None:
        """Twice a second: the `Date` of answers (RFC 9110 §6.6.1), and whoever took too long."""
        self.date = f"date: {formatdate(self._clock.wall_ns() // 1_000_000_000, usegmt=True)}\r\n"
        now_s = self.loop.time()
        for connection, deadline_s in list(self.receiving.items()):
            if now_s >= deadline_s:
                connection.too_slow()
        for connection in list(self.open):
            connection.idle(now_s, self._idle_s_max)
        self._timer = self.loop.call_later(SWEEP_S, self._tick)

    def close(self) -> None:
        """Close what is idle now, everything else with its answer."""
        self.closing = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Close all, answered or not."""
        self._timer.cancel()
        for connection in list(self.open):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection: one exchange at a time, further ones wait their turn."""

    def __init__(self, connections: Connections) -> None:
        self._all = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Exchange, bytes, bool]] = deque()
        self._answering: Exchange | None = None
        self._keep = True  # the connection, after this answer
        self._last = False  # what has come so far is answered, then the connection is closed
        self._since_s = connections.loop.time()  # when it last became idle, or stuck
        self._stuck = False
        self._in_message = False
        self._head_bytes = 0
        self._head = headers.Head()
        self._exchange: Exchange | None = None
        self._body: list[bytes] = []
        self._size = 0

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._all.open) >= self._all.connections_max:
            self._transport.abort()
            return
        self._all.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        # An exchange that is being answered goes on: what it asked for may be recorded, and may be asked for again.
        self._transport = None
        self._waiting.clear()
        # Parser and connection hold each other, and the collector comes by too seldom for clients that come and go.
        del self._parser
        self._all.open.discard(self)
        self._all.receiving.pop(self, None)

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._feed(data)
            return
        for at in range(0, len(data), PIECE_BYTES):
            self._feed(data[at : at + PIECE_BYTES])

    def _feed(self, data: bytes) -> None:
        if self._last:
            return
        if self._exchange is None:
            self._head_bytes += len(data)  # with what follows the head in the same piece
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # answered in HTTP/1.1 and closed: what follows is in a language we do not speak
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _CutOff):
                raise
        except httptools.HttpParserError as error:
            self._refuse(Problem("malformed_request", f"this is no HTTP request: {error}"))
        if self._in_message:
            if self._exchange is None and self._head_bytes > headers.HEAD_BYTES_MAX and not self._last:
                self._refuse(headers.too_many())
            if self not in self._all.receiving:
                limit_s = self._all.head_s_max if self._exchange is None else self._all.body_s_max
                self._all.receiving[self] = self._all.loop.time() + limit_s
        elif self._all.receiving:
            self._all.receiving.pop(self, None)

    def eof_received(self) -> bool:
        """The client sends no more; it still gets what it has asked for."""
        self._last = True
        return self._answering is not None

    def pause_writing(self) -> None:
        self._stuck = True
        self._since_s = self._all.loop.time()
        self._listen(False)

    def resume_writing(self) -> None:
        self._stuck = False
        self._go_on()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._in_message = True
        self._head = headers.Head()
        self._exchange = None
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.add(name, value)

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        head = self._head
        head.method = self._parser.get_method()
        self._exchange = exchange = self._all.application.begin(head)
        if self._all.receiving and self in self._all.receiving:
            self._all.receiving[self] = self._all.loop.time() + self._all.body_s_max
        length = head.fields.get("content-length")
        if length is not None and int(length) > self._all.body_bytes_max:
            exchange.problem = exchange.problem or self._too_large()
            if int(length) > self._all.body_bytes_max + DISCARDED_BYTES:
                self._cut_off(exchange)
        elif "expect" in head.fields and exchange.problem is None and self._answering is None and self._transport:
            self._transport.write(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._size += len(piece)
        if self._size <= self._all.body_bytes_max:
            if exchange.problem is None:
                self._body.append(piece)
            return
        exchange.problem = exchange.problem or self._too_large()
        self._body.clear()
        if self._size > self._all.body_bytes_max + DISCARDED_BYTES:
            self._cut_off(exchange)

    def on_message_complete(self) -> None:
        exchange, body = self._exchange, self._body
        assert exchange is not None
        self._in_message = False
        self._exchange = None
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._take(exchange, whole, self._parser.should_keep_alive() and not self._parser.should_upgrade())

    # What becomes of it

    def _too_large(self) -> Problem:
        most = self._all.body_bytes_max
        return Problem("body_too_large", f"the body may have {most:,} bytes", limit_bytes=most)

    def _cut_off(self, exchange: Exchange) -> None:
        self._in_message = False
        self._take(exchange, b"", False)
        raise _CutOff

    def _refuse(self, problem: Problem) -> None:
        """Answer what is not a request, or not a whole one, and end here."""
        self._in_message = False
        exchange = self._exchange or self._all.application.begin(headers.Head())
        exchange.problem = problem
        self._take(exchange, b"", False)

    def too_slow(self) -> None:
        """The message should have been there by now."""
        self._all.receiving.pop(self, None)
        if self._last:
            return
        if self._exchange is None:
            self._refuse(Problem("headers_too_slow", f"the headers must arrive within {self._all.head_s_max:g} s"))
        else:
            self._refuse(Problem("body_too_slow", f"the body must arrive within {self._all.body_s_max:g} s"))

    def _take(self, exchange: Exchange, body: bytes, keep: bool) -> None:
        if not keep:
            self._last = True
        if self._answering is None and not self._stuck and not self._waiting:
            self._start(exchange, body, keep)
        else:
            self._waiting.append((exchange, body, keep))
            self._listen(False)

    def _start(self, exchange: Exchange, body: bytes, keep: bool) -> None:
        self._all.busy += 1
        self._answering = exchange
        self._keep = keep
        self._all.application.answer(exchange, body, self._say)

    def _say(self, answer: Answer) -> None:
        exchange, keep = self._answering, self._keep
        assert exchange is not None
        self._all.busy -= 1
        self._answering = None
        transport = self._transport
        if transport is None:
            return  # the client is gone; what it asked for is recorded, and it may ask again
        status, content_type, more, body = answer
        fields = self._all.date
        for name, value in more:
            fields += f"{name}: {value}\r\n"
        if not keep or ((self._all.closing or self._last) and not self._waiting):
            keep = False
            fields += "connection: close\r\n"
        head = (
            f"{_STATUS_LINES[status]}{fields}content-type: {content_type}\r\nx-request-id: {exchange.id}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode("latin-1") + (b"" if exchange.bodiless else body))
        self._since_s = self._all.loop.time()
        if not keep:
            self._last = True
            self._waiting.clear()
            transport.close()
        elif self._waiting:
            self._all.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        while self._waiting and self._answering is None and not self._stuck:
            self._start(*self._waiting.popleft())
        if not self._waiting and not self._stuck:
            self._listen(True)

    def _listen(self, on: bool) -> None:
        """Whether to read on. A client that asks faster than it is answered waits in its own buffers."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.is_reading() != on:
            (transport.resume_reading if on else transport.pause_reading)()

    # Ends

    def idle(self, now_s: float, most_s: float) -> None:
        """Close it if nothing has been asked for so long, or an answer not been read."""
        if self._stuck:
            if now_s - self._since_s > STUCK_S_MAX:
                self.abort()
        elif now_s - self._since_s > most_s:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close it unless something is asked, or half asked."""
        if self._answering is None and not self._waiting and not self._in_message and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it whatever it waits for."""
        if self._transport is not None:
            self._transport.abort()
