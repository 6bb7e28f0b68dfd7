"""What is done to the platform while it works: processes killed, stopped, a clock that jumps, a disk that is full.

The full disk is made with RLIMIT_FSIZE of setrlimit(2), set from outside by prlimit(2): no root, no other file system.
Every write past the limit fails with EFBIG where ENOSPC would be, and one across it is cut short at that very byte,
as on a full disk. What a machine does not allow is told (`shortfalls`).
"""

import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tallystick.clock import SystemClock, write_offset
from tallystick.errors import Unavailable
from tallystick.lab.history.calls import Wound
from tallystick.lab.history.file import HistoryFile
from tallystick.lab.instance import Instance
from tallystick.lab.torture.pulse import Pulse

BETWEEN_S = (0.3, 2.5)
BREATHER = 0.3
"""How often the next wound waits until the platform decides again. Those in between hurt one that is getting up."""
STOPPED_S = (0.1, 2.5)
FULL_S = (0.3, 3.0)
SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
ENOUGH_BYTES = 1 << 20
"""A full disk lets files grow to some size below this."""


@dataclass
class Wounds:
    """Hurts an instance, one wound after the other, until told to stop. All chance is the seed's."""

    instance: Instance
    random: Random
    history: HistoryFile
    clock: SystemClock
    offset_file: Path
    stopped: threading.Event
    pulse: Pulse
    counts: Counter[str] = field(default_factory=Counter)
    shortfalls: list[str] = field(default_factory=list)
    latest: str = ""

    def run(self) -> None:
        """Wound after wound; leaves nothing stopped, put off or full behind."""
        wounds: list[tuple[Callable[[], None], int]] = [
            (self._kill, 8),
            (self._stop, 6),
            (self._jump, 5),
            (self._fill, 4),
            (self._kill_supervisor, 1),
        ]
        choices, weights = [each for each, _ in wounds], [weight for _, weight in wounds]
        try:
            while not self.stopped.wait(self.random.uniform(*BETWEEN_S)):
                if self.random.random() < BREATHER:
                    self.pulse.wait(self.stopped)
                self.random.choices(choices, weights)[0]()
        finally:
            write_offset(self.offset_file, 0)

    @property
    def kills(self) -> int:
        """Processes killed so far."""
        return self.counts["kill"]

    def _note(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self.latest = what
        self.history.add(Wound(at_ns=self.clock.monotonic_ns(), what=what))

    def _names(self) -> list[str]:
        names = [process.name for process in self.instance.processes() if process.pid is not None]
        chance = self.random.random()
        if chance < 0.08:
            return names  # all at once
        engines = [name for name in names if name == "engine"]
        return engines if chance < 0.5 else [self.random.choice(names)] if names else []

    def _kill(self) -> None:
        for name in self._names():
            with suppress(Unavailable):  # it died by itself, or is being started
                self.instance.kill(name)
                self._note("kill", f"killed the {name}")

    def _kill_supervisor(self) -> None:
        """What it ran goes on alone for a while, until the next supervisor ends it and starts it anew."""
        self.instance.kill_supervisor()
        self._note("kill", "killed the supervisor")
        self.stopped.wait(self.random.uniform(*STOPPED_S))
        self.instance.start()

    def _stop(self) -> None:
        for name in self._names()[:1]:
            with suppress(Unavailable, ProcessLookupError):
                pid = self.instance.pid(name)
                os.kill(pid, signal.SIGSTOP)
                self._note("stop", f"stopped the {name}")
                try:
                    self.stopped.wait(self.random.uniform(*STOPPED_S))
                    if self.random.random() < 0.2:
                        os.kill(pid, signal.SIGKILL)
                        self._note("kill", f"killed the {name} while it was stopped")
                finally:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)

    def _jump(self) -> None:
        chance = self.random.random()
        far = 48 * HOUR_NS if chance < 0.05 else 2 * HOUR_NS if chance < 0.15 else 30 * SECOND_NS
        offset_ns = 0 if chance > 0.8 else self.random.randint(-far, far)
        write_offset(self.offset_file, offset_ns)
        self._note("jump", f"put the wall clock off by {offset_ns / SECOND_NS:+.1f} s")
        if abs(offset_ns) > 24 * HOUR_NS:  # so far off that an engine refuses to start: a person would notice
            self.stopped.wait(self.random.uniform(*STOPPED_S))
            write_offset(self.offset_file, 0)
            self._note("jump", "put the wall clock right")

    def _fill(self) -> None:
        """No process of the platform, nor one that is started meanwhile, can write beyond some byte of a file."""
        limit = self.random.choice((0, self.random.randint(0, ENOUGH_BYTES)))
        pids = {*self.instance.groups().values()}
        try:
            for pid in pids:
                _limit(pid, limit)
        except PermissionError as error:
            self._cannot("fill the disk", error)
            return
        self._note("full", f"disk full: no file may be written past byte {limit:,}")
        try:
            self.stopped.wait(self.random.uniform(*FULL_S))
        finally:
            for pid in pids | {*self.instance.groups().values()}:
                _limit(pid, resource.RLIM_INFINITY)
            self._note("room", "there is room on the disk again")

    def _cannot(self, what: str, error: OSError) -> None:
        told = f"could not {what} on this machine: {error}"
        if told not in self.shortfalls:
            self.shortfalls.append(told)


def _limit(pid: int, limit: int) -> None:
    """Set the soft limit alone, so that it can be lifted again. A process that is gone needs none."""
    with suppress(ProcessLookupError):
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if limit == resource.RLIM_INFINITY else limit, hard))
