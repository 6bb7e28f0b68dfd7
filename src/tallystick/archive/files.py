"""The archive as files of a folder, best on another disk or machine: blocks one after the other, and a record.

    <seq of its first entry>.blocks    whole blocks, byte for byte as in the journal, without padding
    state                              how far the files count (`blockfile.slots`)

Bytes beyond what the record counts mean nothing, and are written over by what comes next. So any number of blocks costs
three syncs, and there is no end to repair: a block counts once the record says so, and that is after its own sync.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.archive import history
from tallystick.archive.port import Archived
from tallystick.blockfile import slots
from tallystick.blockfile.disk import Disk, File
from tallystick.blockfile.slots import Slots
from tallystick.errors import Corrupt
from tallystick.records.blocks import (
    HEADER_SIZE,
    Bytes,
    EntryBlock,
    buffers_of,
    pack_positions,
    parse,
    parse_header,
    unpack_positions,
)

STATE, LOCK, SUFFIX = "state", "lock", ".blocks"
FILE_BYTES = 67_108_864
"""A file that has so many gets no more."""
_STATE = struct.Struct("<QQQ32s")


@dataclass(frozen=True, slots=True)
class _State:
    """The record: how far the files count."""

    file: int = 0
    """Of the last file, the seq it begins with."""
    size: int = 0
    """Bytes of it that count; 0 before the first block."""
    end: Archived = field(default_factory=Archived)

    def pack(self) -> bytes:
        head = _STATE.pack(self.end.next_seq, self.file, self.size, self.end.hash)
        return head + pack_positions(self.end.positions)


def _state(value: bytes | None) -> _State:
    if value is None:
        return _State()
    next_seq, file, size, digest = _STATE.unpack_from(value)
    return _State(file, size, Archived(next_seq, digest, unpack_positions(value[_STATE.size :])))


class FileArchiveReader:
    """As `port.ArchiveReader`. The folder need not exist yet: then nothing is archived."""

    def __init__(self, folder: Path, disk: Disk, newest: bool = False) -> None:
        """`newest`: take in what a writer that was killed may have added without coming to say so, as the next writer
        will. For rolling forward: a journal that went another way from there would be of another history.
        """
        self.folder = folder
        self._disk = disk
        self._read_record = slots.newest if newest else slots.read

    def end(self) -> Archived:
        return self._read_state().end

    def read(self, seq: int) -> Iterator[EntryBlock]:
        state = self._read_state()
        if seq > state.end.next_seq:
            raise Corrupt(f"{self.folder} ends at entry {state.end.next_seq}; entry {seq} is not in it")
        return self._blocks(seq, state) if seq < state.end.next_seq else iter(())

    def close(self) -> None:
        """Nothing is kept open."""

    def _read_state(self) -> _State:
        return _state(self._read_record(self.folder / STATE, self._disk))

    def _blocks(self, seq: int, state: _State) -> Iterator[EntryBlock]:
        names = [name for name in self._disk.list(self.folder) if name.endswith(SUFFIX)]
        starts = sorted(start for start in (int(name.removesuffix(SUFFIX)) for name in names) if start <= state.file)
        if not starts or starts[0] > seq:
            raise Corrupt(f"{self.folder}: the file that holds entry {seq} is not there")
        begin = max(start for start in starts if start <= seq)
        expected, previous = begin, bytes(32) if begin == 0 else None
        for start in starts[starts.index(begin) :]:
            if start != expected:
                raise Corrupt(f"{self.folder}: the file that begins with entry {expected} is not there")
            for block in self._of_file(start, state.size if start == state.file else None):
                header = block.header
                if header.first != expected or previous not in (None, header.previous):
                    raise Corrupt(f"{self.folder}: block {header.first} does not continue the one before it")
                expected, previous = header.next, header.hash
                if header.first >= seq:
                    yield block
                elif header.next > seq:
                    raise Corrupt(f"{self.folder}: no block begins with entry {seq}, but one with {header.first}")
        if (expected, previous) != (state.end.next_seq, state.end.hash):
            raise Corrupt(f"{self.folder}: the blocks end at entry {expected}, not at {state.end.next_seq}")

    def _of_file(self, start: int, size: int | None) -> Iterator[EntryBlock]:
        file = self._disk.open(path_of(self.folder, start))
        if file is None:
            raise Corrupt(f"{path_of(self.folder, start)} is missing")
        try:
            at, end = 0, file.size() if size is None else size
            while at < end:
                header = parse_header(file.read(at, HEADER_SIZE))
                block = parse(file.read(at, header.size))
                if not isinstance(block, EntryBlock):
                    raise Corrupt(f"{path_of(self.folder, start)}: a block of a lane is no part of an archive")
                yield block
                at += header.size
            if at != end:
                raise Corrupt(f"{path_of(self.folder, start)} has {end} bytes that count, but its blocks end at {at}")
        finally:
            file.close()


class FileArchive(FileArchiveReader):
    """As `port.Archive`: the one writer of the folder, under its lock."""

    def __init__(self, folder: Path, disk: Disk, file_bytes: int = FILE_BYTES) -> None:
        """Creates the folder. Raises `Fenced` if another writer has it, `Corrupt`, `Unavailable`."""
        super().__init__(folder, disk)
        disk.make_folder(folder)
        self._file_bytes = file_bytes
        self._lock = disk.lock(folder / LOCK)
        self._slots: Slots | None = None
        self._file: File | None = None
        self._known = _State()

    def end(self) -> Archived:
        return self._opened()[1].end

    def add(self, blocks: Sequence[EntryBlock]) -> None:
        record, state = self._opened()
        fresh = history.fresh(blocks, state.end, f"in {self.folder}")
        if not fresh:
            return
        try:
            if state.size >= self._file_bytes or not state.size:
                self._let_go_of_file()
                # A file that was begun and whose record was not written holds nothing that counts: cut it off, since
                # a full file is read to its end.
                path = path_of(self.folder, fresh[0].header.first)
                self._disk.remove(path)
                self._file = self._disk.create(path, private=True)
                state = _State(fresh[0].header.first, 0, state.end)
            elif self._file is None:
                self._file = self._disk.open(path_of(self.folder, state.file), writable=True)
            if self._file is None or self._file.size() < state.size:
                raise Corrupt(f"{path_of(self.folder, state.file)}: {state.size} bytes were durable, and are not there")
            buffers: list[Bytes] = [part for block in fresh for part in buffers_of(block)]
            self._file.write(state.size, buffers)
            self._file.sync()
            if not state.size:
                self._disk.sync_folder(self.folder)
            last = fresh[-1]
            size = state.size + sum(block.header.size for block in fresh)
            after = _State(state.file, size, Archived(last.header.next, last.header.hash, last.positions))
            record.store(after.pack())
            self._known = after
        except BaseException:
            self._forget()  # what the disk has now is found out by the next call
            raise

    def close(self) -> None:
        self._forget()
        self._lock.release()

    def _opened(self) -> tuple[Slots, _State]:
        if self._slots is None:
            self._slots = Slots(self.folder / STATE, self._disk)
            self._known = _state(self._slots.value)
        return self._slots, self._known

    def _forget(self) -> None:
        self._let_go_of_file()
        if self._slots is not None:
            self._slots.close()
            self._slots = None

    def _let_go_of_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def path_of(folder: Path, start: int) -> Path:
    """The file whose blocks begin with entry `start`."""
    return folder / f"{start:020d}{SUFFIX}"
