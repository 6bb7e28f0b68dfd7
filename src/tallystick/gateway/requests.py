"""Taking requests on, and waiting for what becomes of them.

Refuses what would make memory the queue: too many undecided commands of a tenant (429), a queue that is too old, a
disk that is too full (503). These limits are looked at twenty times a second, not for each payment.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tallystick.answers.port import EngineLink
from tallystick.clock import Clock
from tallystick.gateway.lanes import LaneWriter
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.problems import Problem, unavailable
from tallystick.gateway.undecided import AwaitedRequest, Doubt, Request, Undecided
from tallystick.intake.port import Lane
from tallystick.settings import Settings

SWEEP_S = 0.05
DISK_CHECK_S = 1.0


class Sort:
    """Payments or control: one lane, and what of it is undecided."""

    def __init__(self, writer: LaneWriter, undecided: Undecided) -> None:
        self.writer = writer
        self.undecided = undecided
        self.too_old = False

    def age_s(self, now_s: float) -> float:
        """How long the oldest request here has been undecided; 0 if none is."""
        known = [since for since in (self.undecided.oldest_s(), self.writer.oldest_s()) if since is not None]
        return now_s - min(known) if known else 0.0


class Requests:
    """What this gateway process has taken on. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        open_lane: Callable[[bool], Lane],
        link: EngineLink,
        metrics: Metrics,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
        disk_free: Callable[[Path], float],
    ) -> None:
        """`disk_free` tells which share of a folder's disk is free, 0 to 1 (`Disk.free_share`)."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._disk_free = disk_free
        self.disk_low = False
        self.stopping = False
        self.payments = self._sort(False, open_lane, link, metrics, clock, on_fatal)
        self.control = self._sort(True, open_lane, link, metrics, clock, on_fatal)
        self._sorts = (self.payments, self.control)
        self._sweeper: asyncio.TimerHandle | None = None
        self._disk_timer: asyncio.TimerHandle | None = None
        metrics.undecided = self.tallies

    @staticmethod
    def _sort(
        control: bool,
        open_lane: Callable[[bool], Lane],
        link: EngineLink,
        metrics: Metrics,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
    ) -> Sort:
        undecided = Undecided(link, metrics)
        return Sort(LaneWriter(open_lane, control, link, undecided, metrics, clock, on_fatal), undecided)

    def doubt(self, doubt: Doubt) -> None:
        """Have somebody asked before a durable request is acknowledged whose outcome is not known."""
        for sort in self._sorts:
            sort.undecided.doubt = doubt

    async def start(self) -> None:
        """Open both lanes. Raises what opening them raised."""
        for sort in self._sorts:
            await sort.writer.start()
        self._check_disk()

    def submit(
        self, sort: Sort, tenant: int, request_id: int, digest: bytes, commands: bytes, count: int, wait_s: float
    ) -> "asyncio.Future[bytes]":
        """Take a request on: a future of its `RESULT` rows, or of nothing if they are not known within `wait_s`.

        `commands` is count × 256 bytes with fingerprint `digest`. Raises as `take_on`; the future raises `Unavailable`
        or `OutcomeUnknown`.
        """
        request = AwaitedRequest(tenant, request_id, digest, commands, count, self._loop)
        self.take_on(sort, request, wait_s)
        return request.future

    def take_on(self, sort: Sort, request: Request, wait_s: float) -> None:
        """Make a request durable, and let it hear what becomes of it, or after `wait_s` that it is not known.

        It never hears rows before it is durable. Raises the problems `too_many_undecided` and `unavailable`.
        """
        undecided = sort.undecided.tenants.get(request.tenant, 0) + request.count
        if undecided > self._settings.undecided_max:
            raise self._too_many(undecided - request.count)
        if sort.too_old or self.disk_low or self.stopping or sort.writer.impaired:
            raise self._taking_nothing(sort)
        sort.undecided.tenants[request.tenant] = undecided
        now_s = self._loop.time()
        request.arrived_s, request.deadline_s = now_s, now_s + wait_s
        sort.writer.put(request)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _too_many(self, undecided: int) -> Problem:
        most = self._settings.undecided_max
        headers = {
            "retry-after": "1",
            "ratelimit-policy": f'"undecided";q={most}',
            "ratelimit": f'"undecided";r={max(most - undecided, 0)}',
        }
        return Problem("too_many_undecided", f"{undecided:,} of at most {most:,} commands are undecided", headers)

    def _taking_nothing(self, sort: Sort) -> Problem:
        if self.stopping:
            return unavailable("this gateway is stopping")
        if self.disk_low:
            return unavailable("the disk is nearly full", retry_after_s=10)
        if sort.too_old:
            return unavailable("requests have been waiting for a decision for too long", retry_after_s=5)
        return unavailable("the durable queue is being reopened")

    def on_results(self, lane: bytes, number: int, rows: bytes) -> None:
        """A push of the engine."""
        for sort in self._sorts:
            sort.writer.hear()
        if not self.payments.undecided.decided(lane, number, rows):
            self.control.undecided.decided(lane, number, rows)

    def _sweep(self) -> None:
        self._sweeper = None
        now_s = self._loop.time()
        busy = False
        for sort in self._sorts:
            sort.writer.sweep(now_s)
            sort.undecided.sweep(now_s)
            sort.too_old = sort.age_s(now_s) > self._settings.queue_age_s_max
            busy = busy or bool(sort.undecided) or not sort.writer.idle
        if busy:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _check_disk(self) -> None:
        self.disk_low = self._disk_free(self._settings.data) < self._settings.disk_free_min
        self._disk_timer = self._loop.call_later(DISK_CHECK_S, self._check_disk)

    def tallies(self) -> dict[str, tuple[int, float]]:
        """By sort of lane: undecided commands, and the age of the oldest in seconds."""
        now_s = self._loop.time()
        return {sort.writer.name: (sort.undecided.tenants.total(), sort.age_s(now_s)) for sort in self._sorts}

    def impediments(self) -> list[str]:
        """Why nothing would be taken on now, in words of one's own."""
        reasons = []
        if self.stopping:
            reasons.append("stopping")
        if self.disk_low:
            reasons.append("disk")
        for sort in self._sorts:
            if sort.too_old:
                reasons.append(f"{sort.writer.name} queue")
            if sort.writer.impaired:
                reasons.append(f"{sort.writer.name} lane")
        return reasons

    @property
    def idle(self) -> bool:
        """Whether no request waits here any more."""
        return all(
            sort.writer.idle
            and not any(request.open for block in sort.undecided.blocks() for request in block.requests)
            for sort in self._sorts
        )

    async def close(self) -> None:
        """Take nothing on, end all waits, give the lanes up."""
        self.stopping = True
        for sort in self._sorts:
            await sort.writer.close()
            sort.undecided.close()
        for timer in (self._sweeper, self._disk_timer):
            if timer is not None:
                timer.cancel()


def tallies_of(every: Sequence[Requests]) -> dict[str, tuple[int, float]]:
    """As `Requests.tallies`, of all shards together."""
    found: dict[str, tuple[int, float]] = {}
    for requests in every:
        for name, (count, age_s) in requests.tallies().items():
            before, older_s = found.get(name, (0, 0.0))
            found[name] = before + count, max(older_s, age_s)
    return found
