"""`tally up`: the processes of one machine, supervised together, or one of them in the foreground."""

import fcntl
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tallystick.clock import SystemClock
from tallystick.compose import moved, shards
from tallystick.errors import Invalid, Unavailable
from tallystick.settings import Settings
from tallystick.supervise import status
from tallystick.supervise.processes import Spec, SystemLauncher, kill_orphan
from tallystick.supervise.signals import Signals
from tallystick.supervise.supervisor import Event, Supervisor

PROCESSES: dict[str, str] = {
    "engine": "tallystick.compose.engine",
    "gateway": "tallystick.compose.gateway",
    "projector": "tallystick.compose.projector",
    "notifier": "tallystick.compose.notifier",
    "signer": "tallystick.compose.signer",
    "auditor": "tallystick.compose.auditor",
    "relay": "tallystick.compose.relay",
}
"""Name → module whose `run(settings)` is the process, in the order of their start."""
FOLLOWERS = ("projector", "notifier", "signer", "auditor")
"""Those that come along behind the journal; `TALLY_FOLLOWERS` says which of them `tally up` runs."""
RELAY = "relay"
"""A follower, too, which `tally up` runs if `TALLY_RELAY` says where to."""
FOLLOWER_NICE = 10
"""So that on a small machine a follower that has much to do takes little from a payment (DESIGN §1), where it is not
idle (`TALLY_FOLLOWERS_IDLE`)."""
FOLLOWER_PATIENCE = 10
"""One that dies again and again is started after 1, 2, 4, 8, 10 s: what it owes is late then, payments are not."""
ALONE: dict[str, str] = {"witness": "tallystick.compose.witness"}
"""Processes that `tally up NAME` runs and `tally up` does not: they belong to somebody else."""
ORPHAN_LOOK_S = 0.01
ORPHAN_LOOKS = 1000
STATUS_AGAIN_S = 0.5
"""How soon the status file is tried again if it could not be written."""


def specs(settings: Settings) -> list[Spec]:
    """What `supervise` keeps running: engine, gateways and followers, as many and those that the settings say.

    Further gateways are called `gateway-2` and so on, and take the ports after the first one's; each has lanes of
    its own on the intake. With several shards those from 1 on have processes of their own, called `engine@1` and so on;
    the gateways serve them all.
    """
    wanted = settings.followers.replace(",", " ").split()
    if unknown := set(wanted) - set(FOLLOWERS):
        raise Invalid("TALLY_FOLLOWERS", f"{', '.join(sorted(unknown))}: there are {', '.join(FOLLOWERS)}")
    followers = [name for name in FOLLOWERS if name in wanted] + ([RELAY] if settings.relay else [])
    further = [shards.of(settings, number) for number in range(1, settings.shards)]
    found = [Spec("engine", _command("engine", settings, settings.http_port))]
    found += [Spec(_of_shard("engine", each), _command("engine", each, settings.http_port)) for each in further]
    found.append(Spec("gateway", _command("gateway", settings, settings.http_port)))
    for number in range(2, settings.gateways + 1):
        port = settings.http_port and settings.http_port + number - 1  # 0: each finds one
        found.append(Spec(f"gateway-{number}", _command("gateway", settings, port)))
    for each in (settings, *further):
        found += [
            follower(_of_shard(name, each), _command(name, each, settings.http_port), settings) for name in followers
        ]
    return found


def _of_shard(name: str, settings: Settings) -> str:
    """What a process is called: those of shards from 1 on have its number behind their name."""
    return f"{name}@{settings.shard}" if settings.shards > 1 and settings.shard else name


def follower(name: str, command: tuple[str, ...], settings: Settings) -> Spec:
    """How a follower is run: behind everything that is on the way of a payment."""
    return Spec(name, command, FOLLOWER_NICE, settings.followers_idle, FOLLOWER_PATIENCE)


def run_one(name: str, settings: Settings) -> None:
    """Run one process here, until it ends. Raises what it raises; KeyError for a name that is no process."""
    _refuse_forgetful(settings)
    moved.refuse(settings)
    run: Callable[[Settings], None] = importlib.import_module({**PROCESSES, **ALONE}[name]).run
    run(settings)


