"""One follower beside a platform that runs without: as the supervisor would start it, for as long as a bench wants."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tallystick.clock import SystemClock
from tallystick.compose import up
from tallystick.lab.instance import Instance, pause, tally
from tallystick.settings import Settings
from tallystick.supervise.processes import Process, Spec, SystemLauncher
from tallystick.supervise.supervisor import Supervisor

LOOK_S = 0.002
LOOK_AGAIN_S = 0.02
"""How often it is looked whether it is time to kill: cheap, and good enough for tenths of a second."""


@contextmanager
def follower(instance: Instance, name: str) -> Iterator[Process]:
    """A follower as the supervisor would start it, in our session; gone at the end."""
    child = _start(instance, name)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        child.kill()
        while child.poll() is None:
            pause(LOOK_S)


@contextmanager
def killed(instance: Instance, name: str, lives_s: float, works: Callable[[], None]) -> Iterator[None]:
    """A follower that was at work, ends by SIGKILL now and `lives_s` after each start, and is started again as `tally
    up` does it, by a supervisor. `works` returns once it is at work.
    """
    kill, stop = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        supervised = threads.submit(_supervise, instance, name, lives_s, kill, stop)
        try:
            works()
            kill.set()
            yield
        finally:
            stop.set()
            supervised.result()


def _supervise(instance: Instance, name: str, lives_s: float, kill: threading.Event, stop: threading.Event) -> None:
    """Keep it running, and from `kill` on kill it: at once, and each of its successors when it has lived."""
    clock = SystemClock()
    victim = None
    with instance.log_path.open("ab") as log:
        launcher = SystemLauncher(log.fileno())
        supervisor = Supervisor([_spec(instance, name)], launcher, clock, lambda event: None)
        while not supervisor.finished:
            supervisor.step()
            [row] = supervisor.status(os.getpid()).processes
            lived_s = (clock.wall_ns() - row.started_at_ns) / 1e9
            is_due = kill.is_set() and (victim is None or lived_s >= lives_s)
            if row.pid is not None and (is_due or stop.is_set()):
                victim = row.pid
                os.kill(victim, signal.SIGKILL)  # ours, and not waited for but by the next step
            if stop.is_set():
                supervisor.stop()
            pause(LOOK_AGAIN_S)


def _start(instance: Instance, name: str) -> Process:
    with instance.log_path.open("ab") as log:
        return SystemLauncher(log.fileno())(_spec(instance, name))


def _spec(instance: Instance, name: str) -> Spec:
    command = (
        "env",
        *instance.environment,
        "TALLY_WEBHOOK_LOOPBACK=true",
        *tally("up", name, "--data", str(instance.folder)),
    )
    return up.follower(name, command, Settings())
