"""The two ends over real sockets, in one process: what is sent arrives, and what is lost is asked for again."""

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tallystick.answers import engineend, wire
from tallystick.answers.addresses import PATH_BYTES_MAX, Address, address
from tallystick.answers.engineend import EngineEnd
from tallystick.answers.frames import MESSAGE_BYTES_MAX, Frames, frame
from tallystick.answers.gatewayend import GatewayEnd
from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RESULT
from tallystick.errors import Invalid, Unavailable
from tallystick.records.blocks import pack_positions
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT
from tallystick.statuses import RequestStatus

LANE = b"a lane's 16 byte"


class Answering:
    """An engine end in a thread, which answers every message as `answer` says."""

    def __init__(self, where: Address, answer: Callable[[EngineEnd, wire.Inbound], None]) -> None:
        self.end = EngineEnd(where)
        self.heard: list[wire.Inbound] = []
        self._answer = answer
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            for message in self.end.receive(10_000):
                self.heard.append(message)
                self._answer(self.end, message)

    def close(self) -> None:
        self._stop = True
        self.end.wake()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.end.close()


@pytest.fixture
def where(tmp_path: Path) -> Address:
    return address(tmp_path)


@pytest.fixture
def end(where: Address) -> Iterator[EngineEnd]:
    end = EngineEnd(where)
    yield end
    end.close()


def raw(where: Address) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(str(where.path))
    return connected


def receive(end: EngineEnd, count: int) -> list[wire.Inbound]:
    got: list[wire.Inbound] = []
    while len(got) < count:
        got += end.receive(5_000)  # a connection is a reason to return too
    return got


def test_messages_arrive_in_order_and_undecodable_ones_are_counted(end: EngineEnd, where: Address) -> None:
    bells: list[wire.Inbound] = [wire.Doorbell(LANE, number) for number in range(1, 4)]
    messages = [wire.encode(bells[0]), b"rubbish", wire.encode(bells[1]), b"", wire.encode(bells[2])]
    with raw(where) as connected:
        connected.sendall(b"".join(map(frame, messages)))
        assert receive(end, 3) == bells
    assert end.undecodable == 2


def test_receive_returns_empty_when_nothing_comes(end: EngineEnd) -> None:
    assert end.receive(0) == []
    assert end.receive(1) == []


def test_wake_ends_a_waiting_receive(end: EngineEnd) -> None:
    timer = threading.Timer(0.05, end.wake)
    timer.start()
    assert end.receive(30_000) == []  # the test's own time-out is the proof that it returned
    timer.join()


def test_many_wakes_never_block_and_are_seen_once(end: EngineEnd) -> None:
    for _ in range(200_000):
        end.wake()
    assert end.receive(30_000) == []