def supervise(settings: Settings, report: Callable[[Event], None]) -> bool:
    """Keep all processes of this machine (`specs`) running until SIGTERM or SIGINT, then stop them. Main thread only.

    Their output goes to this process's standard error. Returns False if one of them ended for good by itself.
    Raises `Unavailable` if the data folder is already being supervised, `Invalid` for adapters that forget, and for an
    intake or a relay that no process could understand.
    """
    _refuse_forgetful(settings)
    _refuse_senseless(settings)
    moved.refuse(settings)
    shards.make_folders(settings)
    folder = settings.path("run")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(settings):
        _end_orphans(settings)
        launcher = SystemLauncher(sys.stderr.fileno())
        supervisor = Supervisor(specs(settings), launcher, SystemClock(), _undisturbed(report))
        with Signals() as signals:
            told = None
            while not supervisor.finished:
                timeout_s = supervisor.step()
                now = supervisor.status(os.getpid())
                if now != told:
                    # A full disk ends processes, so they must be started again just then: the file can wait.
                    try:
                        status.write(folder, now)
                        told = now
                    except OSError:
                        timeout_s = STATUS_AGAIN_S if timeout_s is None else min(timeout_s, STATUS_AGAIN_S)
                if not supervisor.finished and signals.wait(timeout_s) - {signal.SIGCHLD}:
                    supervisor.stop()
        status.remove(folder)
        return not supervisor.failed


def _undisturbed(report: Callable[[Event], None]) -> Callable[[Event], None]:
    """A `report` that may fail: what it is written to may be on the full disk, or a pipe that nobody reads any more."""

    def tell(event: Event) -> None:
        with suppress(OSError):
            report(event)

    return tell


def _refuse_forgetful(settings: Settings) -> None:
    """What is told to a client must outlive the process that told it."""
    for name in ("journal", "intake"):
        if getattr(settings, name) == "memory":
            raise Invalid(f"TALLY_{name.upper()}", "memory is for tests and `Ledger.in_memory`: set it to files")


def _refuse_senseless(settings: Settings) -> None:
    """A broker's address that is wrong is told once, here, and not by each process again and again."""
    if settings.intake != "files":
        from tallystick.compose import intake

        intake.address(settings)
    if settings.relay:
        from tallystick.compose import relay

        relay.address(settings)


def _command(name: str, settings: Settings, port: int) -> tuple[str, ...]:
    """How to start one process with these settings; what has no flag here it inherits from the environment."""
    flags: dict[str, object] = {
        "--data": settings.data.absolute(),
        "--shard": settings.shard,
        "--host": settings.http_host,
        "--port": port,
    }
    if settings.shards > 1:
        flags["--shards"] = settings.shards
    accepted = ("--accept-clock",) if settings.accept_clock else ()
    words = [str(word) for flag in flags.items() for word in flag]
    return (sys.executable, "-m", "tallystick.cli.main", "up", name, *words, *accepted)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder's supervisor lock. The kernel frees it however this process ends."""
    with settings.path("run", "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            running = status.read(settings.path("run"))
            by = f" (pid {running.pid})" if running else ""
            raise Unavailable(f"{settings.data} is already up{by}; stop that one first, or use --data") from error
        yield


def _end_orphans(settings: Settings) -> None:
    """A supervisor that was killed left its processes running; their locks must be free before ours start.

    Raises `Unavailable` if one of them does not end although it was killed.
    """
    left = status.read(settings.path("run"))
    waiting = threading.Event()
    for process in left.processes if left else []:
        if process.pid is None or process.start_ticks is None:
            continue
        # A large process takes a moment to end, and an engine that finds the lock still held would give up.
        for _ in range(ORPHAN_LOOKS):
            if not kill_orphan(process.pid, process.start_ticks):
                break
            waiting.wait(ORPHAN_LOOK_S)
        else:
            raise Unavailable(f"the {process.name} of an earlier start (pid {process.pid}) does not end; end it first")
