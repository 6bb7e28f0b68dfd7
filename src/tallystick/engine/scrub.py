"""The scrub: old blocks of the journal read again, slowly, so that a bit that fell over is found while others still
have it (a backup, a replica, an archive), and not on the day when it is needed.

What it finds does not stop payments: balances stand in memory, and the block is as damaged with the engine down. It
is an alarm, in the log and in metrics, until a whole round was clean again; a person must restore the segment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tallystick.blockfile.disk import Disk, Register
from tallystick.clock import Clock
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.records.blocks import EntryBlock

ROUND_NS_MIN = 3600 * 1_000_000_000
"""A short journal is not read again and again: a round begins at most so often."""
ALLOWANCE_S_MAX = 1
"""So much reading may be saved up while there was no turn."""
NAMES = ("scrubbed", "scrub-completed-at", "scrub-damaged", "scrub-damaged-at")

Alarm = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ScrubRegisters:
    """How far, and what was found: shared with whoever watches, kept across starts."""

    scrubbed: Register  # seq up to which this round has read
    completed_at: Register  # ns since the Unix epoch, when the last whole round ended; 0: none yet
    damaged: Register  # 1 + the seq that could not be read; 0: all is well
    damaged_at: Register  # ns, when that was found


@dataclass(frozen=True, slots=True)
class ScrubSeen:
    """What the registers say, for metrics."""

    scrubbed: int
    completed_at_ns: int
    damaged: int
    damaged_at_ns: int


def seen(disk: Disk, folder: Path) -> ScrubSeen:
    """What a scrub in another process has come to; zeros while there was none."""
    found = []
    for name in NAMES:
        register = disk.register(folder / name)
        found.append(register.load() if register is not None else 0)
        if register is not None:
            register.close()
    return ScrubSeen(*found)


class Scrub:
    """Reads block after block at a bounded pace, round after round. `step` is for the housekeeper's thread."""

    def __init__(
        self, reader: JournalReader, registers: ScrubRegisters, clock: Clock, bytes_s: int, alarm: Alarm
    ) -> None:
        """`reader` is for this alone, and reads from the disk itself; `bytes_s` 0 switches the scrub off."""
        self._reader = reader
        self._registers = registers
        self._clock = clock
        self._bytes_s = bytes_s
        self._alarm = alarm
        self._blocks: Iterator[EntryBlock] = iter(())
        self._reading = False
        self._clean = registers.scrubbed.load() == 0  # a round that was begun before: no word on what it passed
        self._allowance = 0.0
        self._allowed_at = clock.monotonic_ns()

    def step(self) -> bool:
        """Read one block if its turn has come; False if it has not. Damage is told and kept, never raised."""
        if not self._bytes_s or not self._has_allowance():
            return False
        if not self._reading and not self._begin():
            return False
        at = self._registers.scrubbed.load()
        try:
            block = next(self._blocks, None)
        except Corrupt as error:
            self._damaged(at, error)
            return False
        if block is None:
            self._completed()
            return False
        self._allowance -= block.header.size
        self._registers.scrubbed.store(block.header.next)
        return self._allowance > 0

    def _has_allowance(self) -> bool:
        now = self._clock.monotonic_ns()
        earned = (now - self._allowed_at) * self._bytes_s / 1e9
        self._allowed_at = now
        self._allowance = min(self._allowance + earned, self._bytes_s * ALLOWANCE_S_MAX)
        return self._allowance > 0

    def _begin(self) -> bool:
        """Go on where a round stopped, or begin one if the last is long enough ago."""
        registers = self._registers
        at = registers.scrubbed.load()
        if at and at > self._reader.end():
            registers.scrubbed.store(0)
            at = 0
        if not at:
            last = max(registers.completed_at.load(), registers.damaged_at.load())
            # The end is asked for last: it costs a look at every block that came since.
            if 0 <= self._clock.wall_ns() - last < ROUND_NS_MIN or not self._reader.end():
                return False
            self._clean = True
        try:
            self._blocks = iter(self._reader.read(at))
        except Corrupt as error:
            self._damaged(at, error)
            return False
        self._reading = True
        return True

    def _completed(self) -> None:
        registers = self._registers
        registers.completed_at.store(self._clock.wall_ns())
        if self._clean:
            registers.damaged.store(0)
        registers.scrubbed.store(0)
        self._reading = False

    def _damaged(self, at: int, error: Corrupt) -> None:
        registers = self._registers
        registers.damaged.store(at + 1)
        registers.damaged_at.store(self._clock.wall_ns())
        registers.scrubbed.store(0)  # the next round begins anew, and clears the alarm if it passes
        self._reading = False
        self._alarm(f"the journal is damaged at entry {at}: restore that segment from a copy. {error}")