def test_a_long_data_folder_gets_a_short_private_stand_in(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    where = address(deep)
    assert where == address(deep)
    assert where != address(tmp_path / ("e" * 100))
    assert len(os.fsencode(where.path)) <= PATH_BYTES_MAX
    assert where.path.parent.stat().st_mode & 0o777 == 0o700
    EngineEnd(where).close()
    shutil.rmtree(where.path.parent)


def test_processes_of_one_data_folder_have_sockets_of_their_own_however_deep_it_is(tmp_path: Path) -> None:
    for data in (tmp_path / "d", tmp_path / ("d" * 100)):
        paths = {address(data, name).path for name in ("engine", "projector", "notifier", "signer")}
        assert len(paths) == 4
        for folder in {path.parent for path in paths}:
            shutil.rmtree(folder)


def test_the_folder_of_the_sockets_is_closed_to_others_even_if_it_was_open(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    address(tmp_path)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="not a folder of this user"):
        address(tmp_path)


def test_a_doorbell_is_answered_by_a_push(where: Address) -> None:
    def push(end: EngineEnd, message: wire.Inbound) -> None:
        if isinstance(message, wire.Doorbell):
            end.publish(b"another lane's id", wire.BlockResults(message.number, b"not ours", 5))
            end.publish(message.lane, wire.BlockResults(message.number, b"rows", 6))

    async def scenario() -> None:
        pushed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gateway = GatewayEnd(where, os.urandom, lambda *push: pushed.done() or pushed.set_result(push))
        gateway.subscribe(LANE)
        while not pushed.done():  # the first ones may be lost: the sockets are still connecting
            gateway.ring(LANE, 7)
            await asyncio.wait([pushed], timeout=0.05)
        assert pushed.result() == (LANE, 7, b"rows")
        gateway.close()

    engine = Answering(where, push)
    try:
        asyncio.run(scenario())
    finally:
        engine.close()


def test_look_ups_come_back_as_the_port_promises(where: Address) -> None:
    rows = np.array([(11, 0xFFFFFFFF, 0), (12, 54, 1)], RESULT)
    account, extra = np.zeros(1, ACCOUNT_EVENT), np.zeros(1, FOUND_ACCOUNT_EXTRA)
    account["id_lo"], extra["credit_limit_lo"] = 5, 99
    transfer = np.zeros(2, TRANSFER_EVENT)
    transfer["id_hi"] = [3, 4]

    def reply(end: EngineEnd, message: wire.Inbound) -> None:
        status, payload = 0, b""
        match message:
            case wire.ResultsQuery(request_id=key, fingerprint=fingerprint):
                if fingerprint:
                    status = RequestStatus.IDEMPOTENCY_KEY_REUSED
                elif key[0] == 9:
                    status = RequestStatus.NOT_DECIDED
                else:
                    payload = rows.tobytes()
            case wire.AccountsQuery(ids=ids):
                payload = (account.tobytes() + extra.tobytes()) * (len(ids) // 16)
            case wire.TransfersQuery():
                payload = transfer.tobytes()
            case wire.PositionsQuery():
                payload = pack_positions({LANE: 2**63 + 1, bytes(16): 1})
            case _:
                raise AssertionError(message)
        end.publish(message.client, wire.Reply(message.query, status, payload, 7))

    async def scenario() -> None:
        gateway = GatewayEnd(where, os.urandom, lambda *_: None)
        known = await gateway.results(1, 8, b"")
        assert known.status is None
        assert known.results.tobytes() == rows.tobytes()
        assert (await gateway.results(1, 9, b"")).status == RequestStatus.NOT_DECIDED
        reused = await gateway.results(1, 8, bytes(32))
        assert (reused.status, len(reused.results)) == (RequestStatus.IDEMPOTENCY_KEY_REUSED, 0)
        found = await gateway.accounts(1, [5, 5])
        assert [(int(row["id_lo"]), int(more["credit_limit_lo"])) for row, more in found] == [(5, 99), (5, 99)]
        assert list((await gateway.transfers(1, [1]))["id_hi"]) == [3, 4]
        assert await gateway.positions() == {LANE: 2**63 + 1, bytes(16): 1}
        gateway.close()

    engine = Answering(where, reply)
    try:
        asyncio.run(scenario())
    finally:
        engine.close()
    keys = [message.request_id for message in engine.heard if isinstance(message, wire.ResultsQuery)]
    assert (8).to_bytes(16, "little") in keys


def test_a_question_is_asked_again_until_the_engine_is_back(where: Address) -> None:
    asked = 0

    def second_time(end: EngineEnd, message: wire.Inbound) -> None:
        nonlocal asked
        assert isinstance(message, wire.PositionsQuery)
        asked += 1
        if asked > 1:
            end.publish(message.client, wire.Reply(message.query, 0, b"", 7))

    async def scenario() -> Answering:
        gateway = GatewayEnd(where, os.urandom, lambda *_: None, timeout_s=20)
        question = asyncio.ensure_future(gateway.positions())
        await asyncio.sleep(0)  # asked once, while nobody listens
        engine = Answering(where, second_time)
        assert await question == {}
        gateway.close()
        return engine

    engine = asyncio.run(scenario())
    engine.close()
    assert len({message.query for message in engine.heard if isinstance(message, wire.PositionsQuery)}) == 1


def test_no_answer_in_time_is_unavailable(where: Address) -> None:
    async def scenario() -> None:
        gateway = GatewayEnd(where, os.urandom, lambda *_: None, timeout_s=0.02)
        with pytest.raises(Unavailable, match="does not answer"):
            await gateway.accounts(1, [1])
        gateway.ring(LANE, 1)  # nobody there: neither blocks nor raises
        closing = asyncio.ensure_future(gateway.transfers(1, [1]))
        await asyncio.sleep(0)
        gateway.close()
        with pytest.raises(Unavailable):
            await closing

    asyncio.run(scenario())


def test_several_threads_ring_and_after_the_close_nothing_happens(where: Address) -> None:
    engine = Answering(where, lambda end, message: None)

    async def scenario() -> None:
        gateway = GatewayEnd(where, os.urandom, lambda lane, number, rows: None)
        heard = engine.heard
        while not heard:  # what is rung before the connection stands is lost
            gateway.ring(LANE, 0)
            await asyncio.sleep(0.01)
        threads = [
            threading.Thread(target=lambda first=first: [gateway.ring(LANE, first + at) for at in range(300)])
            for first in (1_000, 2_000, 3_000)
        ]
        for thread in threads:
            thread.start()
        for number in range(4_000, 4_300):
            gateway.ring(LANE, number)
        for thread in threads:
            thread.join()
        numbers = {first + at for first in (1_000, 2_000, 3_000, 4_000) for at in range(300)}
        async with asyncio.timeout(20):
            while not numbers <= {message.number for message in heard if isinstance(message, wire.Doorbell)}:
                await asyncio.sleep(0.01)
        gateway.close()
        gateway.ring(LANE, 5_000)

    try:
        asyncio.run(scenario())
    finally:
        engine.close()
    assert all(message.number < 5_000 for message in engine.heard if isinstance(message, wire.Doorbell))


@pytest.mark.parametrize("size", [1, 3, 5, 4096])
def test_messages_are_found_in_pieces_of_any_size(size: int) -> None:
    messages = [b"", b"one", bytes(1000), b"four"]
    stream = b"".join(map(frame, messages))
    frames = Frames()
    assert [one for at in range(0, len(stream), size) for one in frames.feed(stream[at : at + size])] == messages


def test_a_length_beyond_any_message_is_refused_on_both_sides() -> None:
    with pytest.raises(Invalid):
        frame(bytes(MESSAGE_BYTES_MAX + 1))
    with pytest.raises(Invalid):
        Frames().feed(b"\xff\xff\xff\xff")


def test_who_sends_no_messages_is_cut_off_and_the_others_go_on(end: EngineEnd, where: Address) -> None:
    with raw(where) as stranger, raw(where) as gateway:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        gateway.sendall(frame(wire.encode(wire.Doorbell(LANE, 1))))
        assert receive(end, 1) == [wire.Doorbell(LANE, 1)]
        while not end.undecodable:
            end.receive(5_000)
        stranger.settimeout(10)
        assert stranger.recv(1) == b""
        gateway.sendall(frame(wire.encode(wire.Doorbell(LANE, 2))))
        assert receive(end, 1) == [wire.Doorbell(LANE, 2)]


def test_a_gateway_that_reads_late_gets_all_in_order_and_never_stops_the_engine(end: EngineEnd, where: Address) -> None:
    rows = bytes(100_000)
    with raw(where) as slow:
        slow.sendall(frame(wire.encode(wire.Subscription(LANE))) + frame(wire.encode(wire.Doorbell(LANE, 0))))
        receive(end, 1)
        for number in range(100):  # far more than a socket holds
            end.publish(LANE, wire.BlockResults(number, rows, number))
        frames, got = Frames(), []
        slow.settimeout(10)
        while len(got) < 100:
            end.receive(0)
            got += [wire.decode_outbound(one[wire.TOPIC_SIZE :]) for one in frames.feed(slow.recv(1 << 20))]
    assert got == [wire.BlockResults(number, rows, number) for number in range(100)]


def test_a_gateway_that_never_reads_is_dropped_in_the_end(
    end: EngineEnd, where: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineend, "UNREAD_BYTES_MAX", 1_000_000)
    with raw(where) as stopped:
        stopped.sendall(frame(wire.encode(wire.Subscription(LANE))) + frame(wire.encode(wire.Doorbell(LANE, 0))))
        receive(end, 1)
        for number in range(100):
            end.publish(LANE, wire.BlockResults(number, bytes(100_000), number))
        end.receive(1_000)
        stopped.settimeout(10)
        received = 0
        while piece := stopped.recv(1 << 20):
            received += len(piece)
        assert received < 2_000_000


def test_a_gateway_finds_the_engine_again_and_hears_its_lanes(where: Address) -> None:
    def push(end: EngineEnd, message: wire.Inbound) -> None:
        assert isinstance(message, wire.Doorbell)
        end.publish(message.lane, wire.BlockResults(message.number, b"", 1))

    async def scenario() -> None:
        heard: list[int] = []
        gateway = GatewayEnd(where, os.urandom, lambda lane, number, rows: heard.append(number))
        gateway.subscribe(LANE)
        for number in range(3):
            engine = Answering(where, push)
            try:
                while number not in heard:
                    gateway.ring(LANE, number)
                    await asyncio.sleep(0.01)
            finally:
                engine.close()
        gateway.close()

    asyncio.run(scenario())


def test_an_answer_of_megabytes_arrives_whole(where: Address) -> None:
    transfers = np.zeros(8_190, TRANSFER_EVENT)
    transfers["id_lo"] = np.arange(8_190)

    def reply(end: EngineEnd, message: wire.Inbound) -> None:
        assert isinstance(message, wire.TransfersQuery)
        end.publish(message.client, wire.Reply(message.query, 0, transfers.tobytes(), 7))

    async def scenario() -> None:
        gateway = GatewayEnd(where, os.urandom, lambda *_: None)
        found = await asyncio.gather(*(gateway.transfers(1, list(range(8_190))) for _ in range(3)))
        assert all(rows.tobytes() == transfers.tobytes() for rows in found)
        gateway.close()

    engine = Answering(where, reply)
    try:
        asyncio.run(scenario())
    finally:
        engine.close()
