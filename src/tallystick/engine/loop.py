"""The engine's loop: take what waits, decide it, hand it to the writer; answer look-ups in between.

`step` does one round and returns; threads and waiting live in `compose/`, so that a simulation can call the steps
in an order of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Delivery, Draft
from tallystick.engine.poison import TOGETHER_MARK, Mode, Poison, mark
from tallystick.engine.timekeeping import Timekeeper
from tallystick.engine.writer import LookedUp
from tallystick.intake.port import Intake
from tallystick.records.commands import COMMANDS_MAX

CONTROL_MAX = 1_000
"""Control commands a batch takes before payments have their turn (DESIGN §1)."""


class Source(Protocol):
    """Where whole requests come from: the lanes of an intake, or callers in process."""

    def receive(self, commands_max: int) -> list[Delivery]:
        """What waits, in the order to decide it, at most so many commands (one delivery may pass alone)."""
        ...


@dataclass
class LaneSource:
    """The lanes of an intake, from where the decider has taken them."""

    intake: Intake
    decider: Decider
    control_max: int = CONTROL_MAX

    def receive(self, commands_max: int) -> list[Delivery]:
        found = self.intake.receive(self.decider.positions, self.control_max, commands_max)
        return [Delivery(block.commands, block.header.lane, block.header.first) for block in found]


def all_decided(bells: Mapping[bytes, int], positions: Mapping[bytes, int]) -> bool:
    """Whether bells rang, by lane with the number of the last durable block, and nothing is left of what they told.

    Then the next block has a bell of its own, and looking for it before that would be a turn for nothing.
    """
    return bool(bells) and all(positions.get(lane) == number for lane, number in bells.items())


@dataclass
class EngineLoop:
    """Receive → decide → hand over. Used by one thread."""

    source: Source
    decider: Decider
    timekeeper: Timekeeper
    poison: Poison
    put: Callable[[Draft | LookedUp], None]
    """Hands work to the writer; returns when at most this one is not durable yet."""
    batch_max: int = COMMANDS_MAX

    def step(self) -> int:
        """Decide what is waiting, or expire what is due, and hand it to the writer; how much there was to do."""
        deliveries = self.source.receive(self.batch_max)
        if not deliveries:
            return self._expire()
        now = self._now()
        mode = self.poison.mode(self.decider.next_seq, now)
        if mode is not Mode.TOGETHER:
            self._decide_alone(deliveries, mode)
            now = self._now()
        self._decide(deliveries, now)
        return sum([len(delivery.commands) for delivery in deliveries])

    def _now(self) -> int:
        return self.timekeeper.after(self.decider.last_timestamp)

    def _expire(self) -> int:
        """Nothing waits: let pending transfers expire that are due, in a block of their own. Returns how many."""
        due = self.decider.next_expiry()
        if due is None or due > max(self.decider.last_timestamp + 1, self.timekeeper.now()):
            return 0
        before = self.decider.next_seq
        self._decide([], self._now())
        return self.decider.next_seq - before

    def _decide(
        self, deliveries: list[Delivery], now: int, alone: int = TOGETHER_MARK, quarantine: bool = False
    ) -> None:
        with self.poison.guard(self.decider.next_seq, alone):
            draft = self.decider.decide(deliveries, now, quarantine)
        self.put(draft)

    def _decide_alone(self, deliveries: list[Delivery], mode: Mode) -> None:
        """Each request in a block of its own; deciding the deliveries again afterwards finds only repeats."""
        for delivery in deliveries:
            at = 0
            while at < len(delivery.commands):
                first = delivery.commands[at]
                count = int(first["count"])
                quarantine = mode is Mode.QUARANTINE and self.poison.is_suspect(first)
                self._decide([Delivery(delivery.commands[at : at + count])], self._now(), mark(first), quarantine)
                if quarantine:
                    self.put(_nothing)
                    self.poison.quarantined(self.timekeeper.now())
                at += count


def _nothing() -> None:
    """A look-up that asks nothing: `put` returns once all before it is durable."""
