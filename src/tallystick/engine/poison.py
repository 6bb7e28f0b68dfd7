"""Poison: a request that crashes `decide` must not stop the shard for ever (DESIGN §4).

A marker, in registers that outlive the process, is set before `decide` and cleared after. Set at start, and with a
crash noted (an exception, or a fatal signal that faulthandler wrote down), it counts against the requests that
were being decided; a full disk or a kill leaves no such marker or no such note. The second time the requests are
decided alone, and the one that crashes alone is refused `quarantined`. Two within an hour stop the shard.

The place of a crash may lie ahead of the journal's end, since a block is decided while the one before is written.
So a crash counts until the journal has passed its place, and the suspect is known by its id, not by its place.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tallystick.blockfile.disk import Register
from tallystick.errors import Corrupt, TallystickError, Violated

HOUR_NS = 3600 * 1_000_000_000
CRASHES_MAX = 2
"""So often may a batch crash before its requests are decided alone."""
CRASHED_ALONE = CRASHES_MAX + 1
TOGETHER_MARK = 0


class Mode(IntEnum):
    """How the next requests are to be decided."""

    TOGETHER = 0
    ALONE = 1
    QUARANTINE = 2  # alone, and the suspect refused


@dataclass
class Registers:
    """What is remembered across a crash."""

    deciding: Register  # 1 + first seq of the block being decided; 0: none
    alone: Register  # mark of the request being decided alone; TOGETHER_MARK: several
    crashed_at: Register  # 1 + first seq at which it crashed last
    crashes: Register  # how often it crashed thereabouts, one after the other; CRASHED_ALONE: we know the request
    suspect: Register  # mark of the request that crashed alone
    quarantined_at: Register  # ns, the last quarantine


def mark(command: Any) -> int:
    """64 bits that tell a request, given one of its commands, from others; never `TOGETHER_MARK`."""
    key = b"".join(int(command[name]).to_bytes(8) for name in ("tenant", "request_id_hi", "request_id_lo"))
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) | 1


class Poison:
    """The marker and what follows from it. Used by the engine's loop alone."""

    def __init__(self, registers: Registers, crash_noted: bool, next_seq: int) -> None:
        """`crash_noted`: the last process left word of a crash, not of a kill. `next_seq`: the journal's end."""
        self._registers = registers
        here = next_seq + 1
        deciding = registers.deciding.load()
        registers.deciding.store(0)  # first of all: a kill in between forgets a crash, and never counts one twice
        passed = registers.crashed_at.load() < here
        if passed:
            registers.crashes.store(0)
        if deciding >= here and crash_noted:
            if registers.alone.load() != TOGETHER_MARK:
                registers.crashes.store(CRASHED_ALONE)
                registers.suspect.store(registers.alone.load())
            else:
                registers.crashes.store(min(registers.crashes.load() + 1, CRASHES_MAX))
            registers.crashed_at.store(deciding)

    def mode(self, next_seq: int, now: int) -> Mode:
        """How to decide what comes at `next_seq`. Raises `Corrupt` for the second quarantine within an hour."""
        registers = self._registers
        crashes = registers.crashes.load()
        if crashes < CRASHES_MAX or registers.crashed_at.load() <= next_seq:
            return Mode.TOGETHER
        if crashes < CRASHED_ALONE:
            return Mode.ALONE
        last = registers.quarantined_at.load()
        if last and now - last < HOUR_NS:
            raise Corrupt("two requests within an hour crashed the engine; look at the crash notes before you start it")
        return Mode.QUARANTINE

    @property
    def crashes(self) -> int:
        """How often the requests at the journal's end have crashed the engine, one time after the other."""
        return self._registers.crashes.load()

    def is_suspect(self, command: Any) -> bool:
        """Whether this command is of the request that crashed alone."""
        return mark(command) == self._registers.suspect.load()

    def quarantined(self, now: int) -> None:
        """The suspect is refused, durably. Not told earlier: a kill in between would count it twice."""
        self._registers.quarantined_at.store(now)
        self._registers.crashes.store(0)

    def guard(self, next_seq: int, alone: int = TOGETHER_MARK) -> "Guard":
        """A context to decide in: sets the marker, clears it at the end unless an exception passes.

        `alone` is the mark of the one request that is decided.
        """
        return Guard(self._registers, next_seq, alone)


class Guard:
    """See `Poison.guard`."""

    def __init__(self, registers: Registers, next_seq: int, alone: int) -> None:
        self._registers = registers
        self._next_seq = next_seq
        self._alone = alone

    def __enter__(self) -> None:
        self._registers.alone.store(self._alone)
        self._registers.deciding.store(self._next_seq + 1)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What the disk or the journal raises is no request's fault; an invariant that breaks is.
        if kind is None or (issubclass(kind, TallystickError) and not issubclass(kind, Violated)):
            self._registers.deciding.store(0)
