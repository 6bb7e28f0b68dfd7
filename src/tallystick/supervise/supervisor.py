"""Keeps a set of processes running: `step()` does what is due now and says when to call it next.

Pure of operating system and time: a launcher and a clock are handed in, so tests advance the clock instead of
sleeping. A process that ends is started again, at once the first time and then ever later up to a second (a patient
one: ten), until it has run steadily; what is left of it is killed first, since the engine's lock must be free for its
successor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tallystick.clock import Clock
from tallystick.supervise.processes import Launcher, Process, Spec
from tallystick.supervise.status import ProcessStatus, SupervisorStatus

NEEDS_A_PERSON = 70
"""Exit code of a process that another start cannot help (`Corrupt`, `Fenced`, settings that make no sense)."""

STEADY_NS = 3_000_000_000
"""Run for this long, a process counts as healthy again, and its next restart is at once. Both this and the waits are
longer for a process of more `patience`."""
BACK_OFF_NS = 100_000_000
BACK_OFF_MAX_NS = 1_000_000_000
STOP_NS = 10_000_000_000
"""How long processes may take to end after SIGTERM, before SIGKILL."""


class State(StrEnum):
    """What a process is doing, as the supervisor sees it."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that operators want to know."""

    name: str
    event: str
    """`started`, `ended`, `could_not_start`, `needs_a_person` or `killed`."""
    pid: int | None = None
    exit_code: int | None = None
    ran_s: float | None = None
    restart_in_s: float | None = None


@dataclass(slots=True)
class _Watched:
    spec: Spec
    state: State = State.WAITING
    process: Process | None = None
    due_ns: int = 0
    started_ns: int = 0
    started_at_ns: int = 0
    starts: int = 0
    failures: int = 0
    last_exit: int | None = None


@dataclass(slots=True)
class Supervisor:
    """Watches one process for each spec. Not safe for concurrent calls."""

    specs: Sequence[Spec]
    launch: Launcher
    clock: Clock
    report: Callable[[Event], None]
    _watched: list[_Watched] = field(init=False)
    _stop_by_ns: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._watched = [_Watched(spec) for spec in self.specs]

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will: after `stop`, or when every process needs a person."""
        return all(watched.state is State.ENDED for watched in self._watched)

    @property
    def failed(self) -> bool:
        """Whether a process ended for good without having been asked to."""
        return any(watched.last_exit == NEEDS_A_PERSON for watched in self._watched)

    def step(self) -> float | None:
        """Notice what ended, start what is due, kill what did not stop in time.

        Returns the seconds until there is more to do, or None if only the end of a process can bring more.
        """
        now = self.clock.monotonic_ns()
        for watched in self._watched:
            if watched.state is State.RUNNING:
                self._look(watched, now)
            if watched.state is State.WAITING and watched.due_ns <= now:
                self._start(watched, now)
        due = [watched.due_ns for watched in self._watched if watched.state is State.WAITING]
        if self._stop_by_ns is not None and not self.finished:
            due.append(self._stop_by_ns)
        return max(0.0, (min(due) - now) / 1e9) if due else None

    def stop(self) -> None:
        """Ask every process to end and start none again. Go on calling `step` until `finished`."""
        if self._stop_by_ns is not None:
            return
        self._stop_by_ns = self.clock.monotonic_ns() + STOP_NS
        for watched in self._watched:
            if watched.state is State.RUNNING and watched.process is not None:
                watched.process.terminate()
            else:
                watched.state = State.ENDED

    def status(self, pid: int) -> SupervisorStatus:
        """What runs, for the status file; `pid` is the supervisor's own."""
        rows = [
            ProcessStatus(
                name=watched.spec.name,
                state=watched.state.value,
                pid=watched.process.pid if watched.process else None,
                start_ticks=watched.process.start_ticks if watched.process else None,
                started_at_ns=watched.started_at_ns,
                starts=watched.starts,
                last_exit=watched.last_exit,
            )
            for watched in self._watched
        ]
        return SupervisorStatus(pid=pid, processes=rows)

    def _start(self, watched: _Watched, now: int) -> None:
        try:
            watched.process = self.launch(watched.spec)
        except OSError:
            self._wait(watched, now)
            self.report(Event(watched.spec.name, "could_not_start", restart_in_s=(watched.due_ns - now) / 1e9))
            return
        watched.state = State.RUNNING
        watched.started_ns = now
        watched.started_at_ns = self.clock.wall_ns()
        watched.starts += 1
        self.report(Event(watched.spec.name, "started", pid=watched.process.pid))

    def _look(self, watched: _Watched, now: int) -> None:
        process = watched.process
        assert process is not None
        code = process.poll()
        if code is None:
            if self._stop_by_ns is not None and now >= self._stop_by_ns:
                process.kill()
                self.report(Event(watched.spec.name, "killed", pid=process.pid))
                self._stop_by_ns = now + BACK_OFF_MAX_NS  # look again: the kernel may need a moment
            return
        process.kill()
        watched.process = None
        watched.last_exit = code
        ran_s = (now - watched.started_ns) / 1e9
        name = watched.spec.name
        if self._stop_by_ns is not None:
            watched.state = State.ENDED
            self.report(Event(name, "ended", pid=process.pid, exit_code=code, ran_s=ran_s))
        elif code == NEEDS_A_PERSON:
            watched.state = State.ENDED
            self.report(Event(name, "needs_a_person", pid=process.pid, exit_code=code, ran_s=ran_s))
        else:
            if now - watched.started_ns >= STEADY_NS * watched.spec.patience:
                watched.failures = 0
            self._wait(watched, now)
            wait_s = (watched.due_ns - now) / 1e9
            self.report(Event(name, "ended", pid=process.pid, exit_code=code, ran_s=ran_s, restart_in_s=wait_s))

    def _wait(self, watched: _Watched, now: int) -> None:
        delay = min(BACK_OFF_NS << (watched.failures - 1), BACK_OFF_MAX_NS) if watched.failures else 0
        watched.failures = min(watched.failures + 1, 30)
        watched.state = State.WAITING
        watched.due_ns = now + delay * watched.spec.patience
