"""Group commit, waits and lost pushes, on a lane in memory and an engine that the test plays."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tallystick.answers.port import RESULT, RequestResults
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.gateway import lanes, undecided
from tallystick.gateway.answering import TRANSFER, Outstanding
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.problems import Problem
from tallystick.gateway.requests import Requests
from tallystick.gateway.undecided import Request
from tallystick.records.commands import COMMAND_SIZE
from tallystick.settings import Settings
from tallystick.statuses import RequestStatus


class Clock:
    """Goes on by `step_ns` whenever it is looked at, so that a disk is as slow as the test wants it."""

    def __init__(self, step_ns: int) -> None:
        self.step_ns = step_ns
        self._now_ns = 0

    def wall_ns(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        self._now_ns += self.step_ns
        return self._now_ns


SLOW_NS, QUICK_NS = 10_000_000, 100_000


class PlayedLane:
    """Keeps blocks; `trouble` decides what a submit raises; `gate` holds submits up."""

    prompt = True

    def __init__(self, id: bytes, control: bool, blocks: list[bytes], trouble: Callable[[], Exception | None]) -> None:
        self.id = id
        self.control = control
        self.blocks = blocks
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False
        self.threads: list[threading.Thread] = []
        self._trouble = trouble

    def submit(self, commands: Any) -> int:
        assert not self.closed
        self.threads.append(threading.current_thread())
        assert self.gate.wait(20)
        trouble = self._trouble()
        if trouble is not None:
            raise trouble
        self.blocks.append(bytes(commands))
        return len(self.blocks)

    def close(self) -> None:
        self.closed = True


class Engine:
    """The link to an engine that answers what the test tells it to."""

    def __init__(self) -> None:
        self.subscribed: list[bytes] = []
        self.rung: list[tuple[bytes, int]] = []
        self.rang = threading.Event()
        self.at: dict[bytes, int] = {}
        self.known: dict[int, RequestResults] = {}
        self.asked: list[int] = []
        self.positions_asked = 0
        self.position = 0
        self.away = False

    def subscribe(self, topic: bytes) -> None:
        self.subscribed.append(topic)

    def ring(self, lane: bytes, number: int) -> None:
        self.rung.append((lane, number))
        self.rang.set()

    async def positions(self) -> dict[bytes, int]:
        self.positions_asked += 1
        if self.away:
            raise Unavailable("away")
        return self.at

    async def results(self, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
        self.asked.append(request_id)
        return self.known[request_id]

    async def accounts(self, tenant: int, ids: list[int]) -> list[Any]:
        raise NotImplementedError

    async def transfers(self, tenant: int, ids: list[int]) -> Any:
        raise NotImplementedError


class World:
    """Requests of one gateway over played lanes."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.engine = Engine()
        self.clock = Clock(SLOW_NS)
        self.lanes: list[PlayedLane] = []
        self.troubles: list[Exception] = []
        self.open_troubles: list[Exception] = []
        self.fatal: list[BaseException] = []
        self.metrics = Metrics()
        self.free = 1.0
        self.stale_blocks = 0
        self.requests = Requests(
            Settings(data=data, **settings),
            self.open_lane,
            self.engine,
            self.metrics,
            self.clock,
            self.fatal.append,
            lambda folder: self.free,
        )
        self.sent = 0

    def open_lane(self, control: bool) -> PlayedLane:
        if self.open_troubles:
            raise self.open_troubles.pop(0)
        blocks = [b"before"] * self.stale_blocks
        id = bytes([len(self.lanes) + 1]) * 16
        lane = PlayedLane(id, control, blocks, lambda: self.troubles.pop(0) if self.troubles else None)
        self.lanes.append(lane)
        return lane

    @property
    def lane(self) -> PlayedLane:
        return self.lanes[0]

    def submit(self, count: int = 1, wait_s: float = 20.0, tenant: int = 7, control: bool = False) -> Any:
        self.sent += 1
        sort = self.requests.control if control else self.requests.payments
        commands = self.sent.to_bytes(COMMAND_SIZE, "little") * count
        return self.requests.submit(sort, tenant, self.sent, bytes(32), commands, count, wait_s)

    async def durable(self, blocks: int = 1) -> None:
        while len(self.engine.rung) < blocks:
            await asyncio.sleep(0.001)

    def push(self, number: int, *timestamps: int, lane: PlayedLane | None = None) -> None:
        self.requests.on_results((lane or self.lane).id, number, rows(*timestamps))


