"""A gateway of a simulation: its lanes as steps, and the real keeper of what is undecided on a loop that is stepped.

`gateway.lanes` submits from a thread of its own; here `submit` does what that thread does, whenever the simulation
likes. What waits, what got lost, whom to tell and when to ask is `gateway.undecided` itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np

from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.undecided import NOT_KNOWN, AwaitedRequest, Block, Request, Undecided
from tallystick.intake.files import FileLane
from tallystick.lab.history.calls import SHOWN_ACCOUNT, LookUpAccounts, LookUpRequest, LookUpTransfers, Submit, Told
from tallystick.lab.simulated_broker import BrokerIntake, BrokerLane
from tallystick.lab.simulated_clients import Asked
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.lab.simulated_post import SimulatedLink
from tallystick.lab.simulated_world import World
from tallystick.records.commands import COMMAND_SIZE
from tallystick.records.results import RESULT
from tallystick.statuses import RequestStatus

BLOCK_MAX = 12
"""Commands in a lane's block."""
REQUESTS_MAX = 5
"""Requests in a lane's block."""
WAITS_S = (0.0, 1.0, 5.0, 5.0)
"""How long clients wait for an outcome."""
_REUSED = RequestStatus.IDEMPOTENCY_KEY_REUSED.to_bytes(4, "little")
_STATUS_AT = RESULT.fields["status"][1] if RESULT.fields else 0


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop that has the simulation's time and does what is ready when it is told to."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._simulated = clock
        self._failure: BaseException | None = None
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        """Seconds by the simulation's monotonic clock."""
        return self._simulated.monotonic_ns() / 1e9

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failure = self._failure or context.get("exception") or AssertionError(context["message"])

    def step(self) -> None:
        """One turn. Raises what a callback raised."""
        self.call_soon(self.stop)
        self.run_forever()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


