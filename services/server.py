"""What servers share: processes that are started, waited for and stopped by their own pid; free ports; packages.

A server is a process of its own session, so that it outlives the command that started it, and Ctrl-C in a terminal does
not reach it. Its pid is kept with the time it was born: a number that another process has got since is never signalled.
"""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

START_S_MAX = 60.0
"""A machine many times slower than ours still starts within it."""
STOP_S_MAX = 30.0
POLL_S = 0.02
POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's packages whether they may start a server by themselves (deb-systemd-invoke)."""


class CannotStart(Exception):
    """The server cannot be had here, or did not come up; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that we started."""

    pid: int
    born: int
    """When, in clock ticks since boot (proc(5), field starttime)."""
    stop_signal: int = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answered. `address` is what a client needs, passwords too; JSON values only."""

    processes: Sequence[Process]
    """In the order in which they were started; they are stopped from the last to the first."""
    address: Mapping[str, Any]


class Server(Protocol):
    """One kind of server. Each module of one has it by this name as `SERVER`."""

    name: str
    by_default: bool
    """Whether it is started when none is named."""

    def packages(self) -> Sequence[str]:
        """Debian packages still to be installed."""
        ...

    def start(self, folder: Path, port: int = 0) -> Running:
        """Start it with all it keeps in `folder`, again or for the first time, on a free port if none is named; returns
        once a logged-in client got an answer. Raises `CannotStart`.
        """
        ...


@runtime_checkable
class Several(Server, Protocol):
    """A server that is several, so that one may die. Each is a process, in the order of its number, from 1 on."""

    count: int

    def start_one(self, folder: Path, processes: Sequence[Process], number: int) -> Process:
        """Start one that has ended, beside the others; returns once it does its part again. Raises `CannotStart`."""
        ...

    def promote(self, folder: Path, processes: Sequence[Process], number: int) -> None:
        """Make this one the primary. Raises `CannotStart` if there is no such thing, or it cannot be."""
        ...


PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections (ip(7), `ip_local_port_range`): one of these could take a port
before its server, which needs seconds to start, does."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listened on a moment ago. Raises `CannotStart`."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CannotStart("no port is free on 127.0.0.1")


_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""Those started by this very process, which must be waited for or they stay as zombies."""


def spawn(
    command: Sequence[str],
    folder: Path,
    log: Path,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    stop_signal: int = signal.SIGTERM,
) -> Process:
    """Start a server in a session of its own, with nothing of our environment but PATH. Its words go to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd="/",
            env=clean_environment(folder, environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    _children[child.pid] = child
    return Process(child.pid, _born(child.pid) or 0, stop_signal)


def run(command: Sequence[str], folder: Path, user: str | None = None, **environment: str) -> str:
    """Run a tool of a server to its end; returns what it said. Raises `CannotStart` with that if it failed."""
    done = subprocess.run(
        command,
        cwd="/",
        env=clean_environment(folder, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise CannotStart(f"{Path(command[0]).name} failed: {done.stdout.strip()}")
    return done.stdout


def clean_environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """PATH, language and home, and nothing that somebody has set for a server of their own."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), **(more or {})}


def _born(pid: int) -> int | None:
    """When process `pid` was born; None if there is none, or only its corpse is left."""
    try:
        # after the name, which is in parentheses and may hold anything
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in ("Z", "X") else int(fields[18])


def alive(process: Process) -> bool:
    """Whether that very process runs, not another that has got its number since."""
    if child := _children.get(process.pid):
        child.poll()
    return process.born != 0 and _born(process.pid) == process.born


def is_running(pid: int) -> bool:
    """Whether there is a process of that number that is more than a corpse."""
    return _born(pid) is not None


def children(process: Process) -> list[Process]:
    """The processes that it has started itself and that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (born := _born(int(entry.name))) is not None:
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == process.pid:
                found.append(Process(int(entry.name), born))
    return found


def send(process: Process, number: int) -> None:
    """Signal it, if it is still there."""
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def stop(processes: Sequence[Process]) -> None:
    """Stop them, the last first, each before the next is told. Raises `CannotStart` if one does not end."""
    for process in reversed(processes):
        send(process, process.stop_signal)
        wait_gone([process])


def kill(processes: Sequence[Process]) -> None:
    """End them and all they started at once, as a power cut would, and wait until every pid is gone."""
    doomed = [*processes, *(child for process in processes for child in children(process))]
    for process in doomed:
        send(process, signal.SIGKILL)
    wait_gone(doomed)


def pause(processes: Sequence[Process], paused: bool) -> None:
    """Let them and all they started stand still, or go on. Parents first, which then start no more."""
    for process in processes:
        for each in (process, *children(process)):
            send(each, signal.SIGSTOP if paused else signal.SIGCONT)


def wait_gone(processes: Sequence[Process]) -> None:
    """Return once none of them is there: until then a port or a lock of theirs may still be held."""
    wait_until(lambda: not any(alive(each) for each in processes), STOP_S_MAX, "processes did not end")
    for process in processes:
        if (child := _children.get(process.pid)) and child.poll() is not None:
            del _children[process.pid]


def wait_until(reached: Callable[[], bool], within_s: float, otherwise: str) -> None:
    """Poll until `reached`. Raises `CannotStart` with the message `otherwise` after `within_s`."""
    deadline = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > deadline:
            raise CannotStart(f"{otherwise} within {within_s:g} s")
        time.sleep(POLL_S)


def wait_ready(process: Process, answered: Callable[[], str], log: Path, within_s: float = START_S_MAX) -> None:
    """Ask until `answered` returns no complaint. Raises `CannotStart`, and kills it, if it does not."""
    complaint = ""

    def reached() -> bool:
        nonlocal complaint
        if not alive(process):
            raise CannotStart(f"it ended at once; {log} closes with:\n{last_lines(log)}")
        complaint = answered()
        return not complaint

    try:
        wait_until(reached, within_s, "it gave no answer")
    except CannotStart as error:
        kill([process])
        raise CannotStart(f"{error} {complaint}".strip()) from None


def last_lines(log: Path, count: int = 10) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def is_installed(package: str) -> bool:
    """Whether the Debian package is there, configured."""
    try:
        told = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return told.stdout.endswith(" installed")


def install(packages: Sequence[str]) -> None:
    """Install Debian packages without the servers they would start. Raises `CannotStart` if that is not possible."""
    if not packages:
        return
    wish = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        raise CannotStart(f"it is not installed, and only root may: sudo {wish}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with _no_servers_started_by_packages():
        for command in (["apt-get", "-q", "update"], [*wish.split(), "-q", "-y"]):
            try:
                done = subprocess.run(
                    command, env=quiet, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            except FileNotFoundError as error:
                raise CannotStart(f"no apt-get here; install what Debian calls {' '.join(packages)}") from error
            if done.returncode:
                raise CannotStart(f"{' '.join(command)} failed:\n{done.stdout.decode(errors='replace').strip()}")


@contextmanager
def _no_servers_started_by_packages() -> Iterator[None]:
    """On somebody's own Debian the packages would start a PostgreSQL on 5432 and a broker on every address."""
    if POLICY.exists():  # a container's, which says the same
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
