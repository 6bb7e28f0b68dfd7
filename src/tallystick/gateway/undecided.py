"""What is accepted and not known to be decided: tallies per tenant, waits that end, pushes that got lost.

Blocks of a lane are decided in order. So a push for block 7 tells that 6 is decided too; and where pushes are
missing, one question for the lanes' positions tells which requests are worth asking about.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

import structlog

from tallystick.answers.port import RESULT, EngineLink
from tallystick.gateway.metrics import Metrics
from tallystick.statuses import RequestStatus

PUSH_LATE_S = 0.25
ASK_AGAIN_S_MAX = 2.0
QUESTIONS_AT_ONCE = 64
NOT_KNOWN = b""
"""A request hears its `RESULT` rows, or this: durable, but not known to be decided when its wait ended."""

Doubt = Callable[[int], Exception | None]
"""Why this shard may not decide what a tenant asked; None: it will."""

_log = structlog.get_logger("tallystick.gateway.undecided")
_ROW = struct.Struct("<QII")
assert _ROW.size == RESULT.itemsize


class Request:
    """One request on its way: what it is, its command records, and whether anybody still waits to hear of it."""

    __slots__ = ("arrived_s", "at", "commands", "count", "deadline_s", "fingerprint", "open", "request_id", "tenant")

    def __init__(self, tenant: int, request_id: int, fingerprint: bytes, commands: bytes, count: int) -> None:
        self.tenant = tenant
        self.request_id = request_id
        self.fingerprint = fingerprint
        self.commands = commands
        self.count = count
        self.open = True
        """Whether it has yet to hear what became of it."""
        self.arrived_s = self.deadline_s = 0.0
        """By the loop's clock, for whoever takes it on to set. The deadline ends the wait for the outcome, not that for
        durability."""
        self.at = 0  # of its first command in the block

    def settle(self, rows: bytes, error: Exception | None = None) -> None:
        """Its `RESULT` rows, or `NOT_KNOWN`, or why there are none. Once; what comes later says no more."""
        if not self.open:
            return
        self.open = False
        try:
            self.hear(rows, error)
        except Exception as broken:  # the others of its block have their answers all the same
            _log.error("an outcome could not be told", request_id=f"{self.request_id:032x}", exc_info=broken)

    def hear(self, rows: bytes, error: Exception | None) -> None:
        """What is to be done once it is settled: at once, so never anything long."""
        raise NotImplementedError


class AwaitedRequest(Request):
    """One whose handler waits for `future`."""

    __slots__ = ("future",)

    def __init__(
        self,
        tenant: int,
        request_id: int,
        fingerprint: bytes,
        commands: bytes,
        count: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(tenant, request_id, fingerprint, commands, count)
        self.future: asyncio.Future[bytes] = loop.create_future()

    def hear(self, rows: bytes, error: Exception | None) -> None:
        if self.future.done():
            return  # whoever waited was cancelled
        if error is None:
            self.future.set_result(rows)
        else:
            self.future.set_exception(error)
            self.future.exception()  # its handler may be gone already: that is no error of its own


class Block:
    """Requests that share one command block."""

    __slots__ = ("arrived_s", "count", "durable_s", "first_deadline_s", "late", "requests", "tenants")

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests
        self.tenants: dict[int, int] = {}
        self.count = 0
        self.first_deadline_s = float("inf")
        for request in requests:
            request.at = self.count
            self.count += request.count
            self.tenants[request.tenant] = self.tenants.get(request.tenant, 0) + request.count
            if request.deadline_s < self.first_deadline_s:
                self.first_deadline_s = request.deadline_s
        self.arrived_s = requests[0].arrived_s if requests else 0.0
        self.durable_s = 0.0
        self.late = False

    def end_waits(self, now_s: float, doubt: Doubt) -> None:
        """Answer "not known" where the wait is over; forget requests for whose outcome nobody waits any more."""
        if now_s < self.first_deadline_s:
            return
        waiting = []
        for request in self.requests:
            if not request.open:
                continue
            if request.deadline_s <= now_s:
                _acknowledge(request, doubt)
            else:
                waiting.append(request)
        self.requests = waiting
        self.first_deadline_s = min((request.deadline_s for request in waiting), default=float("inf"))


def _acknowledge(request: Request, doubt: Doubt) -> None:
    """Say that it is durable and will be decided, unless somebody doubts that."""
    request.settle(NOT_KNOWN, doubt(request.tenant))


class Undecided:
    """The undecided of one sort of lane, payments or control. Lives on the event loop."""

    def __init__(self, link: EngineLink, metrics: Metrics) -> None:
        self.tenants: Counter[int] = Counter()
        """Commands by tenant, from acceptance to decision."""
        self.commands_durable = 0
        """Those of this process that are durable already."""
        self.on_decided: Callable[[], None] = lambda: None
        """Called after each block that was decided."""
        self.doubt: Doubt = lambda tenant: None
        """Asked before a durable request is acknowledged whose outcome is not known."""
        self._link = link
        self._metrics = metrics
        self._blocks: dict[tuple[bytes, int], Block] = {}
        self._lost: list[Block] = []  # decided, but we were not told how
        self._early: dict[tuple[bytes, int], bytes] = {}
        self._last: dict[bytes, int] = {}
        self._asking: asyncio.Task[None] | None = None
        self._ask_at_s = 0.0
        self._ask_pause_s = PUSH_LATE_S

    def __bool__(self) -> bool:
        """Whether anything needs `sweep`."""
        return bool(self._blocks or self._lost)

    def blocks(self) -> Iterator[Block]:
        """All whose requests may still wait."""
        return chain(self._blocks.values(), self._lost)

    def oldest_s(self) -> float | None:
        """When the oldest undecided block's first request arrived, by the loop's clock."""
        return next((block.arrived_s for block in self._blocks.values()), None)

    def release(self, block: Block) -> None:
        """Its commands no longer count against their tenants."""
        tenants = self.tenants
        for tenant, count in block.tenants.items():
            left = tenants[tenant] - count
            if left:
                tenants[tenant] = left
            else:
                del tenants[tenant]

    def knows(self, lane: bytes) -> bool:
        """Whether a block of ours became durable in this lane before."""
        return lane in self._last

    def inherited(self, lane: bytes, number: int, since_s: float) -> None:
        """The lane was taken over with blocks up to `number`, of which we know nothing but that they may wait."""
        block = Block([])
        block.arrived_s = block.durable_s = since_s
        self._blocks[(lane, number)] = block

    def durable(self, block: Block, lane: bytes, number: int, now_s: float) -> None:
        """The block is durable as `number` of `lane`."""
        block.durable_s = now_s
        for request in block.requests:
            request.commands = b""
        self._last[lane] = number
        key = (lane, number)
        self._blocks[key] = block
        self.commands_durable += block.count
        rows = self._early.pop(key, None)
        self._early.clear()  # one block a lane is on its way at a time, so what is left was in doubt, and is here again
        if rows is not None:
            self.decided(lane, number, rows)
        else:
            block.end_waits(now_s, self.doubt)

    def decided(self, lane: bytes, number: int, rows: bytes) -> bool:
        """A push: wake those who wait. False if the lane is not one of ours."""
        last = self._last.get(lane)
        if last is None:
            return False
        block = self._blocks.pop((lane, number), None)
        if block is None:
            if number > last:  # the engine was faster than the thread that tells us of durability
                self._early[(lane, number)] = rows
            return True
        self.release(block)
        self.commands_durable -= block.count
        self._ask_pause_s = PUSH_LATE_S
        if len(rows) != block.count * _ROW.size:
            self._lose(block)  # never guess which row is whose
        else:
            for request in block.requests:
                at = request.at * _ROW.size
                request.settle(rows[at : at + request.count * _ROW.size])
        if self._blocks:
            self._lose_before(lane, number)
        self.on_decided()
        return True

    def _lose_before(self, lane: bytes, number: int) -> None:
        """All up to `number` is decided; of what is still here we were not told."""
        gone = [key for key in self._blocks if key[0] == lane and key[1] <= number]
        for key in gone:
            block = self._blocks.pop(key)
            self.release(block)
            self.commands_durable -= block.count
            self._lose(block)

    def _lose(self, block: Block) -> None:
        if any(request.open for request in block.requests):
            self._metrics.pushes_lost += 1
            self._lost.append(block)
            self._ask_at_s = 0.0

    def sweep(self, now_s: float) -> None:
        """End the waits that are over; start asking where a push is late. Call it every 50 ms or so."""
        for block in self.blocks():
            block.end_waits(now_s, self.doubt)
        self._lost = [block for block in self._lost if block.requests]
        if self._asking is None and now_s >= self._ask_at_s and (self._lost or self._late(now_s)):
            self._asking = asyncio.get_running_loop().create_task(self._ask())
            self._asking.add_done_callback(self._asked)

    def _late(self, now_s: float) -> bool:
        late = False
        for block in self._blocks.values():
            if now_s - block.durable_s < PUSH_LATE_S:
                break
            late = True
            if not block.late:
                block.late = True
                self._metrics.pushes_late += 1
        return late

    def _asked(self, task: "asyncio.Task[None]") -> None:
        self._asking = None
        # The engine that is away is asked ever more seldom; one that answers, soon again.
        found = not task.cancelled() and task.exception() is None
        self._ask_pause_s = PUSH_LATE_S if found else min(2 * self._ask_pause_s, ASK_AGAIN_S_MAX)
        self._ask_at_s = asyncio.get_running_loop().time() + self._ask_pause_s

    async def _ask(self) -> None:
        """Ask how far the lanes are decided, then for each request whose push was lost. Raises `Unavailable`."""
        for lane, number in (await self._link.positions()).items():
            if lane in self._last:
                self._lose_before(lane, number)
        self.on_decided()
        for block in list(self._lost):
            waiting = [request for request in block.requests if request.open]
            for first in range(0, len(waiting), QUESTIONS_AT_ONCE):
                some = waiting[first : first + QUESTIONS_AT_ONCE]
                failures = await asyncio.gather(*map(self._ask_one, some), return_exceptions=True)
                for failure in failures:
                    if failure is not None:
                        raise failure

    async def _ask_one(self, request: Request) -> None:
        known = await self._link.results(request.tenant, request.request_id, request.fingerprint)
        if known.status is None:
            rows = known.results.tobytes()
        elif known.status == RequestStatus.IDEMPOTENCY_KEY_REUSED:
            rows = _ROW.pack(0, RequestStatus.IDEMPOTENCY_KEY_REUSED, 0) * request.count
        else:
            return
        if len(rows) == request.count * _ROW.size:
            request.settle(rows)

    def close(self) -> None:
        """End all waits; ask no more."""
        if self._asking is not None:
            self._asking.cancel()
        for block in self.blocks():
            for request in block.requests:
                if request.open:
                    _acknowledge(request, self.doubt)
