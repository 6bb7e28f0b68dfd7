"""What the supervisor may do with a process: a small port, and its adapter for the operating system.

Processes start by exec, never by fork, each the leader of its own group: a Ctrl-C in the terminal reaches only the
supervisor, and killing the group leaves nothing of a process behind. All are of the supervisor's session, since that is
what Linux's scheduler may group by (sched(7), "autogroup"): a priority counts among the processes of one session only.
"""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Spec:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    nice: int = 0
    """Scheduling priority, 0 to 19: followers run above 0, so that they never starve the engine (DESIGN §1)."""
    idle: bool = False
    """Run only while nothing else wants a processor (SCHED_IDLE, sched(7)); leave it at once when something does."""
    patience: int = 1
    """How many times longer than others it waits before it is started again, and must run to count as healthy: a start
    costs half a second of a processor, which payments feel if it comes again and again."""


class Process(Protocol):
    """One started process."""

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        ...

    @property
    def start_ticks(self) -> int:
        """When it started, in clock ticks since the machine did: with the pid, an identity no later process has."""
        ...

    def poll(self) -> int | None:
        """None while it runs, else its exit code, or minus the number of the signal that ended it."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM). Harmless if it already has."""
        ...

    def kill(self) -> None:
        """End it and whatever it started (SIGKILL to its group). Harmless if nothing is left."""
        ...


class Launcher(Protocol):
    """Starts processes."""

    def __call__(self, spec: Spec) -> Process:
        """Start it now. Raises `OSError` if that cannot be done."""
        ...


class SystemProcess:
    """A child process of this one."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._start_ticks = start_ticks(child.pid) or 0

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def start_ticks(self) -> int:
        return self._start_ticks

    def poll(self) -> int | None:
        return self._child.poll()

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        # The group may outlive its leader; as long as it does, no other process can get its number.
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)


class SystemLauncher:
    """Starts child processes whose output goes, line by line as they wrote it, to `log` (a file descriptor)."""

    def __init__(self, log: int) -> None:
        self._log = log

    def __call__(self, spec: Spec) -> SystemProcess:
        child = subprocess.Popen(
            spec.command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, process_group=0
        )
        # At once: threads inherit both from the thread that starts them, and the imports alone take a second or two.
        with suppress(ProcessLookupError):
            if spec.nice:
                os.setpriority(os.PRIO_PROCESS, child.pid, spec.nice)
            if spec.idle:
                _make_idle(child.pid)
        return SystemProcess(child)


def _make_idle(pid: int) -> None:
    """Nice alone lets it end its slice, up to 4 ms, before a payment gets the processor; this does not (ADR 0015)."""
    with suppress(PermissionError):  # a container's rules may forbid the call: then it is nice
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def start_ticks(pid: int) -> int | None:
    """When process `pid` started, in ticks since the machine did (proc_pid_stat(5), field 22); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses and may hold anything, parentheses and blanks included.
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return int(fields[19])


def kill_orphan(pid: int, ticks: int) -> bool:
    """End what an earlier supervisor started and left, if it still runs. True if there was something to end.

    Ends nothing that merely got the same number since: a process is its pid and its start.
    """
    if start_ticks(pid) != ticks:
        return False
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return True
