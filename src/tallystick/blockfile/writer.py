"""The writing end of a block file: one at a time, by an exclusive lock, and only after the start-up check.

A block is durable when `append` returns. After any failure that may have left bytes the writer refuses everything:
after a failed sync Linux keeps unwritten pages readable and reports the next sync as good, so a sync is never
tried twice, and the next writer rewrites what it found before it serves (DESIGN §6).
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tallystick.blockfile.disk import Disk, File, Lock
from tallystick.blockfile.segments import (
    DURABLE_END_NAME,
    LOCK_NAME,
    Segments,
    padded,
    segment_path,
    settle_segment_bytes,
)
from tallystick.blockfile.startup import Found, examine
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.records.blocks import BLOCK_SIZE_MAX, Bytes, CommandBlock, EntryBlock, Header

_PADDING = memoryview(b"\xff" * 511)
"""What fills a block's last sector: never zero, so that not even a sector with one byte of a block could be."""
_ZEROS = memoryview(bytes(1 << 20))


class BlockWriter:
    """Appends blocks. `prepare` may be called by another thread; all else by one at a time."""

    def __init__(
        self, folder: Path, disk: Disk, segment_bytes: int, origin: int, block_bytes_max: int = BLOCK_SIZE_MAX
    ) -> None:
        """Take the lock, check, repair, rewrite and sync the last block. `origin`: the `first` of the first block.

        Raises `Fenced` if another writer lives, `Corrupt` as `startup.examine`, `Unavailable` if the disk is full,
        `OutcomeUnknown` if it fails: open again to find out.
        """
        self.folder = folder
        self._disk = disk
        self._spent = ""
        self._preparing = threading.Lock()
        self._next_file: File | None = None
        self._next_filled = 0
        disk.make_folder(folder)
        self._lock: Lock = disk.lock(folder / LOCK_NAME)
        try:
            self._open(segment_bytes, origin, block_bytes_max)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, segment_bytes: int, origin: int, block_bytes_max: int) -> None:
        self._segment_bytes = settle_segment_bytes(self.folder, self._disk, segment_bytes)
        register = self._disk.register(self.folder / DURABLE_END_NAME, writable=True)
        assert register is not None
        self._durable_end = register
        self._disk.sync_folder(self.folder)
        segments = Segments(self.folder, self._disk, self._segment_bytes)
        try:
            found = examine(segments, register.load(), origin, block_bytes_max)
            self.last: CommandBlock | EntryBlock | None = found.last
            self._end = found.end
            self._next = found.last.header.next if found.last else origin
            self._start = segments.start_of(found.at)
            self._remove_unused(segments, found)
            if found.last is None:
                self._file = self._first_segment()
            else:
                self._file = self._rewrite(segments, found, block_bytes_max)
        finally:
            segments.close()
        register.store(self._end)

    @property
    def end(self) -> int:
        """The position after the last durable block."""
        return self._end

    @property
    def next(self) -> int:
        """The `first` that the next block must have."""
        return self._next

    def append(self, header: Header, buffers: Sequence[Bytes]) -> int:
        """Append a block, `header` being that of its buffers; returns its position. **Durable when it returns.**

        Whole or not at all. Raises `Unavailable` if nothing was written (disk full), `OutcomeUnknown` if it may have
        been: the writer is then spent and says so to every later call.
        """
        room = padded(header.size)
        if room > self._segment_bytes:
            raise ValueError(f"a block of {header.size} bytes does not fit a segment of {self._segment_bytes}")
        if header.first != self._next:
            raise ValueError(f"block {header.first} cannot follow: {self._next} is next")
        self._refuse_if_spent()
        if self._end + room > self._start + self._segment_bytes:
            self._roll()
        at = max(self._end, self._start)
        if fill := room - header.size:
            buffers = [*buffers, _PADDING[:fill]]
        try:
            self._write(at - self._start, buffers, room)
            self._file.sync()
        except Unavailable:
            raise
        except BaseException as error:
            self._spent = str(error) or type(error).__name__
            raise
        self._end = at + room
        self._next = header.next
        self._durable_end.store(self._end)
        return at

    def prepare(self) -> bool:
        """Fill one more MiB of the next segment with zeros; returns whether there is more to do.

        For a background thread, so that `append` finds the segment ready. Raises as `append`.
        """
        with self._preparing:
            self._refuse_if_spent()
            if self._next_filled < self._segment_bytes:
                self._fill(self._start + self._segment_bytes)
            return self._next_filled < self._segment_bytes

    def close(self) -> None:
        """Let another writer have it. Appends nothing, syncs nothing: what `append` took is durable."""
        with self._preparing:
            self._spent = self._spent or "it was closed"
            self._file.close()
            if self._next_file is not None:
                self._next_file.close()
                self._next_file = None
            self._durable_end.close()
            self._lock.release()

    def _write(self, at: int, buffers: Sequence[Bytes], room: int) -> None:
        """Write a block at offset `at` of the segment. Raises as `File.write`."""
        try:
            self._file.write(at, buffers)
        except OutcomeUnknown:
            # A limit on sizes stops a write at any byte. In the block's last sector that would leave no sector empty,
            # and the next start would take for damage what was only never finished: so it is taken out again, as far
            # as can be. Nobody has seen it: the durable end is before it.
            with suppress(OutcomeUnknown, Unavailable):
                self._file.write(at, _zeros(room))
            raise

    def _refuse_if_spent(self) -> None:
        if self._spent:
            raise OutcomeUnknown(f"{self.folder}: this writer is spent: {self._spent}")

    def _roll(self) -> None:
        """Go on in the next segment. Raises `Unavailable` if it cannot be filled: then all stays as it was."""
        with self._preparing:
            while self._next_filled < self._segment_bytes:
                self._fill(self._start + self._segment_bytes)
            assert self._next_file is not None
            self._file.close()
            self._file, self._start = self._next_file, self._start + self._segment_bytes
            self._next_file, self._next_filled = None, 0

    def _fill(self, start: int) -> None:
        """One slice of zeros, synced; after the last one the folder too, before anything is stored there."""
        try:
            if self._next_file is None:
                self._next_file = self._disk.create(segment_path(self.folder, start))
            size = min(len(_ZEROS), self._segment_bytes - self._next_filled)
            self._next_file.write(self._next_filled, [_ZEROS[:size]])
            self._next_file.sync()
            if self._next_filled + size == self._segment_bytes:
                self._disk.sync_folder(self.folder)
        except Unavailable:
            raise
        except BaseException as error:
            self._spent = str(error) or type(error).__name__
            raise
        self._next_filled += size

    def _first_segment(self) -> File:
        while self._next_filled < self._segment_bytes:
            self._fill(0)
        assert self._next_file is not None
        file, self._next_file, self._next_filled = self._next_file, None, 0
        return file

    def _remove_unused(self, segments: Segments, found: Found) -> None:
        """Segments prepared or torn beyond the last block are made anew: what a failed sync left there is unknown."""
        unused = [start for start in segments.starts() if start > self._start or found.last is None]
        for start in reversed(unused):
            segments.remove(start)
            self._disk.sync_folder(self.folder)  # each, or a power cut might leave a hole

    def _rewrite(self, segments: Segments, found: Found, block_bytes_max: int) -> File:
        """Write the last block again in its place, and zeros in the next one's, and sync.

        Both whatever could be read: pages that a failed sync left clean read well and were never stored.
        """
        file = self._disk.open(segment_path(self.folder, self._start), writable=True)
        assert file is not None
        try:
            block = segments.read(found.at, found.end - found.at)
            zeros = min(padded(block_bytes_max), self._start + self._segment_bytes - found.end)
            file.write(found.at - self._start, [block, *_zeros(zeros)])
            file.sync()
        except BaseException:
            file.close()
            raise
        return file


def _zeros(size: int) -> list[memoryview]:
    return [_ZEROS[: min(len(_ZEROS), size - done)] for done in range(0, size, len(_ZEROS))]
