"""Acts in the archive: what a log of acts holds, as a file and a record in a folder of its own.

    entries    one after the other, each behind its length (uint16, big-endian), as in a bundle
    state      how far they count (`blockfile.slots`)

As with blocks (`files`): bytes beyond what the record counts mean nothing, and are written over by what comes next.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from tallystick.archive.port import ArchivedActs
from tallystick.blockfile import slots
from tallystick.blockfile.disk import Disk, File
from tallystick.blockfile.slots import Slots
from tallystick.errors import Corrupt

ENTRIES, STATE, LOCK = "entries", "state", "lock"
READ_BYTES = 1_048_576
_STATE = struct.Struct("<QQ32s")  # entries, bytes, root
_LENGTH = struct.Struct(">H")


class FileActArchiveReader:
    """As `port.ActArchiveReader`. The folder need not exist yet: then nothing is archived."""

    def __init__(self, folder: Path, disk: Disk, newest: bool = False) -> None:
        """`newest`: as for `files.FileArchiveReader`."""
        self.folder = folder
        self._disk = disk
        self._read_record = slots.newest if newest else slots.read

    def end(self) -> ArchivedActs:
        return _parsed(self._read_record(self.folder / STATE, self._disk))[0]

    def read(self, first: int) -> Iterator[list[bytes]]:
        end, size = _parsed(self._read_record(self.folder / STATE, self._disk))
        if end.count <= first:
            return
        file = self._disk.open(self.folder / ENTRIES)
        if file is None:
            raise Corrupt(f"{self.folder / ENTRIES} is missing")
        try:
            number, at, left = 0, 0, b""
            while at < size:
                data = file.read(at, min(READ_BYTES, size - at))
                if not data:
                    raise Corrupt(f"{self.folder / ENTRIES} has {at} bytes; {size} were archived")
                at += len(data)
                entries, left = _split(left + data)
                yield entries[max(0, first - number) :]
                number += len(entries)
            if (number, left) != (end.count, b""):
                raise Corrupt(f"{self.folder / ENTRIES} holds {number} acts; {end.count} were archived")
        finally:
            file.close()

    def close(self) -> None:
        """Nothing is kept open."""


class FileActArchive(FileActArchiveReader):
    """As `port.ActArchive`: the one writer of the folder, under its lock."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Creates the folder. Raises `Fenced` if another writer has it, `Corrupt`, `Unavailable`."""
        super().__init__(folder, disk)
        disk.make_folder(folder)
        self._lock = disk.lock(folder / LOCK)
        self._slots: Slots | None = None
        self._file: File | None = None

    def end(self) -> ArchivedActs:
        return _parsed(self._record().value)[0]

    def add(self, entries: Sequence[bytes], root: bytes) -> None:
        record = self._record()
        end, size = _parsed(record.value)
        data = b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)
        try:
            made = False
            if self._file is None:
                self._file = self._disk.open(self.folder / ENTRIES, writable=True)
            if self._file is None:
                self._file, made = self._disk.create(self.folder / ENTRIES, private=True), True
            if self._file.size() < size:
                raise Corrupt(f"{self.folder / ENTRIES}: {size} bytes were durable, and are not there")
            self._file.write(size, [data])
            self._file.sync()
            if made or not size:
                self._disk.sync_folder(self.folder)
            record.store(_STATE.pack(end.count + len(entries), size + len(data), root))
        except BaseException:
            self._forget()  # what the disk has now is found out by the next call
            raise

    def close(self) -> None:
        self._forget()
        self._lock.release()

    def _record(self) -> Slots:
        if self._slots is None:
            self._slots = Slots(self.folder / STATE, self._disk)
        return self._slots

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._slots is not None:
            self._slots.close()
            self._slots = None


def _parsed(value: bytes | None) -> tuple[ArchivedActs, int]:
    """The record, and how many bytes count."""
    if value is None:
        return ArchivedActs(), 0
    count, size, root = _STATE.unpack(value)
    return ArchivedActs(count, root), size


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole entries, and what is left of one that is not."""
    entries, at = [], 0
    while at + _LENGTH.size <= len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            break
        entries.append(data[at + _LENGTH.size : end])
        at = end
    return entries, data[at:]
