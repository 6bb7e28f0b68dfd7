"""The processes of a simulation: the engine and a gateway as steps, and the time they see."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tallystick.blockfile.simulated import PowerCut, SimulatedDisk
from tallystick.compose.parts import open_files
from tallystick.engine.drafts import Answer, Draft
from tallystick.engine.loop import EngineLoop, LaneSource
from tallystick.engine.snapshots import Cadence
from tallystick.engine.writer import LookedUp, Writer
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.intake.files import FileIntake, FileLane
from tallystick.lab.simulated_history import Asked, History
from tallystick.ledger import kernel

DATA = Path("/data")
JOURNAL, INTAKE = DATA / "journal", DATA / "intake"
SEGMENT_BYTES = 16_384
LANE_SEGMENT_BYTES = 4_096
WINDOW_IDS = 16
CADENCE = Cadence(rows=4, entries_min=8, entries_max=30, parts_max=3)
BATCH_MAX = 20
BLOCK_MAX = 12
"""Commands in a lane's block."""
CONTROL_MAX = 4
START_NS = 1_800_000_000_000_000_000


class Killed(BaseException):
    """The engine's process was killed at this very place."""


class Crashed(BaseException):
    """The engine crashed while it decided, and left word of it."""


class SimulatedClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self._now_ns = START_NS
        self._jumped_ns = 0

    def wall_ns(self) -> int:
        return self._now_ns + self._jumped_ns

    def monotonic_ns(self) -> int:
        return self._now_ns - START_NS

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._now_ns += ns

    def jump(self, ns: int) -> None:
        """Set the wall clock forward, or back."""
        self._jumped_ns += ns


@dataclass
class World:
    """What all processes of one machine share. `disk` is any process's view of it."""

    random: Random
    clock: SimulatedClock
    disk: SimulatedDisk
    history: History

    def intake(self, disk: SimulatedDisk) -> FileIntake:
        """The lanes, as a process sees them."""
        return FileIntake(INTAKE, disk, self.clock, self.random.randbytes, LANE_SEGMENT_BYTES, retention_s=0)


class Gateway:
    """A gateway's process: submits what clients hand it, and opens another lane when one is spent."""

    def __init__(self, world: World) -> None:
        self.disk = world.disk.another_process()
        self._history = world.history
        self._random = world.random
        self._intake = world.intake(self.disk)
        self._lanes: dict[bool, FileLane] = {}
        self.waiting: dict[bool, deque[Asked]] = {True: deque(), False: deque()}

    def submit(self, control: bool) -> None:
        """Submit some of what waits. Raises `PowerCut`, and what opening a lane raises."""
        waiting = self.waiting[control]
        if not waiting:
            return
        lane = self._lanes.get(control)
        if lane is None:
            lane = self._lanes[control] = self._intake.open_lane(control)
        requests, size = [waiting[0]], len(waiting[0].commands)
        for request in list(waiting)[1 : self._random.randint(1, 5)]:
            size += len(request.commands)
            if size > BLOCK_MAX * 256:
                break
            requests.append(request)
        try:
            number = lane.submit(b"".join(request.commands for request in requests))
        except Unavailable:
            return  # nothing was written: it waits on
        except OutcomeUnknown:
            self._history.doubt(lane.id, requests)
            self._lanes.pop(control).close()
            return  # to be submitted again, in another lane
        except PowerCut:
            self._history.doubt(lane.id, requests)
            raise
        self._history.acknowledge(lane.id, number, requests)
        for _ in requests:
            waiting.popleft()

    def prepare(self) -> None:
        """The background work of its lanes."""
        for control, lane in list(self._lanes.items()):
            try:
                lane.prepare()
            except OutcomeUnknown:
                self._lanes.pop(control).close()
            except Unavailable:
                pass


class Engine:
    """The engine's process: its loop and its writer as steps, and what stands between them."""

    def __init__(self, world: World, crash_noted: bool) -> None:
        self.disk = world.disk.another_process()
        self._world = world
        self._queue: deque[Draft | LookedUp] = deque()
        self._journaled: Mapping[bytes, int] = {}
        self.kill_at = ""
        self.parts = open_files(
            DATA,
            self.disk,
            world.clock,
            world.random.randbytes,
            accounts_max=64,
            window_ids=WINDOW_IDS,
            segment_bytes=SEGMENT_BYTES,
            accept_clock=True,
            crash_noted=crash_noted,
            cadence=CADENCE,
        )
        self.decider = self.parts.decider
        self.decider.judge = self._judge
        self._intake = world.intake(self.disk)
        self._writer = Writer(self.parts.journal, self, self.parts.entropy)
        source = LaneSource(self._intake, self.decider, CONTROL_MAX)
        self._loop = EngineLoop(
            source, self.decider, self.parts.timekeeper, self.parts.poison, self.put, batch_max=BATCH_MAX
        )

    def _judge(self, *arguments: Any) -> None:
        kernel.decide(*arguments)
        self._die("decide")
        if self.kill_at == "crash":
            raise Crashed

    def _die(self, place: str) -> None:
        if self.kill_at == place:
            raise Killed

    def put(self, work: Draft | LookedUp) -> None:
        """As `compose.handoff`: at most this one is not durable when it returns."""
        while self.write():
            pass
        self._queue.append(work)

    @property
    def unwritten(self) -> int:
        """How much was handed over and not written yet."""
        return len(self._queue)

    def write(self) -> bool:
        """One step of the writer; False if there was nothing to write."""
        if not self._queue:
            return False
        self._writer.step(self._queue.popleft())
        return True

    def loop(self) -> int:
        """One step of the loop."""
        return self._loop.step()

    def keep_house(self) -> None:
        """Some slices of each chore, and word to the intake of what is done."""
        for chore in self.parts.chores:
            with suppress(Unavailable):
                for _ in range(self._world.random.choice((1, 2, 20))):
                    if not chore():
                        break
        self._intake.done(self._journaled)

    def decided(self, answers: list[Answer]) -> None:
        """The writer's gate: push results to the gateways; some pushes are lost."""
        self._die("answer")
        for answer in answers:
            if answer.delivery.lane and self._world.random.random() < 0.7:
                self._world.history.answer(answer.delivery, answer.rows)

    def durable(self, positions: Mapping[bytes, int]) -> None:
        """The writer's gate: what the intake may forget."""
        self._journaled = positions

    def rest(self) -> bool:
        """Whether nothing waits, neither in lanes nor to be written."""
        return not self._queue and not self._intake.receive(self.decider.positions, CONTROL_MAX, BATCH_MAX)
