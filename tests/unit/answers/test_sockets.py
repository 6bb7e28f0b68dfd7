"""The two ends over real sockets, in one process: what is sent arrives, and what is lost is asked for again."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from tallystick.answers import wire
from tallystick.answers.addresses import PATH_BYTES_MAX, Addresses, addresses
from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RESULT
from tallystick.answers.sockets import EngineEnd, GatewayEnd
from tallystick.errors import Unavailable
from tallystick.records.blocks import pack_positions
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT
from tallystick.statuses import RequestStatus

LANE = b"a lane's 16 byte"


class Answering:
    """An engine end in a thread, which answers every message as `answer` says."""

    def __init__(self, where: Addresses, answer: Callable[[EngineEnd, wire.Inbound], None]) -> None:
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
def where(tmp_path: Path) -> Addresses:
    return addresses(tmp_path)


@pytest.fixture
def end(where: Addresses) -> Iterator[EngineEnd]:
    end = EngineEnd(where)
    yield end
    end.close()


def raw_push(where: Addresses, *messages: bytes) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.connect(where.inbound)
    for message in messages:
        socket.send(message)
    socket.close(linger=2000)
    context.term()


def receive(end: EngineEnd, count: int) -> list[wire.Inbound]:
    got: list[wire.Inbound] = []
    while len(got) < count:
        more = end.receive(5_000)
        assert more, f"only {got} arrived"
        got += more
    return got


def test_messages_arrive_in_order_and_undecodable_ones_are_counted(end: EngineEnd, where: Addresses) -> None:
    bells: list[wire.Inbound] = [wire.Doorbell(LANE, number) for number in range(1, 4)]
    raw_push(where, wire.encode(bells[0]), b"rubbish", wire.encode(bells[1]), b"", wire.encode(bells[2]))
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
    where = addresses(deep)
    assert where == addresses(deep)
    assert where != addresses(tmp_path / ("e" * 100))
    path = Path(where.inbound.removeprefix("ipc://"))
    assert len(os.fsencode(path)) <= PATH_BYTES_MAX
    assert path.parent.stat().st_mode & 0o777 == 0o700
    EngineEnd(where).close()
    shutil.rmtree(path.parent)


def test_the_folder_of_the_sockets_is_closed_to_others_even_if_it_was_open(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    addresses(tmp_path)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="not a folder of this user"):
        addresses(tmp_path)


def test_a_doorbell_is_answered_by_a_push(where: Addresses) -> None:
    def push(end: EngineEnd, message: wire.Inbound) -> None:
        if isinstance(message, wire.Doorbell):
            end.publish(b"another lane's id", wire.BlockResults(message.number, b"not ours"))
            end.publish(message.lane, wire.BlockResults(message.number, b"rows"))

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


def test_look_ups_come_back_as_the_port_promises(where: Addresses) -> None:
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
        end.publish(message.client, wire.Reply(message.query, status, payload))

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


def test_a_question_is_asked_again_until_the_engine_is_back(where: Addresses) -> None:
    asked = 0

    def second_time(end: EngineEnd, message: wire.Inbound) -> None:
        nonlocal asked
        assert isinstance(message, wire.PositionsQuery)
        asked += 1
        if asked > 1:
            end.publish(message.client, wire.Reply(message.query, 0, b""))

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


def test_no_answer_in_time_is_unavailable(where: Addresses) -> None:
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


def test_several_threads_ring_and_after_the_close_nothing_happens(where: Addresses) -> None:
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
