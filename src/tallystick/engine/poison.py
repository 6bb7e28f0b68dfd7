"""Poison: a request that crashes `decide` must not stop the shard for ever (DESIGN §4).

A marker, in registers that outlive the process, is set before `decide` and cleared after. Set at start, and with a
crash noted (an exception, or a fatal signal that faulthandler wrote down), it counts against the requests that
were being decided; a full disk or a kill leaves no such note. The second time the requests are decided alone, and
one that crashes alone is refused `quarantined`. Two within an hour stop the shard.
"""

from dataclasses import dataclass
from enum import IntEnum

from tallystick.blockfile.disk import Register
from tallystick.errors import Corrupt

HOUR_NS = 3600 * 1_000_000_000
CRASHES_MAX = 2
"""So often may a batch crash before its requests are decided alone."""


class Mode(IntEnum):
    """How the next requests are to be decided."""

    TOGETHER = 0
    ALONE = 1
    QUARANTINE = 2


@dataclass
class Registers:
    """What is remembered across a crash."""

    deciding: Register  # 1 + first seq of the block being decided; 0: none
    crashed_at: Register  # 1 + first seq at which it crashed last
    crashes: Register  # how often it crashed there, one after the other
    alone: Register  # 1 if that was with one request alone
    quarantined_at: Register  # ns, the last quarantine


class Poison:
    """The marker and what follows from it. Used by the engine's loop alone."""

    def __init__(self, registers: Registers, crash_noted: bool, next_seq: int) -> None:
        """`crash_noted`: the last process left word of a crash, not of a kill. `next_seq`: the journal's end."""
        self._registers = registers
        here = next_seq + 1
        if registers.deciding.load() == here and crash_noted:
            again = registers.crashed_at.load() == here
            if registers.alone.load():
                registers.crashes.store(CRASHES_MAX)
            else:
                registers.crashes.store(registers.crashes.load() + 1 if again else 1)
            registers.crashed_at.store(here)
        elif registers.crashed_at.load() != here:
            registers.crashes.store(0)
            registers.alone.store(0)
        registers.deciding.store(0)

    def mode(self, next_seq: int, now: int) -> Mode:
        """How to decide what comes at `next_seq`. Raises `Corrupt` for the second quarantine within an hour."""
        registers = self._registers
        if registers.crashed_at.load() != next_seq + 1 or registers.crashes.load() < CRASHES_MAX:
            return Mode.TOGETHER
        if not registers.alone.load():
            return Mode.ALONE
        last = registers.quarantined_at.load()
        if last and now - last < HOUR_NS:
            raise Corrupt("two requests within an hour crashed the engine; look at the crash notes before you start it")
        registers.quarantined_at.store(now)
        return Mode.QUARANTINE

    def guard(self, next_seq: int, alone: bool) -> "Guard":
        """A context to decide in: sets the marker, clears it at the end unless an exception passes."""
        return Guard(self._registers, next_seq, alone)


class Guard:
    """See `Poison.guard`."""

    def __init__(self, registers: Registers, next_seq: int, alone: bool) -> None:
        self._registers = registers
        self._next_seq = next_seq
        self._alone = alone

    def __enter__(self) -> None:
        self._registers.alone.store(int(self._alone))
        self._registers.deciding.store(self._next_seq + 1)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._registers.deciding.store(0)
