"""The courier: takes what is due to its receivers, many at once, and keeps what came of it.

Each subscription has a lane of its own with a bounded number of hands, so a receiver that is slow or away holds up
nobody else. One that fails many times in a row is tried by one hand at a time, ever more seldom, until it answers; then
all that waits goes out at once. **Order is not promised**: hands overtake each other, and what failed comes later.

What was sent is written down a moment after, many in one commit. A process that ends in between sends again, under the
same `webhook-id`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from tallystick.clock import Clock, Entropy
from tallystick.notifier.deliveries import Attempt, Deliveries, Waiting
from tallystick.notifier.making import Making
from tallystick.notifier.port import Tables
from tallystick.notifier.schedule import Next, Reply
from tallystick.notifier.subscriptions import FAILING, GONE, Subscription, Subscriptions
from tallystick.webhooks import signing

FAILURES_MAX = 10
"""Failures in a row after which a receiver counts as away."""
AWAY_S, AWAY_S_MAX = 1.0, 60.0
"""How long to wait before an away receiver is tried again: doubled with each failure, up to this."""
TAKEN_AT_ONCE = 256
"""Deliveries of a subscription that are read from the tables at a time."""
IDLE_S = 1.0
"""How long to wait when nothing is known to be due."""
_SECOND = 1_000_000_000


class Sender(Protocol):
    """The HTTP client."""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST this once, in bounded time, to a public address, following nothing. Raises nothing."""
        ...


@dataclass(slots=True)
class _Lane:
    """What is under way to one subscription."""

    waiting: deque[Waiting] = field(default_factory=deque)
    taken: set[int] = field(default_factory=set)
    """Numbers of deliveries that are in `waiting`, on their way, or not yet written down."""
    hands: int = 0
    failures: int = 0
    not_before_ns: int = 0
    due_ns: int | None = 0
    """When to look into the tables again; None: when there is something new."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the courier keeps to."""

    hands_each: int = 16
    """Webhooks on their way to one subscription at a time."""
    hands_tenant: int = 64
    """On their way to all subscriptions of one tenant, so that many slow ones of one do not take every hand."""
    hands: int = 512
    """On their way in all."""
    failing_s_max: float = 432_000.0
    """How long a subscription may do nothing but fail; then it is disabled."""