class Gateway:
    """A gateway's process."""

    def __init__(self, world: World, number: int, loop: SteppedLoop, metrics: Metrics) -> None:
        self.number = number
        self.disk = world.disk.another_process()
        self._world = world
        self._loop = loop
        self._intake = world.intake(self.disk)
        self._lanes: dict[bool, FileLane | BrokerLane] = {}
        self._link = SimulatedLink(world.post, loop, world.random.randbytes(16), self._on_results)
        self._undecided = {control: Undecided(self._link, metrics) for control in (True, False)}
        self._waiting: dict[bool, deque[Request]] = {True: deque(), False: deque()}
        self._in_doubt: dict[bool, list[Request]] = {}
        self._stored: dict[bool, tuple[Block, bytes, int]] = {}
        self._open: dict[Request, tuple[Asked, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead = False

    # What clients call

    def take(self, asked: Asked) -> None:
        """A client sends a request, and waits."""
        now_s = self._loop.time()
        deadline_s = now_s + self._world.random.choice(WAITS_S)
        count = len(asked.commands) // COMMAND_SIZE
        request = AwaitedRequest(asked.tenant, asked.id, asked.fingerprint, asked.commands, count, self._loop)
        request.arrived_s, request.deadline_s = now_s, deadline_s
        self._open[request] = asked, self._world.instant()
        request.future.add_done_callback(partial(self._answer, request))
        self._waiting[asked.control].append(request)
        self._world.say("gateway {} is sent {}", self.number, asked)

    def _answer(self, request: Request, future: "asyncio.Future[bytes]") -> None:
        error = future.exception()
        if self._dead:
            return
        if error is not None:
            told, rows = Told.NOTHING_WRITTEN if isinstance(error, Unavailable) else Told.UNKNOWN, b""
        elif (rows := future.result()) == NOT_KNOWN:
            told = Told.ACCEPTED
        else:
            told = Told.KEY_REUSED if rows[_STATUS_AT : _STATUS_AT + 4] == _REUSED else Told.DECIDED
        self._tell(request, told, rows)

    def _tell(self, request: Request, told: Told, rows: bytes = b"") -> None:
        asked, start = self._open.pop(request)
        self._world.history.add(
            Submit(
                gateway=self.number,
                start_ns=start,
                end_ns=self._world.instant(),
                told=told,
                rows=rows,
                tenant=asked.tenant,
                request_id=asked.id,
                kind=asked.kind,
                events=asked.events,
                expires_at=asked.expires_at,
            )
        )
        self._world.say("gateway {} answers {:032x}: {} {}", self.number, asked.id, told, ResultsShown(rows))

    def look_up_request(self, asked: Asked) -> None:
        """A client asks what became of a request."""
        self._do(partial(self._look_up_request, asked, self._world.instant()))

    async def _look_up_request(self, asked: Asked, start: int) -> None:
        found = await self._link.results(asked.tenant, asked.id, asked.fingerprint)
        if found.status is None:
            told = Told.DECIDED
        else:
            reused = found.status == RequestStatus.IDEMPOTENCY_KEY_REUSED
            told = Told.KEY_REUSED if reused else Told.NOT_DECIDED
        call = LookUpRequest(
            gateway=self.number,
            start_ns=start,
            end_ns=self._world.instant(),
            told=told,
            rows=found.results.tobytes(),
            tenant=asked.tenant,
            request_id=asked.id,
            fingerprint=asked.fingerprint,
        )
        self._world.history.add(call)
        self._world.say("gateway {} shows {:032x}: {} {}", self.number, asked.id, told, ResultsShown(call.rows))

    def look_up_accounts(self, tenant: int, ids: list[int]) -> None:
        """A client asks for accounts."""
        self._do(partial(self._look_up_accounts, tenant, ids, self._world.instant()))

    async def _look_up_accounts(self, tenant: int, ids: list[int], start: int) -> None:
        found = await self._link.accounts(tenant, ids)
        rows = b"".join(event.tobytes() + extra.tobytes() for event, extra in found)
        assert len(rows) == len(found) * SHOWN_ACCOUNT.itemsize
        end = self._world.instant()
        packed = _packed(ids)
        self._world.history.add(
            LookUpAccounts(start_ns=start, end_ns=end, told=Told.SHOWN, rows=rows, tenant=tenant, ids=packed)
        )
        self._world.say("gateway {} shows {} of accounts {} of tenant {}", self.number, len(found), ids, tenant)

    def look_up_transfers(self, tenant: int, ids: list[int]) -> None:
        """A client asks for transfers."""
        self._do(partial(self._look_up_transfers, tenant, ids, self._world.instant()))

    async def _look_up_transfers(self, tenant: int, ids: list[int], start: int) -> None:
        rows = (await self._link.transfers(tenant, ids)).tobytes()
        end = self._world.instant()
        packed = _packed(ids)
        self._world.history.add(
            LookUpTransfers(start_ns=start, end_ns=end, told=Told.SHOWN, rows=rows, tenant=tenant, ids=packed)
        )
        self._world.say("gateway {} shows {} of {} transfers", self.number, len(rows) // 128, len(ids))

    def _do(self, ask: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(_unless_away(ask))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not self._dead and not task.cancelled() and (error := task.exception()) is not None:
            raise error

    # Its work

    def submit(self, control: bool) -> None:
        """Submit some of what waits, as a lane's thread does. Raises `PowerCut`, and what opening a lane raises."""
        self._hear_stored(control)
        waiting = self._waiting[control]
        if not waiting:
            return
        try:
            lane = self._lane(control)
        except (Unavailable, OutcomeUnknown):
            return  # the lane, or another, is opened another time
        requests = self._in_doubt.get(control) or self._next_block(waiting)
        try:
            number = lane.submit(b"".join(request.commands for request in requests))
        except Unavailable as error:
            if control not in self._in_doubt:
                for request in requests:
                    waiting.popleft()
                    request.settle(NOT_KNOWN, error)
            return
        except OutcomeUnknown:
            self._world.say(
                "gateway {}: what became of a block in lane {} is not known", self.number, lane.id.hex()[:4]
            )
            self._in_doubt[control] = requests
            self._lanes.pop(control).close()
            return  # to be submitted again, in another lane
        self._in_doubt.pop(control, None)
        for _ in requests:
            waiting.popleft()
        self._stored[control] = Block(requests), lane.id, number
        self._link.ring(lane.id, number)
        self._world.say(
            "gateway {}: {} requests are durable as block {} of lane {}",
            self.number,
            len(requests),
            number,
            lane.id.hex()[:4],
        )

    def _next_block(self, waiting: deque[Request]) -> list[Request]:
        requests, room = [waiting[0]], BLOCK_MAX - waiting[0].count
        for request in list(waiting)[1 : self._world.random.randint(1, REQUESTS_MAX)]:
            room -= request.count
            if room < 0:
                break
            requests.append(request)
        return requests

    def _lane(self, control: bool) -> FileLane | BrokerLane:
        lane = self._lanes.get(control)
        if lane is None:
            lane = self._lanes[control] = self._intake.open_lane(control)
            self._link.subscribe(lane.id)
        return lane

    def _hear_stored(self, control: bool) -> None:
        """As `LaneWriter.hear`."""
        stored = self._stored.pop(control, None)
        if stored is None:
            return
        block, lane, number = stored
        undecided = self._undecided[control]
        if number > 1 and not undecided.knows(lane):
            undecided.inherited(lane, number - 1, self._loop.time())
        undecided.durable(block, lane, number, self._loop.time())

    def _on_results(self, lane: bytes, number: int, rows: bytes) -> None:
        # What is durable is heard of before its results: as `gateway.requests` does.
        for control in (True, False):
            self._hear_stored(control)
        if not any(undecided.decided(lane, number, rows) for undecided in self._undecided.values()):
            self._world.say("gateway {}: results of a lane that it does not know", self.number)

    def turn(self) -> None:
        """Hear what arrived, end waits, ask where pushes are late; a turn of the event loop."""
        self._loop.call_soon(self._turn)
        self._loop.step()

    def _turn(self) -> None:
        if self._dead:
            return
        for control in (True, False):
            self._hear_stored(control)
        self._link.hear()
        for undecided in self._undecided.values():
            if undecided:
                undecided.sweep(self._loop.time())

    def prepare(self) -> None:
        """The background work of its lanes."""
        for control, lane in list(self._lanes.items()):
            try:
                lane.prepare()
            except OutcomeUnknown:
                self._lanes.pop(control).close()
            except Unavailable:
                pass

    @property
    def idle(self) -> bool:
        """Whether no client waits for anything."""
        return not self._open and not self._tasks

    def die(self) -> None:
        """The process is gone: its clients never hear what became of what they sent."""
        self._dead = True
        if isinstance(self._intake, BrokerIntake):
            self._intake.close()  # the broker sees that its session is over; of files the kernel lets go
        self._world.post.forget(self._link.inbox)
        for request in list(self._open):
            self._tell(request, Told.UNKNOWN)
        for task in self._tasks:
            task.cancel()
        self._loop.step()  # a task hears only then that it is cancelled
        for undecided in self._undecided.values():
            undecided.close()


class ResultsShown:
    """`RESULT` rows for people, made only if somebody reads the story."""

    def __init__(self, rows: bytes) -> None:
        self._rows = rows

    def __str__(self) -> str:
        return ", ".join(f"{int(row['status'])}@{int(row['timestamp'])}" for row in np.frombuffer(self._rows, RESULT))


async def _unless_away(ask: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await ask()
    except Unavailable:
        return  # nobody answered: the client learned nothing


def _packed(ids: list[int]) -> bytes:
    return b"".join(number.to_bytes(16, "little") for number in ids)
