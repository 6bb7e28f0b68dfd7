"""One follower beside a platform that runs without: as the supervisor would start it, for as long as a bench wants."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tallystick.compose.up import FOLLOWER_NICE
from tallystick.lab.instance import Instance, tally


@contextmanager
def follower(instance: Instance, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A follower as the supervisor would start it; gone at the end."""
    child = _start(instance, name)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        child.kill()
        child.wait()


def _start(instance: Instance, name: str) -> "subprocess.Popen[bytes]":
    with instance.log_path.open("ab") as log:
        child = subprocess.Popen(
            ["env", "TALLY_WEBHOOK_LOOPBACK=true", *tally("up", name, "--data", str(instance.folder))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.setpriority(os.PRIO_PROCESS, child.pid, FOLLOWER_NICE)
    with suppress(OSError):
        Path(f"/proc/{child.pid}/autogroup").write_text(str(FOLLOWER_NICE // 2))
    return child
