"""Old segments of a lane are deleted, under a reader that stands at the end of one, and as the power fails."""

import contextlib
from pathlib import Path
from random import Random

import pytest

from tallystick.blockfile.simulated import PowerCut, SimulatedDisk
from tallystick.conformance.samples import command_bytes
from tallystick.intake.files import FileIntake
from tallystick.lab.simulated_clock import SimulatedClock


def test_a_segment_that_the_reader_has_yet_to_leave_is_not_deleted():
    clock = SimulatedClock()
    disk = SimulatedDisk(1, clock=clock)
    gateway, engine = (
        FileIntake(Path("/lanes"), disk.another_process(), clock, Random(1).randbytes, 4096, retention_s=0)
        for _ in range(2)
    )
    lane = gateway.open_lane(control=False)
    lane.submit(command_bytes(9, 1))
    assert len(engine.receive({}, 1, 10)) == 1
    lane.submit(command_bytes(9, 2))  # does not fit: it begins the next segment
    clock.advance(1_000_000_000)
    engine.done({lane.id: 1})  # all of the first segment is journaled, and old enough
    assert [block.header.first for block in engine.receive({lane.id: 1}, 1, 10)] == [2]
    clock.advance(2_000_000_000)
    engine.done({lane.id: 1})
    assert "0" * 20 not in disk.list(Path("/lanes") / f"{lane.id.hex()}.pay")  # now it is


@pytest.mark.parametrize("seed", range(40))
def test_the_power_may_fail_while_segments_are_deleted(seed):
    clock = SimulatedClock()
    disk = SimulatedDisk(seed, clock=clock)
    entropy = Random(seed).randbytes
    gateway, engine = (
        FileIntake(Path("/lanes"), disk.another_process(), clock, entropy, 4096, retention_s=0) for _ in range(2)
    )
    lane = gateway.open_lane(control=False)
    for number in range(1, 6):  # a segment each
        lane.submit(command_bytes(9, number))
    assert len(engine.receive({}, 1, 100)) == 5
    clock.advance(2_000_000_000)
    engine.receive({lane.id: 5}, 1, 100)
    disk.cut_after(seed % 10)
    with contextlib.suppress(PowerCut):
        engine.done({lane.id: 5})
    disk = disk.cut()
    again = FileIntake(Path("/lanes"), disk, clock, entropy, 4096, retention_s=0)
    assert again.receive({lane.id: 5}, 1, 100) == []
    assert again.open_lane(control=False).submit(command_bytes(1, 6)) == 6
