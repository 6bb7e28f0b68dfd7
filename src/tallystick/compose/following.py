"""What every follower's process does around its steps: wait, say how far it is, stop when told, be alone.

The main thread follows. Signals set an event that ends the wait at hand; a step is bounded, so stopping takes no longer
than one.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

from tallystick.blockfile.disk import Disk
from tallystick.clock import Clock
from tallystick.journal import progress
from tallystick.journal.follow import Follower
from tallystick.journal.pacing import Pace
from tallystick.settings import Settings

PROGRESS_EVERY_NS = 500_000_000
LITTLE = 1_000
"""Entries that are no reason to hurry."""
FEW_PROCESSORS = 3
"""With so many, or fewer, a follower that has one all the time is felt by payments (ADR 0015)."""
SHARE = 0.03
_log = structlog.get_logger("tallystick.compose.following")


def pace(settings: Settings, clock: Clock, speed: int) -> Pace:
    """The pace of a follower far behind that takes in `speed` entries a second, as `TALLY_FOLLOWERS_SHARE` says."""
    few = len(os.sched_getaffinity(0)) <= FEW_PROCESSORS
    return Pace(clock, speed, settings.followers_share or (SHARE if few else 1.0))


class Walk:
    """Steps a follower until it is told to stop or something fails."""

    def __init__(self, name: str, follower: Follower, run_folder: Path, clock: Clock, rest_s: float = 0) -> None:
        """Main thread only: from here on SIGTERM and SIGINT end it after the step at hand, if one has begun.

        `rest_s`: how long to rest at least when little is left to take in, so that what comes shares a commit.
        """
        self._name = name
        self._follower = follower
        self._folder = run_folder
        self._clock = clock
        self._rest_s = rest_s
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._written_ns = -PROGRESS_EVERY_NS
        self._trouble = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def fail(self, error: BaseException) -> None:
        """End, and raise this. From any thread: what a helper of the follower died of."""
        self._failure = self._failure or error
        self._stop.set()

    def run(self, moved: Callable[[int], None] = lambda next_seq: None) -> None:
        """Until it is told to stop. `moved` hears after each step how far it is. Raises what ended it."""
        while not self._stop.is_set():
            wait_s = self._follower.step()
            seen = self._follower.progress()
            moved(seen.next_seq)
            if seen.trouble != self._trouble:
                self._trouble = seen.trouble
                if self._trouble:
                    _log.warning("not possible now; tried again", follower=self._name, error=self._trouble)
                else:
                    _log.info("possible again", follower=self._name, next_seq=seen.next_seq)
            self._tell()
            level = seen.end - seen.next_seq < LITTLE
            self._stop.wait(max(wait_s, self._rest_s) if level else wait_s)
        self._written_ns = -PROGRESS_EVERY_NS
        self._tell()
        if self._failure is not None:
            raise self._failure

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()

    def _tell(self) -> None:
        """Write the progress file, now and then. A disk that is full keeps nobody from following."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._written_ns < PROGRESS_EVERY_NS:
            return
        self._written_ns = now_ns
        seen = self._follower.progress()
        told = progress.ProgressFile(
            name=self._name,
            pid=os.getpid(),
            next_seq=seen.next_seq,
            since_ns=seen.since_ns,
            written_at_ns=self._clock.wall_ns(),
            trouble=seen.trouble,
        )
        try:
            progress.write(self._folder, told)
        except OSError as error:
            _log.warning("the progress file could not be written", follower=self._name, error=str(error))


@contextmanager
def alone(disk: Disk, run_folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of the follower `name` in this data folder. Raises `Fenced` if another process is it."""
    lock = disk.lock(run_folder / f"{name}.lock")
    try:
        yield
    finally:
        lock.release()
