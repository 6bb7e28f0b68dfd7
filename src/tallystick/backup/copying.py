"""Copies blocks out of a block file that is in use, each verified on its way, and puts such copies back in place.

Reads without a lock and never beyond a durable end, as every reader does. A segment is copied up to its last block:
the zeros that fill it are made again when it is put back.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.backup.manifest import BlockFileCopy, SegmentCopy
from tallystick.blockfile.disk import Disk, File
from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.segments import (
    DURABLE_END_NAME,
    padded,
    segment_path,
    settle_segment_bytes,
)
from tallystick.errors import Corrupt
from tallystick.records.blocks import BlockKind, CommandBlock, EntryBlock, parse

SYNCED_BYTES = 4 << 20
"""Written between two syncs: more at once, and the journal's own syncs would wait behind them."""
_SLICE = 1 << 20
_ZEROS = memoryview(bytes(_SLICE))

Block = EntryBlock | CommandBlock
Moved = Callable[[int], None]
"""Called with how many more bytes have been copied."""


@dataclass
class Sheet:
    """A new file, written from its begin to its end: hashed on its way, synced now and then."""

    disk: Disk
    path: Path
    private: bool = True
    size: int = 0
    _file: File = field(init=False)
    _unsynced: int = 0

    def __post_init__(self) -> None:
        self.disk.remove(self.path)  # of an earlier try that was torn: no whole backup has this name
        self._file = self.disk.create(self.path, private=self.private)
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Append; not durable before `close`. Raises as `File.write` and `File.sync`."""
        self._hash.update(data)
        self._file.write(self.size, [data])
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNCED_BYTES:
            self._file.sync()
            self._unsynced = 0

    def close(self) -> str:
        """Durable, but for its name; returns the SHA-256 as hex."""
        self._file.sync()
        self._file.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Let go of it, half-written as it is. Nothing happens if it was closed."""
        self._file.close()


def last_block(source: BlockReader, end: int) -> Block:
    """The block that ends at position `end`, verified. Raises `Corrupt` if there is none."""
    starts = source.starts(end)
    if not starts:
        raise Corrupt(f"{source.folder}: its segments are gone; {end} bytes were durable")
    cursor, at = source.cursor(starts[-1], None), starts[-1]
    while found := cursor.next_header(end):
        at = found[0]
    last = source.cursor(at, None).next(end)
    if last is None:
        raise Corrupt(f"{source.folder}: no block ends at {end}")
    return last[1]


def copy_blocks(
    source: BlockReader,
    kept: Sequence[SegmentCopy],
    begin: int,
    first: int | None,
    end: int,
    last: int | None,
    target: "Target",
) -> BlockFileCopy:
    """Copy blocks from position `begin`, a segment's start, up to position `end`, or to the block whose `first` is
    `last`.

    `kept` are copies of the segments before, which the first block copied must continue; without them its number is
    `first` (None: any). Each block is verified: its hash, its number, in a journal the hash of the block before. What
    was copied is durable on return. Raises `Corrupt` for a block that does not verify.
    """
    target.disk.make_folder(target.folder)
    writing = _Writing(target, list(kept))
    previous = kept[-1].hash if kept else None if begin else bytes(32).hex()
    try:
        for at, data, block in _blocks(source, begin, kept[-1].next if kept else first, end):
            header = block.header
            if header.kind is BlockKind.ENTRIES and previous is not None and header.previous.hex() != previous:
                raise Corrupt(f"{source.folder}: block {header.first} does not continue the one before it")
            previous = header.hash.hex()
            writing.add(source.segments.start_of(at), at, data, block)
            if header.first == last:
                break
        segments = writing.finish(whole=False)
    finally:
        writing.abandon()
    target.disk.sync_folder(target.folder)
    return BlockFileCopy(folder=target.name, segment_bytes=source.segments.segment_bytes, segments=tuple(segments))


def _blocks(source: BlockReader, begin: int, first: int | None, end: int) -> Iterator[tuple[int, bytes, Block]]:
    """Blocks with their positions and their bytes as they stand in the file, padding included; verified."""
    cursor = source.cursor(begin, first)
    while found := cursor.next_header(end):
        at, header = found
        data = source.segments.read(at, padded(header.size))
        block = parse(data[: header.size])
        if block.header != header:
            raise Corrupt(f"{source.folder}: block {header.first} changed while it was read")
        yield at, data, block


