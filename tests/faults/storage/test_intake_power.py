"""An intake through power cuts, kills, full disks and I/O errors: two gateways and an engine on one simulated disk."""

import contextlib
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.conformance.samples import command_bytes
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.intake.files import FileIntake

FOLDER = Path("/data/intake")
SEGMENT_BYTES = 4096
STORIES = range(600)  # three cuts in each, and what goes wrong between
HOUR_NS = 3_600_000_000_000


class Clock:
    """Advanced by hand."""

    def __init__(self):
        self.now_ns = 1_000 * HOUR_NS

    def wall_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns


class Machine:
    """A disk, its processes, and ids that no process mints twice."""

    def __init__(self, seed, retention_s=1e9):
        self.clock = Clock()
        self.disk = SimulatedDisk(seed, clock=self.clock)
        self.ids = count(1)
        self.retention_s = retention_s

    def process(self):
        """A new process's view of the disk, and the intake it opened there."""
        disk = self.disk.another_process()
        return disk, FileIntake(FOLDER, disk, self.clock, self.entropy, SEGMENT_BYTES, self.retention_s)

    def entropy(self, size):
        return next(self.ids).to_bytes(size, "big")

    def calm(self):
        self.disk.machine.injected.clear()
        self.disk.machine.cut_at = None


class Gateway:
    """One process that submits to a lane, and opens another when that one is spent."""

    def __init__(self, machine):
        self.disk, self.intake = machine.process()
        self.lane = None


class Story:
    """What clients were told, what the engine was given, and whether the intake stands by it."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.machine = Machine(seed, retention_s=self.random.choice((0, 1e9)))
        self.gateways = []
        self.engine = None
        self.acknowledged = {}  # lane: {number: mark}
        self.given = {}  # lane: [mark], as the engine journaled them
        self.mark = 0

    def restart(self):
        """All processes are dead: forget them. The engine's journal remembers what it was given."""
        self.gateways, self.engine = [], None

    def step(self):
        self.machine.clock.now_ns += 2_000_000_000
        what = self.random.random()
        if what < 0.1 or not self.gateways:
            with contextlib.suppress(OutcomeUnknown, Unavailable):
                if len(self.gateways) < 2:
                    self.gateways.append(Gateway(self.machine))
        elif what < 0.6:
            self.submit(self.random.choice(self.gateways))
        elif what < 0.9:
            self.receive()
        elif what < 0.95:
            self.gateways.pop(self.random.randrange(len(self.gateways))).disk.kill()
        elif self.engine:
            self.engine[0].kill()
            self.engine = None

    def submit(self, gateway):
        self.mark += 1
        commands = command_bytes(self.random.choice((1, 1, 2, 5, 12)), request_id=self.mark)
        try:
            if gateway.lane is None:
                gateway.lane = gateway.intake.open_lane(control=self.random.random() < 0.2)
            number = gateway.lane.submit(commands)
        except OutcomeUnknown:
            if gateway.lane:
                gateway.lane.close()
            gateway.lane = None
        except Unavailable:
            pass
        else:
            self.acknowledged.setdefault(gateway.lane.id, {})[number] = self.mark

    def receive(self):
        try:
            if self.engine is None:
                self.engine = self.machine.process()
            positions = {lane: len(marks) for lane, marks in self.given.items()}
            if self.random.random() < 0.5:
                self.engine[1].done(positions)
            blocks = self.engine[1].receive(positions, 20, 40)
        except (OutcomeUnknown, Unavailable):
            if self.engine:
                self.engine[0].kill()
            self.engine = None
        else:
            for block in blocks:
                marks = self.given.setdefault(block.header.lane, [])
                assert block.header.first == len(marks) + 1
                marks.append(int(block.commands["request_id_lo"][0]))

    def plan_trouble(self):
        if self.random.random() < 0.6:
            self.machine.disk.cut_after(self.random.randint(0, 120))
        for _ in range(self.random.randint(0, 2)):
            faults = [fault for fault in Fault if not fault.name.startswith("READ")]
            self.machine.disk.inject(self.random.choice(faults), self.random.randint(0, 30))

    def compare(self):
        """A new engine is given all that was acknowledged, and what the old ones were given, unchanged.

        Where journaled blocks are deleted at once, it begins after those.
        """
        self.machine.calm()
        _, intake = self.machine.process()
        kept = {} if self.machine.retention_s else self.given
        found = {lane: list(marks) for lane, marks in kept.items()}
        positions = {lane: len(marks) for lane, marks in kept.items()}
        while blocks := intake.receive(positions, 1000, 8190):
            for block in blocks:
                positions[block.header.lane] = block.header.first
                found.setdefault(block.header.lane, []).append(int(block.commands["request_id_lo"][0]))
        for lane, marks in self.given.items():
            assert found.get(lane, [])[: len(marks)] == marks, "what the engine journaled was lost"
        for lane, numbered in self.acknowledged.items():
            for number, mark in numbered.items():
                assert found[lane][number - 1] == mark, "an acknowledged block was lost"


