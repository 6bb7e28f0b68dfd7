"""The intake in memory, for tests and simulations of one process: same promises, but gone when the process ends."""

from collections.abc import Mapping

from tallystick.clock import Entropy
from tallystick.errors import Corrupt, OutcomeUnknown
from tallystick.intake.port import LaneId
from tallystick.intake.turns import Turns
from tallystick.records.blocks import Bytes, CommandBlock, command_block, parse


class _Kept:
    """One lane's blocks, those at or below `deleted` gone; `owner` is the lane that may write, if any."""

    def __init__(self, id: LaneId, control: bool) -> None:
        self.id = id
        self.control = control
        self.owner: MemoryLane | None = None
        self.blocks: list[bytes] = []
        self.deleted = 0
        self.taken = 0

    def block(self, index: int) -> CommandBlock | None:
        at = self.taken - self.deleted + index
        if at >= len(self.blocks):
            return None
        block = parse(self.blocks[at])
        assert isinstance(block, CommandBlock)
        return block


class MemoryLane:
    """The writing end of one lane."""

    prompt = True

    def __init__(self, kept: _Kept, shard: int) -> None:
        self.id = kept.id
        self.control = kept.control
        self._kept = kept
        self._shard = shard
        kept.owner = self

    def submit(self, commands: Bytes) -> int:
        kept = self._kept
        if kept.owner is not self:
            raise OutcomeUnknown(f"lane {self.id.hex()} was closed here")
        number = kept.deleted + len(kept.blocks) + 1
        kept.blocks.append(b"".join(command_block(self.id, number, commands, self._shard)))
        return number

    def close(self) -> None:
        if self._kept.owner is self:
            self._kept.owner = None


class MemoryIntake:
    """All lanes of a shard, for gateways and the engine of one process. Not safe for concurrent calls."""

    def __init__(self, entropy: Entropy, shard: int = 0) -> None:
        """`entropy` makes lane ids."""
        self._entropy = entropy
        self._shard = shard
        self._lanes: dict[LaneId, _Kept] = {}
        self._turns = Turns()

    def open_lane(self, control: bool) -> MemoryLane:
        for kept in self._lanes.values():
            if kept.control == control and kept.owner is None:
                return MemoryLane(kept, self._shard)
        kept = _Kept(self._entropy(16), control)
        self._lanes[kept.id] = kept
        self._turns.add(kept)
        return MemoryLane(kept, self._shard)

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        for id, position in positions.items():
            if position and id not in self._lanes:
                raise Corrupt(f"lane {id.hex()} is missing, but journaled up to block {position}")
        for kept in self._lanes.values():
            kept.taken = positions.get(kept.id, 0)
            if not kept.deleted <= kept.taken <= kept.deleted + len(kept.blocks):
                raise Corrupt(f"lane {kept.id.hex()}: position {kept.taken} is outside what it holds")
        return self._turns.take(control_max, commands_max)

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        return True

    def done(self, positions: Mapping[LaneId, int]) -> None:
        for id, position in positions.items():
            if (kept := self._lanes.get(id)) and position > kept.deleted:
                del kept.blocks[: position - kept.deleted]
                kept.deleted = position

    def close(self) -> None:
        for kept in self._lanes.values():
            kept.owner = None
