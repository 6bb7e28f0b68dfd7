"""Thousands of simulated stories, on all cores: each seed is one, and one that fails can be lived through again.

Workers are processes of their own, started by exec; each takes every n-th seed and says a line for every story.
"""

import gc
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO

import msgspec

from tallystick.clock import SystemClock
from tallystick.errors import TallystickError

NS = 1_000_000_000
FAILURES_MAX = 20
"""After so many failures it stops: more are no news."""
SEEDS_MAX = 1 << 62
COLLECT_EVERY = 10
"""Stories; the collector does not see that a dead story's few objects hold megabytes of books."""


class Lived(msgspec.Struct, frozen=True):
    """One story, as a worker tells of it."""

    seed: int
    failure: str
    """Empty: nothing is wrong."""
    happened: dict[str, int]
    by_status: dict[str, int]


class Report(msgspec.Struct, kw_only=True):
    """All stories together."""

    first_seed: int
    seeds: int = 0
    failures: dict[int, str] = msgspec.field(default_factory=dict)
    """What was wrong, by seed."""
    seconds: float = 0.0
    stories_a_minute: float = 0.0
    happened: dict[str, int] = msgspec.field(default_factory=dict)
    by_status: dict[str, int] = msgspec.field(default_factory=dict)
    """Entries by kind and status."""

    @property
    def ok(self) -> bool:
        """Whether there were stories, and each ended well."""
        return self.seeds > 0 and not self.failures


def run(
    first: int,
    seeds: int,
    seconds: float | None,
    show: Callable[[Report], None],
    workers: int = 0,
    broker: bool = False,
) -> Report:
    """Live through `seeds` stories from seed `first` on; with `seconds`, as many as fit into that time.

    `show` sees the report after each. `workers` is how many processes; 0: one a core. `broker` as in `Simulation`.
    """
    if _worker(first, 1, 0, 0.0, broker).wait():  # compiles what is not compiled yet, once and not in every worker
        raise TallystickError("a worker cannot start; what it wrote says why")
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    count = workers or len(os.sched_getaffinity(0))
    report = Report(first_seed=first)
    happened: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    until = 0.0 if seconds is None else seconds
    processes = [
        _worker(first + number, count, -(-(seeds - number) // count), until, broker) for number in range(count)
    ]
    try:
        for lived in _told([process.stdout for process in processes if process.stdout is not None]):
            report.seeds += 1
            if lived.failure:
                report.failures[lived.seed] = lived.failure
            happened.update(lived.happened)
            by_status.update(lived.by_status)
            report.happened, report.by_status = happened, by_status
            report.seconds = (clock.monotonic_ns() - began_ns) / NS
            report.stories_a_minute = report.seeds / report.seconds * 60
            show(report)
            if len(report.failures) >= FAILURES_MAX:
                break
        else:
            if any(process.wait() for process in processes):
                raise TallystickError("a worker ended before its stories did; what it wrote says why")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return report


def _worker(first: int, step: int, count: int, seconds: float, broker: bool) -> "subprocess.Popen[bytes]":
    words = [str(each) for each in (first, step, count, seconds, int(broker))]
    return subprocess.Popen([sys.executable, "-m", "tallystick.lab.simulation_seeds", *words], stdout=subprocess.PIPE)


def _told(pipes: list[IO[bytes]]) -> Iterator[Lived]:
    """What workers say, as it comes, until all have ended."""
    decoder = msgspec.json.Decoder(Lived)
    with selectors.DefaultSelector() as selector:
        rest = {}
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
            rest[pipe.fileno()] = b""
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 65_536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                *lines, rest[key.fd] = (rest[key.fd] + data).split(b"\n")
                yield from map(decoder.decode, lines)


def live(seed: int, story: Callable[[str], None] | None = None, broker: bool = False) -> Lived:
    """One story; the kernel must have its cache. Whatever goes wrong in it is its failure, and never raises."""
    from tallystick.lab.simulation import Simulation

    simulation = Simulation(seed, story, broker)
    happened: dict[str, int] = {}
    failure = ""
    try:
        happened = simulation.run()
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    verdict = simulation.verdict
    return Lived(seed, failure, happened, verdict.by_status if verdict is not None else {})


def main(words: list[str]) -> None:
    """A worker: first seed, step, how many, for how many seconds at most (0: no matter), and whether on a broker."""
    from tallystick.compose import kernel_cache

    kernel_cache.activate(kernel_cache.default_folder())
    import tallystick.lab.simulation  # noqa: F401 - what is there now stays, so the collector need not look at it again
    from tallystick.compose.warm import warm

    warm()
    gc.collect()
    gc.freeze()
    first, step, count, seconds, broker = int(words[0]), int(words[1]), int(words[2]), float(words[3]), words[4] == "1"
    clock, encoder = SystemClock(), msgspec.json.Encoder()
    until_ns = clock.monotonic_ns() + int(seconds * NS) if seconds else None
    for number, seed in enumerate(range(first, first + step * count, step)):
        if number % COLLECT_EVERY == 0:
            gc.collect()
        if until_ns is not None and clock.monotonic_ns() >= until_ns:
            break
        sys.stdout.buffer.write(encoder.encode(live(seed, None, broker)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