@dataclass(frozen=True, slots=True)
class Target:
    """Where the copy of a block file goes."""

    disk: Disk
    backup: Path
    name: str
    """Its folder, in a backup and in a data folder alike."""
    generation: int
    moved: Moved

    @property
    def folder(self) -> Path:
        """Where its segments stand in the backup."""
        return self.backup / self.name

    def file_name(self, start: int) -> str:
        """What a copy of the segment at `start` is called: by generation, so that it never replaces another."""
        return f"{start:020d}.{self.generation:010d}"


class _Writing:
    """The segments of a copy, one after the other."""

    def __init__(self, target: Target, made: list[SegmentCopy]) -> None:
        self._target = target
        self._made = made
        self._sheet: Sheet | None = None
        self._start = 0
        self._last: Block | None = None

    def add(self, start: int, at: int, data: bytes, block: Block) -> None:
        """One more block, at position `at` of the segment that begins at `start`."""
        if self._sheet is None or start != self._start:
            self.finish(whole=True)
            self._sheet = Sheet(self._target.disk, self._target.folder / self._target.file_name(start))
            self._start = start
        if at != start + self._sheet.size:
            raise Corrupt(f"{self._target.name}: no block at {start + self._sheet.size}, but one at {at}")
        self._sheet.write(data)
        self._last = block
        self._target.moved(len(data))

    def finish(self, whole: bool) -> list[SegmentCopy]:
        """Make the segment at hand durable; returns all of them."""
        if self._sheet is not None and self._last is not None:
            digest = self._sheet.close()
            self._made.append(
                SegmentCopy(
                    name=f"{self._target.name}/{self._target.file_name(self._start)}",
                    start=self._start,
                    end=self._start + self._sheet.size,
                    whole=whole,
                    next=self._last.header.next,
                    hash=self._last.header.hash.hex(),
                    sha256=digest,
                )
            )
            self._sheet = None
        return self._made

    def abandon(self) -> None:
        """After a failure: let go of what is open."""
        if self._sheet is not None:
            self._sheet.abandon()


def write_file(disk: Disk, path: Path, parts: Iterable[bytes]) -> tuple[int, str]:
    """A new file of these bytes, durable but for its name: its size and SHA-256."""
    sheet = Sheet(disk, path)
    try:
        for part in parts:
            sheet.write(part)
        return sheet.size, sheet.close()
    finally:
        sheet.abandon()


def put_back(copy: BlockFileCopy, backup: Path, disk: Disk, data: Path, moved: Moved) -> None:
    """Make the block file of `copy` in data folder `data`, where it must not be; durable but for the folder's names.

    Raises `Corrupt` if a segment's copy is not as its manifest says.
    """
    folder = data / copy.folder
    disk.make_folder(folder)
    settle_segment_bytes(folder, disk, copy.segment_bytes)
    for segment in copy.segments:
        sheet = Sheet(disk, segment_path(folder, segment.start), private=False)
        try:
            for part in verified(disk, backup / segment.name, segment.end - segment.start, segment.sha256):
                sheet.write(part)
                moved(len(part))
            # Segments are filled with zeros ahead of use, which is what tells an unused sector from a lost one.
            while left := copy.segment_bytes - sheet.size:
                sheet.write(_ZEROS[: min(left, _SLICE)])
            sheet.close()
        finally:
            sheet.abandon()
    register = disk.register(folder / DURABLE_END_NAME, writable=True)
    assert register is not None
    try:
        register.store(copy.end)
    finally:
        register.close()
    disk.sync_folder(folder)


def verified(disk: Disk, path: Path, size: int, sha256: str) -> Iterator[bytes]:
    """The bytes of a backup's file, in slices. Raises `Corrupt`, at the end, if they are not those of the manifest."""
    file = disk.open(path)
    if file is None:
        raise Corrupt(f"{path} is missing: this backup is not whole any more")
    try:
        if file.size() != size:
            raise Corrupt(f"{path} has {file.size()} bytes, not {size}: this backup is not whole any more")
        digest = hashlib.sha256()
        for at in range(0, size, _SLICE):
            part = file.read(at, min(_SLICE, size - at))
            digest.update(part)
            yield part
    finally:
        file.close()
    if digest.hexdigest() != sha256:
        raise Corrupt(f"{path} is not as it was written: its hash does not fit; take another copy of this backup")