@pytest.mark.parametrize("seed", STORIES)
def test_what_was_acknowledged_or_received_survives(seed):
    story = Story(seed)
    for _ in range(3):
        story.plan_trouble()
        try:
            for _ in range(story.random.randint(5, 40)):
                story.step()
        except PowerCut:
            pass
        story.machine.disk = story.machine.disk.cut()
        story.restart()
        if story.random.random() < 0.3:
            story.compare()
            story.machine.disk = story.machine.disk.cut()
    story.compare()


def filled(seed, blocks=20):
    """A machine whose one lane holds some blocks of a command each, its gateway still alive."""
    machine = Machine(seed)
    disk, intake = machine.process()
    lane = intake.open_lane(control=False)
    for number in range(1, blocks + 1):
        assert lane.submit(command_bytes(1, request_id=number)) == number
    return machine, disk, lane


def received(machine, positions=None):
    positions, marks = dict(positions or {}), []
    _, intake = machine.process()
    while blocks := intake.receive(positions, 1000, 8190):
        for block in blocks:
            positions[block.header.lane] = block.header.first
            marks += block.commands["request_id_lo"].tolist()
    return marks


@pytest.mark.parametrize("seed", range(60))
def test_acknowledged_blocks_do_not_wait_for_a_gateway_that_never_comes_back(seed):
    machine, disk, _ = filled(seed)
    machine.disk = disk.cut()
    assert received(machine) == list(range(1, 21))


@pytest.mark.parametrize("seed", range(20))
def test_the_engine_waits_while_a_gateway_examines_its_lane(seed):
    machine, disk, lane = filled(seed)
    machine.disk = disk.cut()  # the durable end may be stale now, until the gateway has examined the lane
    gateway = machine.disk.another_process()
    gateway.lock(FOLDER / "lanes.lock")
    gateway.lock(FOLDER / f"{lane.id.hex()}.pay" / "lock")
    _, engine = machine.process()
    assert engine.receive({lane.id: 18}, 1000, 8190) == []
    gateway.kill()
    assert [block.header.first for block in engine.receive({lane.id: 18}, 1000, 8190)] == [19, 20]


def test_a_submit_that_failed_is_not_shown_before_it_is_durable():
    machine, disk, lane = filled(1)
    disk.inject(Fault.SYNC_ERROR)
    with pytest.raises(OutcomeUnknown):
        lane.submit(command_bytes(1, request_id=21))
    assert received(machine) == list(range(1, 21))


def test_a_spent_lane_is_not_opened_again_by_the_same_process():
    machine, disk, _ = filled(1)
    disk, intake = machine.process()
    lane = intake.open_lane(control=False)
    disk.inject(Fault.SYNC_ERROR)
    with pytest.raises(OutcomeUnknown):
        lane.submit(command_bytes(1))
    with pytest.raises(OutcomeUnknown):
        lane.submit(command_bytes(1))
    lane.close()
    assert intake.open_lane(control=False).id != lane.id
    assert machine.process()[1].open_lane(control=False).id == lane.id