def rows(*timestamps: int) -> bytes:
    return np.array([(at, 0xFFFFFFFF, 0) for at in timestamps], RESULT).tobytes()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    def go(scenario: Callable[[World], Coroutine[Any, Any, None]], before: Any = None, **settings: Any) -> None:
        async def whole() -> None:
            world = World(tmp_path, **settings)
            if before:
                before(world)
            await world.requests.start()
            try:
                await scenario(world)
            finally:
                await world.requests.close()
            assert not world.fatal

        asyncio.run(whole())

    return go


async def ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_requests_that_come_while_a_block_is_synced_share_the_next_one(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.lane.gate.clear()
        first = world.submit()
        await ticks()
        others = [world.submit(count=2) for _ in range(5)]
        world.lane.gate.set()
        await world.durable(2)
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [1, 10]
        world.push(1, 1)
        world.push(2, *range(10, 20))
        assert await first == rows(1)
        assert [await other for other in others] == [rows(at, at + 1) for at in range(10, 20, 2)]
        assert world.engine.rung == [(world.lane.id, 1), (world.lane.id, 2)]

    run(scenario)


def test_requests_of_one_turn_of_the_loop_share_a_block(run: Any) -> None:
    async def scenario(world: World) -> None:
        for _ in range(20):
            world.submit()
        await world.durable()
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [20]

    run(scenario)


class Heard(Request):
    """One that can be looked for after everybody else has forgotten it."""

    def hear(self, rows: bytes, error: Exception | None) -> None:
        pass


def test_what_is_decided_is_kept_by_nobody(run: Any) -> None:
    """Each request holds its connection, each block up to 8,190 requests."""

    async def scenario(world: World) -> None:
        request = Heard(7, 1, bytes(32), bytes(COMMAND_SIZE), 1)
        left = weakref.ref(request)
        world.requests.take_on(world.requests.payments, request, 20.0)
        del request
        await world.durable()
        world.push(1, 1)
        async with asyncio.timeout(5):
            while left() is not None:
                await asyncio.sleep(0.001)

    run(scenario)


def test_a_block_holds_at_most_8190_commands_and_no_request_is_split(run: Any) -> None:
    async def scenario(world: World) -> None:
        for count in (8000, 190, 1, 8190, 5):
            world.submit(count=count)
        await world.durable(4)
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [8190, 1, 8190, 5]

    run(scenario)


def test_under_load_a_block_grows_until_the_one_before_is_decided(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "HELD_BACK_S_MAX", 20.0)

    async def scenario(world: World) -> None:
        for _ in range(20):
            world.submit()
        await world.durable()
        for _ in range(3):
            world.submit()
            await ticks()
        assert len(world.lane.blocks) == 1
        world.push(1, *range(20))
        await world.durable(2)
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [20, 3]

    run(scenario)


@pytest.mark.parametrize("undecided", [10, 300])
def test_a_held_back_block_goes_when_it_is_as_large_as_what_is_undecided(
    run: Any, monkeypatch: pytest.MonkeyPatch, undecided: int
) -> None:
    monkeypatch.setattr(lanes, "HELD_BACK_S_MAX", 20.0)

    async def scenario(world: World) -> None:
        world.submit(count=undecided)
        await world.durable()
        world.submit()
        await ticks()
        assert len(world.lane.blocks) == 1
        world.submit(count=undecided - 1)
        await world.durable(2)
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [undecided, undecided]

    run(scenario)


def test_callers_who_come_again_share_a_block_with_those_who_wait(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "HELD_BACK_S_MAX", 20.0)

    async def scenario(world: World) -> None:
        answered = world.submit(count=20)
        await world.durable()
        for _ in range(30):  # more than are with the engine: they wait for it nevertheless
            world.submit()
            await ticks()
        assert len(world.lane.blocks) == 1
        world.push(1, *range(20))
        await answered
        await asyncio.sleep(0)  # a client comes again a turn of the loop after its answer
        world.submit(count=20)
        await world.durable(2)
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [20, 50]

    run(scenario)


def test_a_block_waits_for_a_turn_of_the_loop_that_brings_no_more(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "HELD_BACK_S_MAX", 20.0)

    async def scenario(world: World) -> None:
        for _ in range(20):
            world.submit()
            await asyncio.sleep(0)
        await world.durable()
        assert [len(block) // COMMAND_SIZE for block in world.lane.blocks] == [20]

    run(scenario)


def test_no_block_is_held_back_for_long_nor_when_little_is_undecided(run: Any) -> None:
    async def scenario(world: World) -> None:
        for _ in range(20):
            world.submit()
        await world.durable()
        world.submit()
        await world.durable(2)  # nothing is decided: only the 3 ms can have let it go
        world.push(2, *range(1))
        world.submit()
        await world.durable(3)
        for count in (15, 1):
            world.submit(count=count)
            await world.durable(4 if count == 15 else 5)

    run(scenario)


def test_a_control_block_holds_at_most_1000_commands(run: Any) -> None:
    async def scenario(world: World) -> None:
        for _ in range(1001):
            world.submit(control=True)
        await world.durable(2)
        assert [len(block) // COMMAND_SIZE for block in world.lanes[1].blocks] == [1000, 1]
        assert world.lanes[1].control
        assert not world.lane.blocks

    run(scenario)


def test_nothing_is_told_before_the_block_is_durable(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.lane.gate.clear()
        future = world.submit(wait_s=0.0)
        await ticks()
        for sweeps in range(3):
            world.requests.payments.writer.sweep(asyncio.get_running_loop().time() + sweeps)
        assert not future.done()
        world.lane.gate.set()
        assert await future == undecided.NOT_KNOWN

    run(scenario)


def test_a_push_faster_than_the_news_of_durability_is_kept(run: Any) -> None:
    async def scenario(world: World) -> None:
        await world_with_one_block(world)
        future = world.submit()
        world.push(2, 5)
        await world.durable(2)
        assert await future == rows(5)

    async def world_with_one_block(world: World) -> None:
        world.submit()
        await world.durable()
        world.push(1, 1)

    run(scenario)


def test_results_find_their_block_before_the_loop_was_told_that_it_is_durable(run: Any) -> None:
    async def scenario(world: World) -> None:
        future = world.submit(wait_s=0.05)  # so short a wait wakes the loop, which is kept busy here
        await ticks()
        assert world.engine.rang.wait(20)
        world.push(1, 5)
        assert await future == rows(5)
        assert world.metrics.commands_acknowledged == {"payments": 1}
        assert world.requests.payments.writer.idle

    run(scenario)


def test_without_results_the_sweep_hears_that_a_block_is_durable(run: Any) -> None:
    async def scenario(world: World) -> None:
        future = world.submit()
        await ticks()
        assert world.engine.rang.wait(20)
        writer = world.requests.payments.writer
        assert not writer.idle
        writer.sweep(asyncio.get_running_loop().time())
        assert writer.idle
        world.push(1, 1)
        assert await future == rows(1)

    run(scenario)


def test_a_wait_that_ends_tells_that_the_outcome_is_not_known(run: Any) -> None:
    async def scenario(world: World) -> None:
        short, long = world.submit(wait_s=0.05), world.submit()
        assert await short == undecided.NOT_KNOWN
        assert not long.done()
        world.push(1, 1, 2)
        assert await long == rows(2)

    run(scenario)


def test_a_lost_push_is_noticed_by_the_next_one_and_asked_for(run: Any) -> None:
    async def scenario(world: World) -> None:
        first = world.submit()
        await world.durable()
        second = world.submit()
        await world.durable(2)
        world.engine.known[1] = RequestResults(None, np.frombuffer(rows(9), RESULT))
        world.engine.at = {world.lane.id: 2}
        world.push(2, 10)
        assert await second == rows(10)
        assert await first == rows(9)
        assert world.engine.asked == [1]
        assert world.metrics.pushes_lost == 1
        assert world.requests.payments.undecided.tenants == {}

    run(scenario)


def test_a_late_push_is_asked_for_only_once_the_lane_is_decided_so_far(run: Any) -> None:
    async def scenario(world: World) -> None:
        future = world.submit(count=2)
        await world.durable()
        while world.engine.positions_asked < 2:
            await asyncio.sleep(0.01)
        assert world.engine.asked == []
        world.engine.known[1] = RequestResults(None, np.frombuffer(rows(3, 4), RESULT))
        world.engine.at = {world.lane.id: 1}
        assert await future == rows(3, 4)
        assert world.metrics.pushes_late == 1

    run(scenario)


def test_an_engine_that_is_away_is_asked_ever_more_seldom(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.engine.away = True
        world.submit()
        await world.durable()
        loop = asyncio.get_running_loop()
        asked_at = []
        for count in (1, 2, 3):
            while world.engine.positions_asked < count:
                await asyncio.sleep(0.005)
            asked_at.append(loop.time())
        assert asked_at[2] - asked_at[1] > 1.4 * (asked_at[1] - asked_at[0])

    run(scenario)


def test_a_reused_key_learnt_by_look_up_is_told_as_such(run: Any) -> None:
    async def scenario(world: World) -> None:
        future = world.submit(count=2)
        await world.durable()
        world.engine.known[1] = RequestResults(RequestStatus.IDEMPOTENCY_KEY_REUSED, np.empty(0, RESULT))
        world.engine.at = {world.lane.id: 1}
        told = np.frombuffer(await future, RESULT)
        assert list(told["status"]) == [RequestStatus.IDEMPOTENCY_KEY_REUSED] * 2

    run(scenario)


def test_a_push_with_the_wrong_number_of_rows_is_never_sliced(run: Any) -> None:
    async def scenario(world: World) -> None:
        first, second = world.submit(), world.submit()
        await world.durable()
        for number, at in ((1, 5), (2, 6)):
            world.engine.known[number] = RequestResults(None, np.frombuffer(rows(at), RESULT))
        world.push(1, 77)
        assert [await first, await second] == [rows(5), rows(6)]

    run(scenario)


def test_pushes_of_unknown_lanes_and_repeated_ones_change_nothing(run: Any) -> None:
    async def scenario(world: World) -> None:
        future = world.submit()
        await world.durable()
        world.requests.on_results(b"somebody else's.", 1, rows(1))
        world.push(1, 2)
        world.push(1, 3)
        assert await future == rows(2)

    run(scenario)


def test_unavailable_is_told_to_those_in_the_block_and_the_next_block_goes_its_way(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.lane.gate.clear()
        world.troubles.append(Unavailable("disk full"))
        first = world.submit()
        await ticks()
        second = world.submit()
        world.lane.gate.set()
        with pytest.raises(Unavailable):
            await first
        await world.durable()
        world.push(1, 5)
        assert await second == rows(5)
        assert len(world.lanes) == 2  # payments and control: none was abandoned
        assert world.requests.payments.undecided.tenants == {}

    run(scenario)


def test_a_lane_whose_submit_ended_unknown_is_replaced_and_the_requests_go_into_the_new_one(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.troubles.append(OutcomeUnknown("sync failed"))
        future = world.submit()
        await world.durable()
        assert world.lane.closed
        new = world.lanes[2]
        assert len(new.blocks) == 1
        assert new.id in world.engine.subscribed
        world.push(1, 5, lane=new)
        assert await future == rows(5)
        assert world.metrics.lanes_abandoned == 1
        assert not world.requests.payments.writer.impaired

    run(scenario)


def test_in_doubt_means_submitted_again_even_if_the_new_lane_is_unavailable_at_first(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.troubles += [OutcomeUnknown("sync failed")]
        world.open_troubles += [Unavailable("disk full")] * 2
        future = world.submit()
        while not world.requests.payments.writer.impaired:
            await asyncio.sleep(0.001)
        with pytest.raises(Problem) as caught:
            world.submit()
        assert caught.value.type.name == "unavailable"
        await world.durable()
        world.push(1, 5, lane=world.lanes[2])
        assert await future == rows(5)

    run(scenario)


def test_a_corrupt_lane_ends_the_process_and_its_requests_are_told_that_nobody_knows(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        await world.requests.start()
        world.troubles.append(Corrupt("bad hash"))
        with pytest.raises(OutcomeUnknown):
            await world.submit()
        assert [type(error) for error in world.fatal] == [Corrupt]
        await world.requests.close()

    asyncio.run(scenario())


def test_a_lane_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        world.open_troubles.append(Corrupt("bad hash"))
        with pytest.raises(Corrupt):
            await world.requests.start()
        await world.requests.close()

    asyncio.run(scenario())


def test_too_many_undecided_commands_of_a_tenant_are_refused_but_not_another_tenants(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.submit(count=9)
        world.submit()
        with pytest.raises(Problem) as caught:
            world.submit()
        assert caught.value.type.http == 429
        assert caught.value.headers["retry-after"] == "1"
        assert caught.value.headers["ratelimit"] == '"undecided";r=0'
        world.submit(tenant=8)
        world.submit(control=True)
        await world.durable()
        number = len(world.lane.blocks)
        assert number == 1
        world.push(1, *range(11))
        world.submit(count=10)

    run(scenario, undecided_max=10)


def test_waits_that_ended_still_count_as_undecided(run: Any) -> None:
    async def scenario(world: World) -> None:
        assert await world.submit(count=10, wait_s=0.0) == undecided.NOT_KNOWN
        with pytest.raises(Problem):
            world.submit()

    run(scenario, undecided_max=10)


def test_a_queue_that_is_too_old_takes_nothing_on_until_it_moves(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.submit()
        while not world.requests.payments.too_old:
            await asyncio.sleep(0.01)
        with pytest.raises(Problem) as caught:
            world.submit()
        assert caught.value.type.http == 503
        assert "payments queue" in world.requests.impediments()
        world.submit(control=True)  # a freeze is not held up by payments
        world.push(1, 1)
        while world.requests.payments.too_old:
            await asyncio.sleep(0.01)
        world.submit()

    run(scenario, queue_age_s_max=0.1)


def test_blocks_left_by_an_earlier_process_count_towards_the_age_of_the_queue(run: Any) -> None:
    def before(world: World) -> None:
        world.stale_blocks = 3

    async def scenario(world: World) -> None:
        future = world.submit()
        await world.durable()
        while not world.requests.payments.too_old:
            await asyncio.sleep(0.01)
        world.push(4, 1)
        assert await future == rows(1)
        while world.requests.payments.too_old:
            await asyncio.sleep(0.01)

    run(scenario, before, queue_age_s_max=0.1)


def test_a_full_disk_takes_nothing_on(run: Any) -> None:
    def before(world: World) -> None:
        world.free = 0.05

    async def scenario(world: World) -> None:
        with pytest.raises(Problem) as caught:
            world.submit()
        assert caught.value.type.http == 503
        assert caught.value.headers["retry-after"] == "10"
        assert world.requests.impediments() == ["disk"]

    run(scenario, before, disk_free_min=0.1)


def test_a_queue_that_does_not_become_durable_is_told_as_unknown(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DURABLE_PATIENCE_S", 0.1)

    async def scenario(world: World) -> None:
        world.lane.gate.clear()
        with pytest.raises(OutcomeUnknown):
            await world.submit(wait_s=0.0)
        world.lane.gate.set()

    run(scenario)


def test_closing_tells_those_who_wait_and_gives_the_lanes_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        await world.requests.start()
        future = world.submit()
        await world.durable()
        await world.requests.close()
        assert await future == undecided.NOT_KNOWN
        assert [lane.closed for lane in world.lanes] == [True, True]
        with pytest.raises(Problem):
            world.submit()

    asyncio.run(scenario())


def inline(lane: PlayedLane) -> list[bool]:
    """Of each block submitted to the lane, whether the loop did it itself."""
    return [thread is threading.main_thread() for thread in lane.threads]


def test_a_lane_behind_a_network_is_never_waited_for_by_the_loop(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(PlayedLane, "prompt", False)

    async def scenario(world: World) -> None:
        world.clock.step_ns = QUICK_NS
        for block in range(1, 4):
            world.submit()
            await world.durable(block)
            world.push(block, 1)
        assert inline(world.lane) == [False] * 3

    run(scenario)


def test_small_blocks_on_a_quick_disk_are_the_loops_own_and_others_the_threads(run: Any) -> None:
    async def scenario(world: World) -> None:
        async def pay(count: int = 1) -> None:
            blocks = len(world.engine.rung) + 1
            paid = world.submit(count)
            await world.durable(blocks)
            world.push(blocks, *[1] * count)
            assert await paid == rows(*[1] * count)

        world.clock.step_ns = QUICK_NS
        await pay()  # nobody knows yet how quick the disk is
        await pay()
        await pay(lanes.INLINE_COMMANDS_MAX)
        await pay(lanes.INLINE_COMMANDS_MAX + 1)
        world.clock.step_ns = SLOW_NS
        await pay()  # waited for once too often
        await pay()
        world.clock.step_ns = QUICK_NS
        await pay()
        await pay()
        assert inline(world.lane) == [False, True, True, False, True, False, False, True]

    run(scenario)


def test_a_block_in_doubt_after_the_loop_submitted_it_goes_to_a_new_lane(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.clock.step_ns = QUICK_NS
        world.submit()
        await world.durable(1)
        world.push(1, 1)
        world.troubles.append(OutcomeUnknown("the disk did not answer"))
        paid, also = world.submit(), world.submit()
        await world.durable(2)
        assert (len(world.lanes), world.lane.closed) == (3, True)
        assert inline(world.lane) == [False, True]
        assert [len(block) // COMMAND_SIZE for block in world.lanes[2].blocks] == [2]
        world.push(1, 5, 6, lane=world.lanes[2])
        assert [await paid, await also] == [rows(5), rows(6)]
        assert not world.requests.payments.writer.impaired

    run(scenario)


def test_a_refusal_to_the_loop_is_told_to_those_in_the_block_and_the_next_goes_its_way(run: Any) -> None:
    async def scenario(world: World) -> None:
        world.clock.step_ns = QUICK_NS
        world.submit()
        await world.durable(1)
        world.push(1, 1)
        world.troubles.append(Unavailable("the disk is full"))
        refused = world.submit()
        with pytest.raises(Unavailable):
            await refused
        paid = world.submit()
        await world.durable(2)
        world.push(2, 7)
        assert await paid == rows(7)
        assert not world.requests.payments.undecided.tenants

    run(scenario)


def test_what_should_not_happen_to_the_loops_own_block_ends_the_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        await world.requests.start()
        world.clock.step_ns = QUICK_NS
        world.submit()
        await world.durable(1)
        world.push(1, 1)
        world.troubles.append(Corrupt("another writer was here"))  # type: ignore[arg-type]
        with pytest.raises(OutcomeUnknown):
            await world.submit()
        assert [type(error) for error in world.fatal] == [Corrupt]
        await world.requests.close()

    asyncio.run(scenario())


class Breaking(undecided.Request):
    """One whose answer cannot be put together: a bug of ours."""

    def hear(self, rows: bytes, error: Exception | None) -> None:
        raise AssertionError("a bug")


def test_an_answer_that_breaks_takes_none_of_its_block_with_it(run: Any) -> None:
    async def scenario(world: World) -> None:
        first = world.submit()
        breaking = Breaking(7, 99, bytes(32), bytes(COMMAND_SIZE), 1)
        world.requests.take_on(world.requests.payments, breaking, 20.0)
        last = world.submit()
        await world.durable()
        world.push(1, 1, 2, 3)
        assert (await first, await last) == (rows(1), rows(3))
        assert not breaking.open

    run(scenario)


def test_a_request_hears_once_what_became_of_it() -> None:
    heard: list[tuple[bytes, Exception | None]] = []

    class Counting(undecided.Request):
        def hear(self, rows: bytes, error: Exception | None) -> None:
            heard.append((rows, error))

    request = Counting(7, 99, bytes(32), b"", 1)
    request.settle(rows(1))
    request.settle(b"", Unavailable("too late"))
    assert heard == [(rows(1), None)]


def test_who_is_told_at_once_that_nothing_is_known_is_told_though_he_asks_later(run: Any) -> None:
    """A payment with no patience may be settled before its handler says whom to tell."""

    async def scenario(world: World) -> None:
        payment = Outstanding(7, 99, bytes(32), bytes(COMMAND_SIZE), TRANSFER, bytes(16))
        world.requests.take_on(world.requests.payments, payment, 0.0)
        await world.durable()
        while payment.open:
            await asyncio.sleep(0.001)
        told: list[int] = []
        payment.tell(lambda it: told.append(it.answer()[0]))
        assert told == [202]
        assert (await payment)[0] == 202

    run(scenario)
