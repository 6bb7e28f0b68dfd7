"""Starting the load generator (`lab.load`) as a process of its own, and listening to it."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tallystick.errors import Unavailable
from tallystick.lab import load


class LoadRun:
    """The load generator (`lab.load`) as a process of its own. `progress` is its latest line."""

    def __init__(self, config: load.Config) -> None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._before_us = round((used.ru_utime + used.ru_stime) * 1e6)
        self._decoder = msgspec.json.Decoder(load.Progress)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tallystick.lab.load", msgspec.json.encode(config).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.progress = load.Progress(
            connected=0, started=0, answered=0, refused=0, retried=0, errors=0, p50_ms=0.0, p99_ms=0.0
        )

    def lines(self) -> Iterator[None]:
        """Once for each line of progress, until the run is over. Raises `Unavailable` if the generator broke."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.progress = self._decoder.decode(line)
            yield
        code = self._child.wait()
        if code != 0 or not self.progress.done:
            raise Unavailable(f"the load generator ended with code {code}")

    def cpu_us(self) -> int:
        """CPU time it took, in microseconds, once `lines` has come to its end: to see whether it was the bottleneck."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return round((used.ru_utime + used.ru_stime) * 1e6) - self._before_us

    def keep_back_no_more(self) -> None:
        """Let it go on with the payments that it kept back, once it has printed a line."""
        self._child.send_signal(signal.SIGUSR1)

    def start_no_more(self) -> None:
        """Let it finish what is in flight and end; go on reading `lines`."""
        self._child.terminate()

    def kill(self) -> None:
        """End it if it still runs."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


@contextmanager
def load_run(config: load.Config) -> Iterator[LoadRun]:
    """A load generator that does not outlive the context."""
    run = LoadRun(config)
    try:
        yield run
    finally:
        run.kill()
