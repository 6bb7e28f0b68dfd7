"""Processes hurt on cue while payments flow, and what each of it cost those payments.

Between two wounds there is calm. A payment that was due in a wound, or on its way when it began, counts to that wound,
however late its outcome came.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.errors import Unavailable
from tallystick.lab.instance import Instance
from tallystick.lab.results import percentiles_ms

CALM_S = 1.0
STOPPED_S = 1.0
"""How long a process stays under SIGSTOP."""
AFTER_S = 0.8
"""How long after it, or after a kill, payments count to the wound at least: until few of them wait."""
FEW_WAITING = 30
WRITERS = ("engine",)


class Cue(msgspec.Struct, frozen=True):
    """One thing to do to one process."""

    what: str
    """`stop` (SIGSTOP, then SIGCONT) or `kill` (SIGKILL)."""
    process: str

    @property
    def seconds(self) -> float:
        """How long it takes at least, with what comes after it."""
        return AFTER_S + (STOPPED_S if self.what == "stop" else 0.0)

    def __str__(self) -> str:
        return f"{'SIGSTOP' if self.what == 'stop' else 'SIGKILL'} {self.process}"


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one wound cost payments."""

    process: str
    what: str
    payments: int
    """Due while it lasted, or on their way when it began."""
    p99_ms: float
    p99_calm_ms: float
    """Of the payments due, and answered, in the calm before and after it."""
    ratio: float


def script(processes: Sequence[str]) -> list[Cue]:
    """The cues for what runs: followers first, the engine last, for that is the one that payments feel."""
    gateways = [name for name in processes if name.startswith("gateway")]
    followers = [name for name in processes if name not in (*WRITERS, *gateways)]
    order = [*followers, *(name for name in WRITERS if name in processes)]
    return [Cue(what, process) for what in ("stop", "kill") for process in order]


def seconds(cues: Sequence[Cue]) -> float:
    """How long all of it takes at least."""
    return CALM_S + sum(cue.seconds + CALM_S for cue in cues)


class Director:
    """Gives the cues, one after the other; `step` as often as you like."""

    def __init__(self, instance: Instance, cues: Sequence[Cue]) -> None:
        self.latest: tuple[Cue, int] | None = None
        """The cue given last, and the wall time of it in nanoseconds."""
        self._instance = instance
        self._clock = instance.clock
        self._cues = list(cues)
        self._bounds: list[tuple[Cue, int, int]] = []  # wounds: from, until, monotonic
        self._began_ns = 0  # of the wound that lasts
        self._calm_ns = 0  # since when there is none
        self._stopped_pid = 0

    @property
    def done(self) -> bool:
        """Whether every cue was given, and there was calm after the last."""
        return not self._cues and not self._began_ns and self._calm_for_s() >= CALM_S

    def step(self, waiting: int) -> None:
        """Go on with what is due; `waiting` is how many payments wait for an outcome.

        Raises `Unavailable` if a process to hurt does not run.
        """
        now = self._clock.monotonic_ns()
        if self._began_ns:
            cue = self._bounds[-1][0]
            lasted_s = (now - self._began_ns) / 1e9
            if lasted_s >= STOPPED_S:
                self.go_on()
            if lasted_s >= cue.seconds and waiting <= FEW_WAITING:
                self._bounds[-1] = cue, self._began_ns, now
                self._began_ns, self._calm_ns = 0, now
        elif not self._calm_ns:
            self._calm_ns = now
        elif self._cues and self._calm_for_s() >= CALM_S:
            self._hurt(self._cues.pop(0), now)

    def _calm_for_s(self) -> float:
        return (self._clock.monotonic_ns() - self._calm_ns) / 1e9 if self._calm_ns else 0.0

    def _hurt(self, cue: Cue, now: int) -> None:
        pid = self._instance.pid(cue.process)
        self.latest = cue, self._clock.wall_ns()
        if cue.what == "stop":
            self._stopped_pid = pid
        os.kill(pid, signal.SIGSTOP if cue.what == "stop" else signal.SIGKILL)
        self._bounds.append((cue, now, now))
        self._began_ns = now

    def go_on(self) -> None:
        """Let a stopped process go on."""
        if self._stopped_pid:
            with suppress(ProcessLookupError):
                os.kill(self._stopped_pid, signal.SIGCONT)
            self._stopped_pid = 0

    @property
    def state(self) -> str:
        """What was done last, for people."""
        if self.latest is None:
            return "calm"
        cue, at_ns = self.latest
        return f"{cue}, {(self._clock.wall_ns() - at_ns) / 1e9:.1f} s ago"

    def costs(self, answers: npt.NDArray[np.void]) -> list[Cost]:
        """What each wound cost, by the answers of a run. Raises `Unavailable` if not every cue was given and over."""
        if not self.done:
            raise Unavailable("the payments ended before every cue was given, and was over")
        return costs(self._bounds, answers)


def costs(wounds: Sequence[tuple[Cue, int, int]], answers: npt.NDArray[np.void]) -> list[Cost]:
    """What each wound cost payments (`lab.load.ANSWER` rows): those on their way at its start or due before its end, on
    the monotonic clock in nanoseconds, against those due in the calm before and after it, and answered there.

    Raises `Unavailable` if there were none.
    """
    known = answers[answers["answered_ns"] != 0]
    latencies = known["answered_ns"] - known["sent_ns"]
    found = []
    ends = [0, *(until for _, _, until in wounds)]
    starts = [*(start for _, start, _ in wounds[1:]), np.iinfo(np.int64).max]
    for (cue, start, until), before, after in zip(wounds, ends[:-1], starts, strict=True):
        due, answered = known["sent_ns"], known["answered_ns"]
        hurt = latencies[(before <= due) & (due < until) & (answered >= start)]
        calm = latencies[((before <= due) & (answered < start)) | ((until <= due) & (answered < after))]
        if not len(hurt) or not len(calm):
            raise Unavailable(f"no payment was due at the cue {cue}, or in the calm around it")
        p99, p99_calm = percentiles_ms(hurt.tolist())[2], percentiles_ms(calm.tolist())[2]
        found.append(
            Cost(
                process=cue.process,
                what=cue.what,
                payments=len(hurt),
                p99_ms=round(p99, 2),
                p99_calm_ms=round(p99_calm, 2),
                ratio=round(p99 / p99_calm, 2),
            )
        )
    return found


@contextmanager
def directed(instance: Instance, cues: Sequence[Cue]) -> Iterator[Director]:
    """A director that leaves nothing stopped behind."""
    director = Director(instance, cues)
    try:
        yield director
    finally:
        director.go_on()
