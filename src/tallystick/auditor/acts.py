"""A log of acts as a transparency log: its sequencer, and how its readers get it. Number n is leaf n.

As with the journal, the tree's record is durable only after the tree, so it cannot skip, repeat or fork.
"""

import struct
from pathlib import Path

from tallystick.acts.port import ActReader
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.serving import LogReader
from tallystick.blockfile.disk import Disk
from tallystick.blockfile.slots import Slots
from tallystick.errors import Corrupt, Damaged
from tallystick.tlog.merkle import leaf_hash

ACTS_AT_ONCE = 4_096
_STATE = struct.Struct("<Q32s")  # size, root


class ActSequencer:
    """Acts in, tree out. One thread calls it."""

    def __init__(self, acts: ActReader, levels: LevelFiles, state: Slots) -> None:
        """Goes on where the durable tree ends. Raises `Damaged` if that is not as it was written: the next start makes
        it again.
        """
        self._acts = acts
        self._levels = levels
        self._state = state
        if not state.value:
            return
        size, root = _STATE.unpack(state.value)
        try:
            levels.resume(size)
            found: bytes | None = levels.root()
        except Corrupt:
            found = None
        if found != root:
            state.store(b"")
            raise Damaged(f"the tree of {size} acts is not as it was written; it is made again")

    def step(self) -> int:
        """Take in what waits, up to a limit; returns how many. **Durable on return.** Raises as files and acts do."""
        entries = self._acts.read(self._levels.size, ACTS_AT_ONCE)
        if not entries:
            if (end := self._acts.end()) < self._levels.size:
                raise Corrupt(f"{self._levels.size} acts were noted, and only {end} are there: some were deleted")
            return 0
        self._levels.append(b"".join(leaf_hash(entry) for entry in entries))
        self._levels.flush()
        self._state.store(_STATE.pack(self._levels.size, self._levels.root()))
        return len(entries)


class ActLogReader(LogReader):
    """As `LogReader`, with bundles out of a log of acts."""

    def __init__(self, folder: Path, disk: Disk, acts: ActReader) -> None:
        super().__init__(folder, disk, None)
        self._acts = acts

    def _framed(self, first: int, count: int) -> bytes:
        entries = self._acts.read(first, count)
        if len(entries) != count:
            raise Corrupt(f"act {first + len(entries)} is under a signed checkpoint, but is not there")
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