def test_a_full_disk_is_unavailable_and_the_lane_goes_on_when_there_is_room():
    machine, disk, lane = filled(1, blocks=8)
    machine.disk.machine.capacity_bytes = SEGMENT_BYTES + 8
    with pytest.raises(Unavailable):
        lane.submit(command_bytes(1))
    machine.disk.machine.capacity_bytes = None
    assert lane.submit(command_bytes(1, request_id=9)) == 9
    machine.disk = disk.cut()
    assert received(machine) == list(range(1, 10))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_is_corrupt(seed, cut):
    machine, disk, lane = filled(seed)
    machine.disk = disk.cut() if cut else disk.kill()
    random = Random(seed)
    number = random.choice((random.randrange(20), 19))
    path = FOLDER / f"{lane.id.hex()}.pay" / f"{number // 8 * SEGMENT_BYTES:020d}"
    machine.disk.flip_bit(path, (number % 8 * 512 + random.randrange(384)) * 8 + random.randrange(8))
    with pytest.raises(Corrupt):
        received(machine)


def test_a_block_of_another_lane_is_corrupt():
    machine, disk, lane = filled(1, blocks=3)
    other = machine.process()[1].open_lane(control=False)
    for number in range(1, 4):
        other.submit(command_bytes(1, request_id=number))
    names = [FOLDER / f"{id.hex()}.pay" / f"{0:020d}" for id in (lane.id, other.id)]
    block = disk.open(names[1]).read(0, 512)
    disk.open(names[0], writable=True).write(0, [block])
    with pytest.raises(Corrupt, match="not its own"):
        received(machine)


def test_a_lane_goes_on_past_a_deleted_segment():
    machine = Machine(1, retention_s=0)
    _, gateway = machine.process()
    disk, engine = machine.process()
    lane = gateway.open_lane(control=False)
    lane.submit(command_bytes(11))
    for number in range(1, 60):  # each leaves 1,024 bytes of its segment
        (block,) = engine.receive({lane.id: number - 1}, 1000, 8190)
        assert block.header.first == number
        lane.submit(command_bytes(11))
        machine.clock.now_ns += HOUR_NS
        engine.done({lane.id: number})
    assert len([name for name in disk.list(FOLDER / f"{lane.id.hex()}.pay") if name.isdigit()]) <= 2


def test_decided_segments_go_when_they_are_old_enough_and_never_before():
    machine = Machine(1, retention_s=24 * 3600)
    _, gateway = machine.process()
    disk, engine = machine.process()
    lane = gateway.open_lane(control=False)
    folder = FOLDER / f"{lane.id.hex()}.pay"

    def segments():
        return [int(name) // SEGMENT_BYTES for name in disk.list(folder) if name.isdigit()]

    for number in range(1, 21):  # 8 fill a segment
        lane.submit(command_bytes(1, request_id=number))
    engine.receive({}, 1000, 8190)
    machine.clock.now_ns += 23 * HOUR_NS
    engine.done({lane.id: 20})
    assert segments() == [0, 1, 2]
    machine.clock.now_ns += 2 * HOUR_NS
    engine.done({lane.id: 15})
    assert segments() == [1, 2]
    machine.clock.now_ns += HOUR_NS
    engine.done({lane.id: 20})
    assert segments() == [2]
    assert received(machine, {lane.id: 16}) == [17, 18, 19, 20]
    with pytest.raises(Corrupt):
        received(machine, {lane.id: 15})
    with pytest.raises(Corrupt):
        received(machine)
    assert lane.submit(command_bytes(1)) == 21
    machine.disk = disk.cut()
    assert machine.process()[1].open_lane(control=False).submit(command_bytes(1)) == 22
