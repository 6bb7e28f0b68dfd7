"""Old segments of a lane are deleted under a reader that stands at the end of one."""

from pathlib import Path
from random import Random

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.conformance.samples import command_bytes
from tallystick.intake.files import FileIntake
from tallystick.lab.simulated_processes import SimulatedClock


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
