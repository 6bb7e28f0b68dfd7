from dataclasses import dataclass, field

from tallystick.supervise.processes import Spec
from tallystick.supervise.supervisor import (
    BACK_OFF_MAX_NS,
    NEEDS_A_PERSON,
    STEADY_NS,
    STOP_NS,
    Event,
    Supervisor,
)

MS = 1_000_000


class HandClock:
    def __init__(self) -> None:
        self.now = 5_000 * MS

    def wall_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def advance(self, ns: int) -> None:
        self.now += ns


@dataclass
class FakeProcess:
    """Does what the test says, and fails it if the supervisor touches a process in a wrong order."""

    pid: int
    start_ticks: int = 1
    code: int | None = None
    terminated: int = 0
    killed: int = 0
    heeds_sigterm: bool = True

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        assert self.code is None
        self.terminated += 1
        if self.heeds_sigterm:
            self.code = 0

    def kill(self) -> None:
        self.killed += 1
        if self.code is None:
            self.code = -9


@dataclass
class FakeLauncher:
    started: dict[str, list[FakeProcess]] = field(default_factory=dict)
    refuse: bool = False

    def __call__(self, spec: Spec) -> FakeProcess:
        if self.refuse:
            raise OSError("no more processes")
        earlier = self.started.setdefault(spec.name, [])
        assert all(process.code is not None and process.killed for process in earlier), "two of one name at once"
        earlier.append(FakeProcess(pid=100 + sum(len(each) for each in self.started.values())))
        return earlier[-1]


class World:
    def __init__(self, *names: str, patience: int = 1) -> None:
        self.clock = HandClock()
        self.launcher = FakeLauncher()
        self.events: list[Event] = []
        self.supervisor = Supervisor(
            [Spec(name, ("run", name), patience=patience) for name in names],
            self.launcher,
            self.clock,
            self.events.append,
        )

    def latest(self, name: str) -> FakeProcess:
        return self.launcher.started[name][-1]

    def starts(self, name: str) -> int:
        return len(self.launcher.started.get(name, []))

    def end(self, name: str, code: int) -> float | None:
        self.latest(name).code = code
        return self.supervisor.step()


def test_the_first_step_starts_everything_and_then_waits_for_an_end() -> None:
    world = World("engine", "gateway")
    assert world.supervisor.step() is None
    assert (world.starts("engine"), world.starts("gateway")) == (1, 1)
    assert [event.event for event in world.events] == ["started", "started"]
    assert world.supervisor.step() is None
    assert world.starts("engine") == 1


def test_what_dies_the_first_time_is_started_again_in_the_same_step() -> None:
    world = World("engine", "gateway")
    world.supervisor.step()
    world.clock.advance(10 * MS)
    world.end("engine", -9)
    assert world.starts("engine") == 2
    assert world.starts("gateway") == 1
    assert world.events[-2] == Event("engine", "ended", pid=100, exit_code=-9, ran_s=0.01, restart_in_s=0.0)


def test_what_is_left_of_a_process_is_killed_before_its_successor_starts() -> None:
    world = World("engine")
    world.supervisor.step()
    first = world.latest("engine")
    world.end("engine", 1)
    assert first.killed == 1  # the launcher itself checks that this came first
    assert world.starts("engine") == 2


