"""For the suite: an intake whose receiving end first lets come what its lanes were told is durable.

In production a doorbell says so (`Intake.expect`); the suite asks for what it has just submitted, and at once.
"""

from collections.abc import Mapping

from tallystick.intake.port import Intake, Lane, LaneId
from tallystick.records.blocks import Bytes, CommandBlock

PATIENCE_S = 30.0


class _NotedLane:
    """A lane that notes what became durable."""

    def __init__(self, lane: Lane, durable: dict[LaneId, int]) -> None:
        self._lane = lane
        self._durable = durable
        self.id = lane.id
        self.control = lane.control
        self.prompt = lane.prompt
        self.close = lane.close

    def submit(self, commands: Bytes) -> int:
        number = self._lane.submit(commands)
        self._durable[self.id] = number
        return number


class Expecting:
    """Passes everything on; `receive` expects what `durable`, shared by all that have the store open, has noted."""

    def __init__(self, intake: Intake, durable: dict[LaneId, int]) -> None:
        self._intake = intake
        self._durable = durable
        self.expect = intake.expect
        self.close = intake.close

    def open_lane(self, control: bool) -> Lane:
        return _NotedLane(self._intake.open_lane(control), self._durable)

    def done(self, positions: Mapping[LaneId, int]) -> None:
        for lane, position in positions.items():
            if self._durable.get(lane, 0) <= position:
                self._durable.pop(lane, None)  # it may be deleted, and come no more
        self._intake.done(positions)

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        assert self._intake.expect(self._durable, PATIENCE_S), "a durable block does not come"
        return self._intake.receive(positions, control_max, commands_max)
