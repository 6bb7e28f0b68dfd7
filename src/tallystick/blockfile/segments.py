"""Where blocks lie: logical byte positions, and the segment files that hold them.

Segment k covers the positions from k × segment_bytes on and is named by its start, 20 digits. A block begins at a
multiple of 512 bytes and never straddles segments; what it leaves of a segment stays zero.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from tallystick.blockfile.disk import Disk, File
from tallystick.errors import Corrupt

SECTOR = 512
"""Bytes a disk writes whole or not at all, as block files assume (DESIGN §6)."""
SEGMENT_BYTES_MIN = 4096
LOCK_NAME = "lock"
DURABLE_END_NAME = "durable-end"
SEGMENT_BYTES_NAME = "segment-bytes"
_SLICE = 1 << 20
_FILES_MAX = 64


def padded(size: int) -> int:
    """Bytes that a block of `size` occupies: whole sectors."""
    return -(-size // SECTOR) * SECTOR


def segment_path(folder: Path, start: int) -> Path:
    """The file of the segment that begins at position `start`."""
    return folder / f"{start:020d}"


def stored_segment_bytes(folder: Path, disk: Disk) -> int | None:
    """The size of segments that a block file was created with; None if it was not created whole."""
    file = disk.open(folder / SEGMENT_BYTES_NAME)
    if file is None:
        return None
    try:
        return int.from_bytes(file.read(0, 8), "little") or None
    finally:
        file.close()


def settle_segment_bytes(folder: Path, disk: Disk, wanted: int) -> int:
    """The size of segments, durable: as stored, or `wanted` for a new block file. A setting changes only new ones.

    Raises `Corrupt` if segments exist but not their size.
    """
    if wanted < SEGMENT_BYTES_MIN or wanted % SECTOR:
        raise ValueError(f"segments must be a multiple of {SECTOR} bytes and at least {SEGMENT_BYTES_MIN}: {wanted}")
    stored = stored_segment_bytes(folder, disk)
    if any(_is_segment(name) for name in disk.list(folder)):
        if stored is None:
            raise Corrupt(f"{folder}: segments are there, but the file {SEGMENT_BYTES_NAME} is not")
        return stored
    # Written even if it can be read: a sync that failed before may have left it readable and not stored.
    path = folder / SEGMENT_BYTES_NAME
    file = disk.open(path, writable=True) or disk.create(path)
    try:
        file.write(0, [wanted.to_bytes(8, "little")])
        file.sync()
    finally:
        file.close()
    disk.sync_folder(folder)
    return wanted


def _is_segment(name: str) -> bool:
    return len(name) == 20 and name.isdigit()


class Segments:
    """The segment files of one block file, opened as they are read. Not safe for concurrent calls."""

    def __init__(self, folder: Path, disk: Disk, segment_bytes: int, fresh: bool = False) -> None:
        self.folder = folder
        self.segment_bytes = segment_bytes
        self._fresh = fresh
        self._disk = disk
        self._files: dict[int, File] = {}

    def start_of(self, at: int) -> int:
        """Where the segment that covers position `at` begins."""
        return at - at % self.segment_bytes

    def starts(self) -> list[int]:
        """Where the segments there are begin, in order. Raises `Corrupt` if one is missing between others."""
        names = self._disk.list(self.folder)
        starts = [int(name) for name in names if _is_segment(name)]
        for before, after in pairwise(starts):
            if after != before + self.segment_bytes:
                raise Corrupt(f"{self.folder}: no segment at {before + self.segment_bytes}, but one at {after}")
        if starts and starts[0] % self.segment_bytes:
            raise Corrupt(f"{self.folder}: no segment can begin at {starts[0]}")
        return starts

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from position `at`, all of one segment; fewer if its file ends. Raises `Corrupt` without one."""
        start = self.start_of(at)
        file = self._files.get(start)
        if file is None:
            file = self._open(start)
        if self._fresh:
            file.forget(at - start, size)
        return file.read(at - start, size)

    def size(self, start: int) -> int:
        """Bytes that the file of a segment has."""
        return (self._files.get(start) or self._open(start)).size()

    def nonzero(self, at: int, until: int) -> tuple[int, int] | None:
        """The first and the last sector between two positions of one segment that are not all zero, or None."""
        first = last = None
        while at < until:
            data = self.read(at, min(_SLICE, until - at))
            if not data:
                break
            if data != bytes(len(data)):
                rows = np.frombuffer(data.ljust(padded(len(data)), b"\0"), np.uint64).reshape(-1, SECTOR // 8)
                found = np.flatnonzero(rows.any(axis=1))
                first = at + int(found[0]) * SECTOR if first is None else first
                last = at + int(found[-1]) * SECTOR
            at += len(data)
        return None if first is None or last is None else (first, last)

    def remove(self, start: int) -> None:
        """Delete the file of a segment; not durable before the folder is synced."""
        if file := self._files.pop(start, None):
            file.close()
        self._disk.remove(segment_path(self.folder, start))

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _open(self, start: int) -> File:
        file = self._disk.open(segment_path(self.folder, start))
        if file is None:
            raise Corrupt(f"{self.folder}: the segment at {start} is missing")
        if len(self._files) >= _FILES_MAX:
            self._files.pop(next(iter(self._files))).close()
        self._files[start] = file
        return file
