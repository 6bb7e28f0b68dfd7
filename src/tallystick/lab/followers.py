"""One follower beside a platform that runs without: as the supervisor would start it, for as long as a bench wants."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tallystick.compose import up
from tallystick.lab.instance import Instance, pause, tally
from tallystick.settings import Settings
from tallystick.supervise.processes import Process, SystemLauncher

LOOK_S = 0.002


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


def _start(instance: Instance, name: str) -> Process:
    command = (
        "env",
        *instance.environment,
        "TALLY_WEBHOOK_LOOPBACK=true",
        *tally("up", name, "--data", str(instance.folder)),
    )
    with instance.log_path.open("ab") as log:
        return SystemLauncher(log.fileno())(up.follower(name, command, Settings()))
