"""Whose block is next: control lanes first, then payment lanes in turn (DESIGN §1). Shared by adapters with lanes."""

from collections import deque
from typing import Protocol

from tallystick.records.blocks import CommandBlock


class WaitingLane(Protocol):
    """A lane as it is served."""

    @property
    def control(self) -> bool:
        """Whether it carries control commands."""
        ...

    def block(self, index: int) -> CommandBlock | None:
        """Block number `index`, from 0, of those durable and not yet taken; None if there are not so many."""
        ...


class Turns:
    """Serves one block a lane in turn, and goes on with the next lane at the next call."""

    def __init__(self) -> None:
        self._lanes: dict[bool, deque[WaitingLane]] = {True: deque(), False: deque()}
        self._payments_owed = False

    def add(self, lane: WaitingLane) -> None:
        """Serve this lane too, from now on."""
        self._lanes[lane.control].append(lane)

    def take(self, control_max: int, commands_max: int) -> list[CommandBlock]:
        """Blocks as `Intake.receive` promises them."""
        blocks: list[CommandBlock] = []
        payments = self._lanes[False]
        # A full payment block fits beside no control command: a steady stream of those would starve it.
        count = 0 if self._payments_owed else _take(self._lanes[True], control_max, blocks, 0)
        controls = len(blocks)
        _take(payments, commands_max, blocks, count)
        self._payments_owed = 0 < controls == len(blocks) and any(lane.block(0) is not None for lane in payments)
        return blocks


def _take(lanes: deque[WaitingLane], commands_max: int, blocks: list[CommandBlock], count: int) -> int:
    """Append blocks until `count` of commands would pass `commands_max`; the lane that waits is first next time."""
    given: dict[int, int] = {}
    idle = 0
    while idle < len(lanes):
        lane = lanes[0]
        index = given.get(id(lane), 0)
        block = lane.block(index)
        if block is None:
            idle += 1
        else:
            if count and count + block.header.count > commands_max:
                break
            blocks.append(block)
            count += block.header.count
            given[id(lane)] = index + 1
            idle = 0
        lanes.rotate(-1)
    return count