class Courier:
    """Delivers. Lives on one event loop; `step` never waits."""

    def __init__(
        self,
        tables: Tables,
        subscriptions: Subscriptions,
        deliveries: Deliveries,
        making: Making,
        send: Sender,
        clock: Clock,
        entropy: Entropy,
        limits: Limits,
        attempted: Callable[[Attempt, Next], None] = lambda attempt, follows: None,
    ) -> None:
        """`attempted` hears of each attempt that is over, and what follows from it."""
        self._tables = tables
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._making = making
        self._send = send
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._attempted = attempted
        self._lanes: dict[int, _Lane] = {}
        self._over: list[tuple[int, Attempt]] = []
        self._written: list[tuple[int, Attempt]] = []
        """What is over and was written down, in a commit that is not known to be there."""
        self._back: set[int] = set()
        """Subscriptions whose receiver is there again, of which likewise."""
        self._failure: BaseException | None = None
        self._is_doubtful = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_tenant: Counter[int] = Counter()
        self.woken = asyncio.Event()
        """Set when an attempt is over and wants to be written down."""
        self.sent = 0
        """Attempts since the start."""
        tables.after_rollback(self._doubt)
        self._log = structlog.get_logger("tallystick.notifier")

    @property
    def hands(self) -> int:
        """How many are on their way now."""
        return len(self._tasks)

    def step(self) -> float:
        """Write down what is over, send what is due; returns in how many seconds there may be more to do.

        Raises `Unavailable` if the tables cannot be written now: what was to be written down is kept for the next step,
        and nothing new is sent.
        """
        self.woken.clear()
        if self._failure is not None:
            raise self._failure
        self._write_down()
        now_ns = self._clock.wall_ns()
        for number in self._deliveries.stirred:
            self._lanes.setdefault(number, _Lane()).due_ns = 0
        self._deliveries.stirred.clear()
        soonest_ns = now_ns + round(IDLE_S * _SECOND)
        for number, lane in list(self._lanes.items()):
            subscription = self._subscriptions.by_number.get(number)
            if subscription is None or not subscription.enabled:
                self._let_go(number, lane)
                continue
            again_ns = self._fill(subscription, lane, now_ns)
            if again_ns is not None:
                soonest_ns = min(soonest_ns, again_ns)
        return max(0.0, (soonest_ns - now_ns) / _SECOND)

    async def idle(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self, seconds: float) -> None:
        """Take nothing more up, let what is on its way arrive for so long, then break off, and write down what came.

        What was broken off counts as never tried: it is sent at the next start.
        """
        for lane in self._lanes.values():
            lane.waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._write_down()
        self._tables.settle()

    def _let_go(self, number: int, lane: _Lane) -> None:
        """Of a subscription that is disabled or gone, what has not left yet."""
        lane.taken.difference_update(each.number for each in lane.waiting)
        lane.waiting.clear()
        lane.due_ns = None
        lane.failures, lane.not_before_ns = 0, 0  # who enables it again wants it tried at once
        if not lane.taken:
            del self._lanes[number]

    def _fill(self, subscription: Subscription, lane: _Lane, now_ns: int) -> int | None:
        """Read what is due, and set hands to work on it. When to look again; None: when a hand is through."""
        away = lane.failures >= FAILURES_MAX
        if away and lane.hands:
            return None
        if away and now_ns < lane.not_before_ns:
            return lane.not_before_ns
        if not lane.waiting and lane.due_ns is not None and lane.due_ns <= now_ns:
            found = self._deliveries.due(subscription.number, now_ns, TAKEN_AT_ONCE, lane.taken)
            lane.waiting.extend(found)
            lane.taken.update(each.number for each in found)
            # A short answer was all that is due; then the next is known by its time.
            if len(found) < TAKEN_AT_ONCE:
                lane.due_ns = self._deliveries.next_due_ns(subscription.number, now_ns)
        allowed = 1 if away else self._limits.hands_each
        tenant = subscription.tenant
        free = min(self._limits.hands - len(self._tasks), self._limits.hands_tenant - self._of_tenant[tenant])
        for _ in range(min(allowed - lane.hands, len(lane.waiting), free)):
            lane.hands += 1
            self._of_tenant[tenant] += 1
            task = asyncio.get_running_loop().create_task(self._work(subscription.number, tenant, lane))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return None if lane.waiting else lane.due_ns

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self.woken.set()

    async def _work(self, number: int, tenant: int, lane: _Lane) -> None:
        """One hand: takes from its lane until that is empty, or its receiver fails."""
        try:
            while lane.waiting:
                subscription = self._subscriptions.by_number.get(number)
                if subscription is None or not subscription.enabled:
                    break
                delivery = lane.waiting.popleft()
                attempt = await self._attempt(subscription, delivery)
                self._over.append((number, attempt))
                self.woken.set()
                if not attempt.reply.succeeded:
                    break  # the next step decides whether there is more to be tried
        finally:
            lane.hands -= 1
            self._of_tenant[tenant] -= 1
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]

    async def _attempt(self, subscription: Subscription, delivery: Waiting) -> Attempt:
        at_ns, began_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        signers = subscription.signers(at_ns)
        headers = signing.sign(signers, delivery.webhook_id, at_ns // _SECOND, delivery.body)
        self.sent += 1
        reply = await self._send(subscription.url, headers, delivery.body)
        took_ms = (self._clock.monotonic_ns() - began_ns) // 1_000_000
        return Attempt(delivery, at_ns, took_ms, reply, int.from_bytes(self._entropy(2)) / 0xFFFF)

    def _write_down(self) -> None:
        """Everything that is over, in one commit; it is forgotten here once that is there."""
        self._tables.settle()  # what was written down before is forgotten, or is to be written down again
        now_ns = self._clock.wall_ns()
        for number, attempt in self._over:
            if number in self._lanes:
                self._note(number, self._lanes[number], attempt, now_ns)
        self._written += self._over
        self._over = []
        if not self._written:
            return
        with self._tables.commit(then=self._forget):
            known = [each for each in self._written if each[0] in self._subscriptions.by_number]
            for (number, attempt), follows in zip(known, self._deliveries.record(known), strict=True):
                self._judge(self._subscriptions.by_number[number], follows, attempt, now_ns)
                self._attempted(attempt, follows)
            for number in self._back:
                self._deliveries.hurry(number, now_ns)
            if self._is_doubtful:
                self._deliveries.load()

    def _forget(self) -> None:
        """What was written down is there."""
        for number, attempt in self._written:
            if number in self._lanes:
                self._lanes[number].taken.discard(attempt.delivery.number)
        self._written, self._back, self._is_doubtful = [], set(), False

    def _doubt(self) -> None:
        """It is not, or not for certain: it is written down again. If it was there, too much is then taken off what is
        fresh, which is counted anew."""
        self._is_doubtful = bool(self._written)

    def _judge(self, subscription: Subscription, follows: Next, attempt: Attempt, now_ns: int) -> None:
        """What one attempt says of its subscription."""
        if follows is Next.DELIVERED:
            if subscription.failing_since is not None:
                self._subscriptions.set_failing(subscription, None)
            return
        if subscription.failing_since is None:
            self._subscriptions.set_failing(subscription, attempt.at_ns)
        failing_ns = now_ns - (subscription.failing_since or now_ns)
        reason = GONE if follows is Next.GONE else FAILING
        if subscription.enabled and (follows is Next.GONE or failing_ns >= self._limits.failing_s_max * _SECOND):
            self._subscriptions.disable(subscription, reason, now_ns, self._making.cursor().next_seq)
            self._log.warning("webhook subscription disabled", subscription=f"{subscription.id:032x}", reason=reason)

    def _note(self, number: int, lane: _Lane, attempt: Attempt, now_ns: int) -> None:
        """Whether the receiver is there."""
        if attempt.reply.succeeded:
            if lane.failures >= FAILURES_MAX:
                self._back.add(number)
            lane.failures, lane.not_before_ns = 0, 0
            return
        lane.failures += 1
        if lane.failures >= FAILURES_MAX:
            wait_s = min(AWAY_S * 2 ** min(lane.failures - FAILURES_MAX, 30), AWAY_S_MAX)
            lane.not_before_ns = now_ns + round(wait_s * _SECOND)
