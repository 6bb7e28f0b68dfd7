"""The two ends over a real socket: an answer comes in bounded time, or the asker hears why there is none."""

import asyncio
import socket
import threading

import pytest

from tallystick.answers.addresses import address
from tallystick.answers.frames import frame
from tallystick.clock import SystemClock
from tallystick.errors import Corrupt, Invalid, Unavailable
from tallystick.inquiries import gatewayend, serverend, wire
from tallystick.inquiries.gatewayend import InquiryEnd
from tallystick.inquiries.port import NotFound
from tallystick.inquiries.serverend import ServerEnd

CLOCK = SystemClock()
WAIT_S = 20.0


class Answers:
    """A handler; `gate` keeps it from answering, `error` is raised instead."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.heard = []
        self.error = None
        self.closed = 0

    def __call__(self, operation, tenant, body, left_s):
        self.heard.append((operation, tenant, body, left_s))
        self.begun.set()
        assert self.gate.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        if operation == "double":
            return 2 * body
        return operation.encode() + b" of %d: " % tenant + body

    def close(self):
        self.closed += 1


@pytest.fixture
def where(tmp_path):
    return address(tmp_path, "projector")


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def server(where, answers, failures):
    server = ServerEnd("projector", where, lambda: answers, CLOCK, failures.append)
    yield server
    answers.gate.set()
    server.close()
    assert answers.closed == serverend.WORKERS


def asked(where, asking, timeout_s=WAIT_S):
    """What `asking(end)` gives, on a loop of its own."""

    async def run():
        end = InquiryEnd("projector", where, CLOCK, timeout_s)
        try:
            async with asyncio.timeout(2 * WAIT_S):
                return await asking(end)
        finally:
            end.close()

    return asyncio.run(run())


async def until(true):
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.001)


def test_a_question_is_answered_with_its_tenant_and_the_time_that_is_left(where, server, answers):
    assert asked(where, lambda end: end.ask("statement", 7, b"please")) == b"statement of 7: please"
    [(operation, tenant, body, left_s)] = answers.heard
    assert (operation, tenant, body) == ("statement", 7, b"please")
    assert 0 < left_s <= WAIT_S


def test_many_questions_at_once_each_get_their_own_answer(where, server):
    async def asking(end):
        return await asyncio.gather(*(end.ask("search", number % 10, b"%d" % number) for number in range(200)))

    assert asked(where, asking) == [b"search of %d: %d" % (number % 10, number) for number in range(200)]


@pytest.mark.parametrize(
    "error", [Invalid("limit", "must be 1 to 1,000"), NotFound("no account 7"), Unavailable("the disk is busy")]
)
def test_what_the_handler_raises_the_asker_hears(where, server, answers, error):
    answers.error = error
    with pytest.raises(type(error)) as raised:
        asked(where, lambda end: end.ask("search", 1, b""))
    assert str(raised.value) == str(error)


def test_an_answer_that_is_too_large_names_the_limit(where, server):
    with pytest.raises(Invalid, match="limit"):
        asked(where, lambda end: end.ask("double", 1, bytes(2_097_152)))


def test_a_follower_that_is_not_there_is_unavailable_at_once(where):
    with pytest.raises(Unavailable, match="does not run"):
        asked(where, lambda end: end.ask("search", 1, b""))


def test_one_that_listens_but_does_not_read_is_unavailable_after_a_bounded_wait(where):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stopped:
        stopped.bind(str(where.path))
        stopped.listen(1)
        started = CLOCK.monotonic_ns()
        with pytest.raises(Unavailable, match="does not answer"):
            asked(where, lambda end: end.ask("search", 1, b""), timeout_s=0.2)
        assert CLOCK.monotonic_ns() - started < 5e9


def test_what_waits_for_one_that_does_not_read_is_bounded(where, monkeypatch):
    monkeypatch.setattr(gatewayend, "ASKED_MAX", 1_000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stopped:
        stopped.bind(str(where.path))
        stopped.listen(1)

        async def asking(end):
            calls = [end.ask("search", 1, bytes(1_000_000)) for _ in range(20)]
            return await asyncio.gather(*calls, return_exceptions=True)

        told = [str(error) for error in asked(where, asking, timeout_s=0.5)]
        assert sum("does not take questions" in each for each in told) >= 10
        assert all("does not" in each for each in told)


def test_one_tenant_cannot_have_too_many_questions_open(where, server, answers):
    answers.gate.clear()

    async def asking(end):
        calls = [asyncio.ensure_future(end.ask("search", 1, b"")) for _ in range(gatewayend.ASKED_MAX)]
        await until(answers.begun.is_set)
        with pytest.raises(Unavailable, match="ask fewer"):
            await end.ask("search", 1, b"")
        other = asyncio.ensure_future(end.ask("search", 2, b"mine"))
        await asyncio.sleep(0)
        answers.gate.set()
        await asyncio.gather(*calls)
        await end.ask("search", 1, b"")
        return await other

    assert asked(where, asking) == b"search of 2: mine"


def test_a_queue_that_is_full_says_so(where, server, answers, monkeypatch):
    monkeypatch.setattr(gatewayend, "ASKED_MAX", 10_000)
    answers.gate.clear()
    asked_count = serverend.WAITING_MAX + serverend.WORKERS + 20

    async def asking(end):
        calls = [asyncio.ensure_future(end.ask("search", 1, b"")) for _ in range(asked_count)]
        # Until the gate opens, only who is refused hears anything.
        await until(lambda: sum(call.done() for call in calls) >= 20)
        answers.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    told = asked(where, asking)
    refused = [each for each in told if isinstance(each, Exception)]
    assert 20 <= len(refused) <= 20 + serverend.WORKERS
    assert all("too much to do" in str(each) for each in refused)


def test_a_question_that_nobody_waits_for_any_more_is_not_worked_on(where, answers, failures):
    answers.gate.clear()
    server = ServerEnd("projector", where, lambda: answers, CLOCK, failures.append, workers=1)

    async def asking(end):
        first = asyncio.ensure_future(end.ask("first", 1, b""))
        await until(answers.begun.is_set)
        late = asyncio.ensure_future(end.ask("late", 1, b""))
        for each in (first, late):
            with pytest.raises(Unavailable):
                await each
        answers.gate.set()
        # While whoever asked is still there: a question of one who is gone is dropped for that.
        patient = InquiryEnd("projector", where, CLOCK, WAIT_S)
        try:
            return await patient.ask("next", 1, b"")
        finally:
            patient.close()

    assert asked(where, asking, timeout_s=0.2) == b"next of 1: "
    assert [operation for operation, *_ in answers.heard] == ["first", "next"]
    server.close()


def test_a_follower_that_ends_fails_the_open_questions_and_its_successor_answers_the_next(where, answers, failures):
    answers.gate.clear()

    async def asking(end):
        server = ServerEnd("projector", where, lambda: answers, CLOCK, failures.append)
        call = asyncio.ensure_future(end.ask("search", 1, b""))
        await until(answers.begun.is_set)
        server._gateways[next(iter(server._gateways))].socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(Unavailable):
            await call
        answers.gate.set()
        await asyncio.to_thread(server.close)
        server = ServerEnd("projector", where, lambda: answers, CLOCK, failures.append)
        try:
            return await end.ask("search", 1, b"again")
        finally:
            await asyncio.to_thread(server.close)

    assert asked(where, asking) == b"search of 1: again"


def test_an_error_that_is_no_answer_ends_the_follower(where, answers, failures):
    answers.error = Corrupt("a row that cannot be")
    server = ServerEnd("projector", where, lambda: answers, CLOCK, failures.append)
    with pytest.raises(Unavailable):
        asked(where, lambda end: end.ask("search", 1, b""), timeout_s=0.2)
    server.close()
    assert failures == [answers.error]


def test_a_large_answer_arrives_though_it_does_not_fit_the_socket(where, server):
    body = bytes(range(256)) * 8_000
    assert asked(where, lambda end: end.ask("search", 1, body)) == b"search of 1: " + body


def test_what_cannot_be_decoded_is_dropped_and_a_stream_of_nonsense_is_closed(where, server):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(where.path))
        stranger.sendall(frame(b"\xff\xff") + frame(wire.encode(wire.Inquiry(1, "a", 1, 2**62, b""))))
        assert stranger.recv(100)
        stranger.sendall(b"\xff" * 8)
        assert stranger.recv(100) == b""
    assert server.undecodable == 2
    assert asked(where, lambda end: end.ask("search", 1, b"")) == b"search of 1: "


def test_a_socket_that_cannot_be_bound_is_unavailable(where, answers):
    where.path.mkdir()
    with pytest.raises(Unavailable, match="cannot bind the projector's socket"):
        ServerEnd("projector", where, lambda: answers, CLOCK, lambda error: None)
