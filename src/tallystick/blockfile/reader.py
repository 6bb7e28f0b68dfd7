"""The reading end of a block file: any number of them, in any process, without a lock.

A reader never passes the durable end: what lies beyond may be gone after the next power cut (DESIGN §6).
"""

from pathlib import Path

from tallystick.blockfile.cursor import Cursor
from tallystick.blockfile.disk import Disk, Register
from tallystick.blockfile.segments import DURABLE_END_NAME, Segments, segment_path, stored_segment_bytes
from tallystick.errors import Corrupt


class BlockReader:
    """Reads a block file that may not exist yet. Not safe for concurrent calls."""

    def __init__(self, folder: Path, disk: Disk, fresh: bool = False) -> None:
        """`fresh`: read from the disk itself, where the system can, and not what it has in memory."""
        self.folder = folder
        self._fresh = fresh
        self._disk = disk
        self._register: Register | None = None
        self._segments: Segments | None = None

    def end(self) -> int:
        """The position after the last durable block; 0 while there is no block file."""
        if self._register is None:
            self._register = self._disk.register(self.folder / DURABLE_END_NAME)
        return self._register.load() if self._register else 0

    @property
    def segments(self) -> Segments:
        """The segments. Only once `end()` was above 0. Raises `Corrupt` if they cannot be understood."""
        if self._segments is None:
            segment_bytes = stored_segment_bytes(self.folder, self._disk)
            if segment_bytes is None:
                raise Corrupt(f"{self.folder}: blocks are durable, but the size of its segments is not known")
            self._segments = Segments(self.folder, self._disk, segment_bytes, self._fresh)
        return self._segments

    def cursor(self, at: int, expected: int | None) -> Cursor:
        """A cursor at position `at`, which is the start of a block, its end, or the start of a segment."""
        return Cursor(self.segments, at, expected)

    def starts(self, end: int) -> list[int]:
        """Where the segments begin that hold a block below the durable end `end`."""
        return [start for start in self.segments.starts() if start < end]

    def modified_ns(self, start: int) -> int:
        """When a segment was last written, ns since the epoch; 0 if it is gone."""
        return self._disk.modified_ns(segment_path(self.folder, start)) or 0

    def trim(self, starts: list[int]) -> None:
        """Delete whole segments. The caller knows that nobody needs them and that later ones hold blocks."""
        for start in sorted(starts):  # the lowest first: what is left stays without a hole
            self.segments.remove(start)
            self._disk.sync_folder(self.folder)  # or a power cut might bring back the lower one alone

    def close(self) -> None:
        """Close files and register."""
        if self._segments is not None:
            self._segments.close()
        if self._register is not None:
            self._register.close()
        self._register = self._segments = None
