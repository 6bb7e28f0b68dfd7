"""The gateway process: `Settings` → a running gateway, until SIGTERM or SIGINT.

One event loop for HTTP; for each shard one thread for each of its two lanes, and one that readies their next segments.
Stopping takes nothing new on, lets those who wait have their outcome (bounded), then gives the lanes up for the next
process.
"""

import asyncio
import gc
import resource
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import uvloop

from tallystick import directory
from tallystick.acts.currencies import Currencies
from tallystick.acts.port import CONTROL, LOGS
from tallystick.answers.addresses import address
from tallystick.answers.gatewayend import GatewayEnd
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import archiving, logs, shards
from tallystick.compose.acting import ActAppender, LazyActs
from tallystick.compose.auditor import open_act_log, open_log
from tallystick.compose.intake import open_intake
from tallystick.compose.texts import open_texts
from tallystick.engine import scrub
from tallystick.errors import TallystickError, Unavailable
from tallystick.gateway.app import App
from tallystick.gateway.auth import Keys
from tallystick.gateway.calls import Service
from tallystick.gateway.connections import Connections
from tallystick.gateway.listening import Listeners
from tallystick.gateway.logpages import LogPages
from tallystick.gateway.metrics import Metrics, ScrubSeen
from tallystick.gateway.platform import Platform, ProcessSeen, of_shards
from tallystick.gateway.requests import Requests, tallies_of
from tallystick.gateway.sharding import Shards
from tallystick.inquiries.gatewayend import InquiryEnd
from tallystick.intake.files import FileLane
from tallystick.intake.port import Intake, Lane
from tallystick.settings import Settings
from tallystick.supervise import status
from tallystick.supervise.processes import start_ticks

STOP_S = 3.0
"""How long those who wait may go on waiting once the process is told to stop."""
PREPARE_EVERY_S = 0.25
ASKED = ("projector", "notifier")
"""Followers that answer what clients ask."""

_log = structlog.get_logger("tallystick.compose.gateway")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it: `Corrupt`, or `Unavailable` if it could not start."""
    logs.configure("gateway")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


async def _run(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None = None) -> None:
        if stop.done():
            return
        if error is None:
            stop.set_result(None)
        else:
            _log.critical("the gateway must end", error=str(error), kind=type(error).__name__)
            stop.set_exception(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    settings.data.mkdir(parents=True, exist_ok=True)
    clock, entropy, disk, metrics = SystemClock(settings.clock_offset_file), system_entropy, SystemDisk(), Metrics()
    metrics.scrub = partial(scrub.seen, disk, settings.path("engine"))
    metrics.platform = Platform(settings.path("run"), clock, partial(_processes, settings)).metrics
    acts = ActAppender(settings)
    said = LazyActs(settings, CONTROL)
    act_logs = {name: open_act_log(settings, name) for name in LOGS}
    noting = _Noting(acts, act_logs, Currencies(said))
    every: list[Service] = []
    backs = [
        _Back(shards.of(settings, number), clock, metrics, end, noting, every) for number in range(settings.shards)
    ]
    every += [back.service for back in backs]
    if len(backs) > 1:
        metrics.undecided = partial(tallies_of, [back.requests for back in backs])
        _measure_all(settings, metrics, clock)
    placed = Shards(every, directory.path(settings.data)) if len(every) > 1 else None
    if placed is not None:
        for shard, back in enumerate(backs):
            back.requests.doubt(partial(placed.doubt, shard))
    app = App(every[0], Keys(settings.keys_path), entropy, placed)
    connections = Connections(app, clock, settings.body_bytes_max)
    listeners = Listeners(connections.connect)
    try:
        for back in backs:
            await back.requests.start()
            back.lanes.start()
        port = _listen(listeners, settings.http_host, settings.http_port)
        # What stands now stands for good; the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        _log.info("gateway listening", host=settings.http_host, port=port)
        await asyncio.wait([stop])
        listeners.close()
        await _drain(connections, [back.requests for back in backs])
        stop.result()
        _log.info("gateway stopped")
    finally:
        connections.abort()
        for back in backs:
            await back.close()
        acts.close()
        said.close()


def _measure_all(settings: Settings, metrics: Metrics, clock: SystemClock) -> None:
    """Show all shards in the metrics; of their scrubs the one that is worst off: damaged, or longest ago."""
    every = [shards.of(settings, number) for number in range(settings.shards)]
    supervised: list[Callable[[], Sequence[ProcessSeen]]] = [partial(_processes, settings), *[list] * len(every)]
    platforms = [Platform(each.path("run"), clock, seen) for each, seen in zip(every, supervised, strict=False)]
    metrics.platform = partial(of_shards, platforms)
    disk = SystemDisk()

    def worst() -> ScrubSeen:
        found = [scrub.seen(disk, each.path("engine")) for each in every]
        return min(found, key=lambda seen: (not seen.damaged, seen.completed_at_ns))

    metrics.scrub = worst


@dataclass(frozen=True, slots=True)
class _Noting:
    """What a platform has once, whatever shards it has: who did what, and what ledgers are called."""

    acts: ActAppender
    logs: Mapping[str, LogPages]
    currencies: Currencies


class _Back:
    """All that stands behind the gateway in one shard: lanes, the engine's answers, followers, texts."""

    def __init__(
        self,
        settings: Settings,
        clock: SystemClock,
        metrics: Metrics,
        end: Callable[[BaseException], None],
        noting: _Noting,
        every: Sequence[Service],
    ) -> None:
        """Opens nothing that waits yet. `every` will hold the services of all shards."""
        disk = SystemDisk()
        archiving.refuse_behind(settings, disk)
        self.lanes = Lanes(open_intake(settings, disk, clock, system_entropy))
        self._link = GatewayEnd(address(settings.data), system_entropy, lambda *push: self.requests.on_results(*push))
        self.requests = Requests(settings, self.lanes.open, self._link, metrics, clock, end, disk.free_share)
        self._followers = {name: InquiryEnd(name, address(settings.data, name), clock) for name in ASKED}
        self._texts = open_texts(settings)
        self.service = Service(
            settings.wait_s,
            self.requests,
            self._link,
            metrics,
            clock,
            self._followers,
            open_log(settings),
            noting.acts,
            self._texts,
            noting.logs,
            noting.currencies,
            settings.shard,
            every,
        )

    async def close(self) -> None:
        """End all waits, let go of everything."""
        await self.requests.close()
        self.lanes.close()
        self._link.close()
        self._texts.close()
        for follower in self._followers.values():
            follower.close()