def test_each_death_soon_after_a_start_waits_longer_up_to_a_second() -> None:
    world = World("engine")
    world.supervisor.step()
    waits = []
    for _ in range(8):
        wait_s = world.end("engine", 1)
        waits.append(wait_s)
        world.clock.advance(round((wait_s or 0) * 1e9))
        world.supervisor.step()
    assert waits == [None, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert BACK_OFF_MAX_NS == 1000 * MS


def test_nothing_is_started_before_its_wait_is_over() -> None:
    world = World("engine")
    world.supervisor.step()
    world.end("engine", 1)
    world.end("engine", 1)
    world.clock.advance(99 * MS)
    world.supervisor.step()
    assert world.starts("engine") == 2
    world.clock.advance(1 * MS)
    world.supervisor.step()
    assert world.starts("engine") == 3


def test_a_process_that_ran_steadily_is_restarted_at_once_again() -> None:
    world = World("engine")
    world.supervisor.step()
    for _ in range(5):
        wait_s = world.end("engine", 1)
        world.clock.advance(round((wait_s or 0) * 1e9))
        world.supervisor.step()
    starts = world.starts("engine")
    world.clock.advance(STEADY_NS)
    assert world.end("engine", -9) is None
    assert world.starts("engine") == starts + 1


def test_a_patient_process_waits_longer_and_must_run_longer_to_be_restarted_at_once() -> None:
    world = World("projector", patience=10)
    world.supervisor.step()
    waits = []
    for _ in range(7):
        world.clock.advance(STEADY_NS)  # which would be enough for another
        wait_s = world.end("projector", -9)
        waits.append(wait_s)
        world.clock.advance(round((wait_s or 0) * 1e9))
        world.supervisor.step()
    assert waits == [None, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    world.clock.advance(10 * STEADY_NS)
    assert world.end("projector", -9) is None


def test_a_process_that_needs_a_person_is_not_started_again_and_the_others_go_on() -> None:
    world = World("engine", "gateway")
    world.supervisor.step()
    world.end("engine", NEEDS_A_PERSON)
    world.clock.advance(STEADY_NS)
    world.supervisor.step()
    assert world.starts("engine") == 1
    assert world.events[-1].event == "needs_a_person"
    assert world.supervisor.failed
    assert not world.supervisor.finished
    assert [row.state for row in world.supervisor.status(1).processes] == ["ended", "running"]


def test_when_every_process_needs_a_person_the_supervisor_is_finished() -> None:
    world = World("engine")
    world.supervisor.step()
    world.end("engine", NEEDS_A_PERSON)
    assert world.supervisor.finished
    assert world.supervisor.failed


def test_stop_asks_every_process_once_and_starts_none_again() -> None:
    world = World("engine", "gateway")
    world.supervisor.step()
    world.supervisor.stop()
    world.supervisor.stop()
    assert [world.latest(name).terminated for name in ("engine", "gateway")] == [1, 1]
    world.supervisor.step()
    assert world.supervisor.finished
    assert not world.supervisor.failed
    assert (world.starts("engine"), world.starts("gateway")) == (1, 1)


def test_a_process_that_ignores_sigterm_is_killed_when_its_time_is_over() -> None:
    world = World("engine", "gateway")
    world.supervisor.step()
    world.latest("engine").heeds_sigterm = False
    world.supervisor.stop()
    assert world.supervisor.step() == STOP_NS / 1e9
    assert not world.supervisor.finished
    world.clock.advance(STOP_NS - 1)
    world.supervisor.step()
    assert world.latest("engine").killed == 0
    world.clock.advance(1)
    world.supervisor.step()
    assert world.latest("engine").killed == 1
    world.supervisor.step()
    assert world.supervisor.finished


def test_stop_while_a_process_waits_for_its_restart_ends_the_wait() -> None:
    world = World("engine")
    world.supervisor.step()
    world.end("engine", 1)
    world.end("engine", 1)
    world.supervisor.stop()
    assert world.supervisor.finished
    assert world.supervisor.step() is None
    assert world.starts("engine") == 2


def test_a_start_that_fails_is_tried_again_later() -> None:
    world = World("engine")
    world.launcher.refuse = True
    world.supervisor.step()
    assert world.events[-1] == Event("engine", "could_not_start", restart_in_s=0.0)
    world.supervisor.step()
    assert world.events[-1] == Event("engine", "could_not_start", restart_in_s=0.1)
    world.launcher.refuse = False
    world.clock.advance(100 * MS)
    world.supervisor.step()
    assert world.starts("engine") == 1


def test_the_status_tells_pids_starts_and_the_latest_end() -> None:
    world = World("engine", "gateway")
    world.supervisor.step()
    world.end("engine", -9)
    status = world.supervisor.status(42)
    engine, gateway = status.processes
    assert status.pid == 42
    assert (engine.pid, engine.starts, engine.last_exit, engine.state) == (102, 2, -9, "running")
    assert (gateway.pid, gateway.starts, gateway.last_exit) == (101, 1, None)
    assert status.pid_of("engine") == 102
    assert status.pid_of("auditor") is None
