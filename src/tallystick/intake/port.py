"""The intake's promise: a durable queue of command blocks, made of lanes (DESIGN §1, §6).

A lane is one writer's part of it, with a random id minted at its creation. Its blocks are numbered 1, 2, 3 … and
taken strictly in that order. Redelivery is allowed and harmless: a block at or below the lane's journaled
position is skipped. `tallystick.conformance.intake` is the suite every adapter must pass.
"""

from collections.abc import Mapping
from typing import Protocol

from tallystick.records.blocks import Bytes, CommandBlock

LaneId = bytes
"""16 random bytes."""


class Lane(Protocol):
    """The writing end of one lane, owned by one gateway process. Not safe for concurrent calls."""

    @property
    def id(self) -> LaneId:
        """16 random bytes, the lane's for ever."""
        ...

    @property
    def control(self) -> bool:
        """Whether it carries control commands, which are served before payments."""
        ...

    @property
    def prompt(self) -> bool:
        """Whether a submit costs a disk's sync at most, so that an event loop may wait for it; else it is a network."""
        ...

    def submit(self, commands: Bytes) -> int:
        """Append 1 to 8,190 commands (n × 256 bytes) as the lane's next block; returns that block's number.

        **Durable when it returns.** Raises `Unavailable` if nothing was written (disk full: wait, then retry) and
        `OutcomeUnknown` if it may have been: the lane is then spent, open another and submit the requests there.
        """
        ...

    def close(self) -> None:
        """Give the lane up. Another process may then take it over and number on."""
        ...


class Intake(Protocol):
    """All lanes of one shard."""

    def open_lane(self, control: bool) -> Lane:
        """A lane to write to: an abandoned one of that sort, checked and repaired, or a new one.

        Raises `Corrupt` if a durable block of the lane cannot be read, `Unavailable` if the disk is full.
        """
        ...

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        """Durable blocks beyond `positions`, whole, in the order to decide them; empty if none wait.

        Control lanes first, up to `control_max` commands of theirs; then payment lanes round-robin, until all
        together would pass `commands_max` (the first block is given even if it alone passes). Where control left no
        room for the payment block whose turn it was, the next call begins with that block. A lane that
        `positions` does not name starts at 0. Never blocks. Raises `Corrupt` for a gap in a lane, for a position
        outside what a known lane holds, and for a durable block that does not verify.
        """
        ...

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        """Blocks up to `positions` are said to be durable: let them come, at most so long; whether they have.

        Where blocks travel, one may be durable a moment before `receive` gives it.
        """
        ...

    def done(self, positions: Mapping[LaneId, int]) -> None:
        """These positions are durable in the journal; what lies at or below them may be deleted after retention."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
