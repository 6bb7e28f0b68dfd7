"""The HTTP server under the application, over real sockets: order, framing, and limits that hold against strangers."""

import asyncio
import gc
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from tallystick.clock import SystemClock
from tallystick.gateway import connections as tested
from tallystick.gateway.answering import Answer
from tallystick.gateway.calls import Exchange
from tallystick.gateway.connections import Connections
from tallystick.gateway.headers import Head

BODY_MAX = 1_000


class Echo:
    """Answers with what was asked; a target of /later waits until `let_go`."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, bytes]] = []
        self.later: list[Callable[[], None]] = []
        self._heads: dict[str, Head] = {}
        self._numbers = itertools.count(1)

    def begin(self, head: Head) -> Exchange:
        exchange = Exchange(f"x{next(self._numbers)}", head.fields)
        exchange.bodiless = head.method == b"HEAD"
        self._heads[exchange.id] = head
        return exchange

    def answer(self, exchange: Exchange, body: bytes, say: Callable[[Answer], None]) -> None:
        head = self._heads.pop(exchange.id)
        self.asked.append((head.method, head.target, body))
        if exchange.problem is not None:
            answer = (exchange.problem.type.http, "text/plain", (), exchange.problem.type.name.encode())
        else:
            size = int(head.target.partition(b"?")[2] or 0)
            answer = (200, "text/plain", (("x-more", "yes"),), head.target + b"|" + body + bytes(size))
        if head.target.startswith(b"/later"):
            self.later.append(lambda: say(answer))
        else:
            say(answer)

    def let_go(self) -> None:
        for go in self.later:
            go()
        self.later.clear()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = b"" if bodiless else await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split(" ")[1]), fields, body

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.answer()

    async def closed(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


Scenario = Callable[[Echo, Connections, Callable[[], Awaitable[Client]]], Awaitable[None]]


def serve(scenario: Scenario, **limits: Any) -> Echo:
    async def go() -> Echo:
        echo = Echo()
        everything = Connections(echo, SystemClock(), BODY_MAX, **limits)
        server = await asyncio.get_running_loop().create_server(everything.connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def connect() -> Client:
            return Client(*await asyncio.open_connection("127.0.0.1", port))

        try:
            async with asyncio.timeout(20):
                await scenario(echo, everything, connect)
        finally:
            server.close()
            everything.abort()
        return echo

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(go())


def get(path: str = "/", more: str = "", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{more}\r\n".encode()


def post(body: bytes, path: str = "/", more: str = "") -> bytes:
    return get(path, f"Content-Length: {len(body)}\r\n{more}", "POST") + body


def test_one_connection_serves_one_request_after_the_other() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        for number in range(3):
            status, fields, body = await client.ask(post(b"body%d" % number, f"/{number}"))
            assert (status, body) == (200, b"/%d|body%d" % (number, number))
            assert fields["x-request-id"] == f"x{number + 1}"
            assert fields["x-more"] == "yes"
            assert fields["date"].endswith(" GMT")
            assert "connection" not in fields

    serve(scenario)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        paths = ["/later/0", "/1", "/later/2", *(f"/{number}" for number in range(3, 3_000))]
        client.writer.write(b"".join(get(path) for path in paths))
        while not echo.later:
            await asyncio.sleep(0.001)
        assert [target for _, target, _ in echo.asked] == [b"/later/0"]
        echo.let_go()
        for path in paths:
            if path == "/later/2":
                while not echo.later:
                    await asyncio.sleep(0.001)
                echo.let_go()
            assert (await client.answer())[2] == path.encode() + b"|"
        assert everything.busy == 0

    serve(scenario)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_request_may_come_in_pieces_of_any_size(size: int) -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        whole = post(b"0123456789") + get(
            "/chunks", "Transfer-Encoding: chunked\r\n", "POST"
        ) + b"4\r\nfour\r\n3\r\nten\r\n0\r\n\r\n"  # fmt: skip
        for at in range(0, len(whole), size):
            client.writer.write(whole[at : at + size])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[2] == b"/|0123456789"
        assert (await client.answer())[2] == b"/chunks|fourten"
        assert not everything.receiving

    serve(scenario)


@pytest.mark.parametrize(
    "request_",
    [get(more="Connection: close\r\n"), get(version="1.0"), get(more="Connection: Upgrade\r\nUpgrade: h2c\r\n")],
)
def test_a_connection_is_closed_after_the_answer_where_no_more_can_come(request_: bytes) -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        status, fields, _ = await client.ask(request_)
        assert (status, fields["connection"]) == (200, "close")
        assert await client.closed()

    serve(scenario)


def test_a_client_that_has_closed_its_sending_side_still_gets_its_answers() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        client.writer.write(get("/later") + get("/2"))
        client.writer.write_eof()
        while not echo.later:
            await asyncio.sleep(0.001)
        echo.let_go()
        assert (await client.answer())[2] == b"/later|"
        assert (await client.answer())[2] == b"/2|"
        assert await client.closed()

    serve(scenario)


def test_head_is_answered_without_a_body() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        client.writer.write(get(method="HEAD"))
        _, fields, _ = await client.answer(bodiless=True)
        assert fields["content-length"] == "2"
        assert (await client.ask(get("/next")))[2] == b"/next|"

    serve(scenario)


def test_who_asks_before_sending_a_body_is_told_to_go_on() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        client.writer.write(get("/", "Expect: 100-continue\r\nContent-Length: 4\r\n", "POST"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(b"body"))[2] == b"/|body"

    serve(scenario)


@pytest.mark.parametrize(
    "junk",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS
        get(more="Content-Length: -1\r\n", method="POST"),
        get(more="Content-Length: 1\r\nContent-Length: 2\r\n", method="POST"),
        get(more="Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", method="POST"),
        get(more="Transfer-Encoding: chunked\r\n", method="POST") + b"zz\r\n",
        get(more="No colon\r\n"),
    ],
)
def test_what_is_no_request_is_a_problem_and_the_end_of_its_connection(junk: bytes) -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        status, fields, body = await client.ask(junk + get("/after"))
        assert (status, body, fields["connection"]) == (400, b"malformed_request", "close")
        assert await client.closed()

    assert all(target != b"/after" for _, target, _ in serve(scenario).asked)


def test_a_body_over_the_limit_is_read_and_thrown_away_so_that_the_answer_is_seen() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        assert (await client.ask(post(b"x" * BODY_MAX)))[0] == 200
        for body in (b"x" * (BODY_MAX + 1), b"x" * 1_000_000):
            assert (await client.ask(post(body)))[2] == b"body_too_large"
        piece = b"%x\r\n" % BODY_MAX + b"x" * BODY_MAX + b"\r\n"
        client.writer.write(get("/", "Transfer-Encoding: chunked\r\n", "POST") + piece * 2 + b"0\r\n\r\n")
        assert (await client.answer())[2] == b"body_too_large"
        assert (await client.ask(get("/next")))[0] == 200

    assert [len(body) for _, _, body in serve(scenario).asked] == [BODY_MAX, 0, 0, 0, 0]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_far_over_the_limit_ends_the_connection(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "DISCARDED_BYTES", 10_000)

    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        if chunked:
            client.writer.write(get("/", "Transfer-Encoding: chunked\r\n", "POST"))
            client.writer.write((b"400\r\n" + bytes(1024) + b"\r\n") * 12)
        else:
            client.writer.write(get("/", f"Content-Length: {BODY_MAX + 10_001}\r\n", "POST"))
        status, fields, body = await client.answer()
        assert (status, body, fields["connection"]) == (413, b"body_too_large", "close")
        assert await client.closed()

    serve(scenario)


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_over_its_limit_is_refused(whole: bool) -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        head = get(more="X-Large: " + "x" * 120_000 + "\r\n")
        status, _, body = await client.ask(head if whole else head[:-10])
        assert (status, body) == (431, b"headers_too_large")
        assert await client.closed()

    serve(scenario)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"GET / HT", b"headers_too_slow"),
        (get(more="Content-Length: 10\r\n", method="POST") + b"12345", b"body_too_slow"),
    ],
)
def test_what_does_not_arrive_in_time_is_given_up(sent: bytes, problem: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "SWEEP_S", 0.01)

    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        quick, slow = await connect(), await connect()
        slow.writer.write(sent)
        status, fields, body = await slow.answer()
        assert (status, body, fields["connection"]) == (408, problem, "close")
        assert await slow.closed()
        assert (await quick.ask(get()))[0] == 200  # idle for as long, and no worse for it

    serve(scenario, head_s_max=0.05, body_s_max=0.05)


def test_a_connection_that_asks_nothing_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "SWEEP_S", 0.01)

    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        waiting, idle = await connect(), await connect()
        waiting.writer.write(get("/later"))
        await idle.ask(get())
        assert await idle.closed()
        echo.let_go()
        assert (await waiting.answer())[0] == 200

    serve(scenario, idle_s_max=0.05)


def test_a_client_that_does_not_read_its_answers_is_not_read_from_and_cut_off_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tested, "SWEEP_S", 0.01)
    monkeypatch.setattr(tested, "STUCK_S_MAX", 0.1)

    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        client.writer.write(get("/?20000000") + get("/2") + get("/3"))
        while everything.open or not echo.asked:
            await asyncio.sleep(0.01)

    assert [target for _, target, _ in serve(scenario).asked] == [b"/?20000000"]


def test_there_are_only_so_many_connections() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        clients = [await connect() for _ in range(2)]
        for client in clients:
            assert (await client.ask(get()))[0] == 200
        refused = await connect()
        assert await refused.closed()
        assert (await clients[0].ask(get()))[0] == 200

    serve(scenario, connections_max=2)


def test_closing_lets_those_who_wait_have_their_answer() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        idle, waiting = await connect(), await connect()
        await idle.ask(get())
        waiting.writer.write(get("/later"))
        while not echo.later:
            await asyncio.sleep(0.001)
        everything.close()
        assert await idle.closed()
        assert everything.busy == 1
        echo.let_go()
        status, fields, _ = await waiting.answer()
        assert (status, fields["connection"]) == (200, "close")
        assert await waiting.closed()

    serve(scenario)


def test_a_client_that_leaves_takes_nothing_with_it() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        client = await connect()
        client.writer.write(get("/later"))
        while not echo.later:
            await asyncio.sleep(0.001)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()  # with a reset: after a mere close the answer would still be sent
        while everything.open:
            await asyncio.sleep(0.001)
        assert everything.busy == 1
        echo.let_go()
        assert everything.busy == 0

    assert [target for _, target, _ in serve(scenario).asked] == [b"/later"]


def test_of_a_connection_that_is_gone_nothing_is_left_for_the_collector() -> None:
    async def scenario(echo: Echo, everything: Connections, connect: Any) -> None:
        gc.collect()
        gc.disable()
        for _ in range(20):
            client = await connect()
            assert (await client.ask(get()))[0] == 200
            client.writer.close()
            while everything.open:
                await asyncio.sleep(0)
        assert not [found for found in gc.get_objects() if type(found) is tested.Connection]

    try:
        serve(scenario)
    finally:
        gc.enable()