def _processes(settings: Settings) -> list[ProcessSeen]:
    """What the supervisor's status file tells, and whether each still runs: the supervisor itself may be gone."""
    found = status.read(settings.path("run"))
    return [
        ProcessSeen(
            process.name,
            process.pid is not None and start_ticks(process.pid) == process.start_ticks,
            process.starts,
        )
        for process in (found.processes if found else [])
    ]


def _listen(listeners: Listeners, host: str, port: int) -> int:
    """Take connections; returns the port, found if `port` is 0. Raises `Unavailable`."""
    try:
        return listeners.open(host, port)
    except OSError as error:
        listeners.close()
        raise Unavailable(f"cannot listen on {host} port {port}: {error}; choose another port") from error


async def _drain(connections: Connections, every: Sequence[Requests]) -> None:
    """Nothing new; outcomes for those who wait, as far as they come in time; then "not known" for the rest."""
    for requests in every:
        requests.stopping = True
    connections.close()
    deadline_s = asyncio.get_running_loop().time() + STOP_S
    while asyncio.get_running_loop().time() < deadline_s and not all(requests.idle for requests in every):
        await asyncio.sleep(0.01)
    for requests in every:
        await requests.close()
    while asyncio.get_running_loop().time() < deadline_s + 1.0 and connections.busy:
        await asyncio.sleep(0.01)


class Lanes:
    """Opens lanes one at a time, as the intake wants it, and readies their next segments in the background."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._opening = threading.Lock()
        self._opened: list[FileLane] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._prepare, name="lane-segments", daemon=True)

    def open(self, control: bool) -> Lane:
        """A lane to write to; from any thread. Raises what `Intake.open_lane` raises."""
        with self._opening:
            lane = self._intake.open_lane(control)
            if isinstance(lane, FileLane):
                self._opened.append(lane)
            return lane

    def start(self) -> None:
        """Ready segments from now on."""
        self._thread.start()

    def _prepare(self) -> None:
        while not self._stopping.wait(PREPARE_EVERY_S):
            for lane in list(self._opened):
                try:
                    while not self._stopping.is_set() and lane.prepare():
                        pass
                except TallystickError as error:
                    # The lane's next submit meets the same trouble, and deals with it.
                    _log.warning("a lane's next segment could not be readied", error=str(error))
                    self._opened.remove(lane)

    def close(self) -> None:
        """Stop; the lanes themselves are closed by those who write to them."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._intake.close()


if __name__ == "__main__":
    run(Settings())
