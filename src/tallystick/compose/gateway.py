"""The gateway process: `Settings` → a running gateway, until SIGTERM or SIGINT.

One event loop for HTTP, one thread for each of the two lanes, one that readies their next segments. Stopping takes
nothing new on, lets those who wait have their outcome (bounded), then gives the lanes up for the next process.
"""

import asyncio
import gc
import resource
import signal
import threading
from functools import partial

import structlog
import uvloop

from tallystick.acts.currencies import Currencies
from tallystick.acts.port import CONTROL, LOGS
from tallystick.answers.addresses import address
from tallystick.answers.gatewayend import GatewayEnd
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import archiving, logs
from tallystick.compose.acting import ActAppender, LazyActs
from tallystick.compose.auditor import open_act_log, open_log
from tallystick.compose.intake import open_intake
from tallystick.compose.texts import open_texts
from tallystick.engine import scrub
from tallystick.errors import TallystickError, Unavailable
from tallystick.gateway.app import App
from tallystick.gateway.auth import Keys
from tallystick.gateway.calls import Service
from tallystick.gateway.connections import CONNECTIONS_MAX, Connections
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.platform import Platform, ProcessSeen
from tallystick.gateway.requests import Requests
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
    archiving.refuse_behind(settings, disk)
    lanes = Lanes(open_intake(settings, disk, clock, entropy))
    metrics.scrub = partial(scrub.seen, disk, settings.path("engine"))
    metrics.platform = Platform(settings.path("run"), clock, partial(_processes, settings)).metrics
    link = GatewayEnd(address(settings.data), entropy, lambda *push: requests.on_results(*push))
    requests = Requests(settings, lanes.open, link, metrics, clock, end, disk.free_share)
    followers = {name: InquiryEnd(name, address(settings.data, name), clock) for name in ASKED}
    acts = ActAppender(settings)
    texts = open_texts(settings)
    said = LazyActs(settings, CONTROL)
    act_logs = {name: open_act_log(settings, name) for name in LOGS}
    service = Service(
        settings.wait_s,
        requests,
        link,
        metrics,
        clock,
        followers,
        open_log(settings),
        acts,
        texts,
        act_logs,
        Currencies(said),
    )
    app = App(service, Keys(settings.keys_path), entropy)
    connections = Connections(app, clock, settings.body_bytes_max)
    try:
        await requests.start()
        lanes.start()
        server, port = await _listen(connections, settings.http_host, settings.http_port)
        # What stands now stands for good; the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        _log.info("gateway listening", host=settings.http_host, port=port)
        await asyncio.wait([stop])
        server.close()
        await _drain(connections, requests)
        stop.result()
        _log.info("gateway stopped")
    finally:
        connections.abort()
        await requests.close()
        lanes.close()
        link.close()
        acts.close()
        texts.close()
        said.close()
        for follower in followers.values():
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


async def _listen(connections: Connections, host: str, port: int) -> tuple[asyncio.Server, int]:
    """Take connections; returns the server and its port, found if `port` is 0. Raises `Unavailable`."""
    try:
        server = await connections.loop.create_server(connections.connect, host, port, backlog=CONNECTIONS_MAX)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host} port {port}: {error}; choose another port") from error
    return server, int(server.sockets[0].getsockname()[1])


async def _drain(connections: Connections, requests: Requests) -> None:
    """Nothing new; outcomes for those who wait, as far as they come in time; then "not known" for the rest."""
    requests.stopping = True
    connections.close()
    deadline_s = asyncio.get_running_loop().time() + STOP_S
    while asyncio.get_running_loop().time() < deadline_s and not requests.idle:
        await asyncio.sleep(0.01)
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
