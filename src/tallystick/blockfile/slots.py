"""A small record that is replaced whole: two slots of one file, each with number, length and hash.

A replacement writes the first slot, syncs, writes the second, syncs. A power cut tears at most one; what was ever
reported as stored stands in both, so that one damaged slot loses nothing either. There is no rename, hence no folder
to sync.
"""

import struct
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from tallystick.blockfile.disk import Disk, File
from tallystick.errors import Corrupt

SLOT_SIZE = 65_536
_HEAD = struct.Struct("<8sQI32s")
_MAGIC = b"TALLYSLT"
VALUE_BYTES_MAX = SLOT_SIZE - _HEAD.size

READS_MAX = 4

_Slot: TypeAlias = tuple[int, bytes]  # number, value


def read(path: Path, disk: Disk) -> bytes | None:
    """The record as it is stored durably; None if none is. For readers: takes no lock, and may be asked at any time.

    Raises `Corrupt` if the file is there and neither slot is whole.
    """
    file = disk.open(path)
    if file is None:
        return None
    try:
        first, second, begun = _looked_at(file, path)
    finally:
        file.close()
    # The second slot is written once the first is durable: before, the first may still be lost; while it is being
    # written, the first holds the same.
    if second is not None:
        return second[1]
    return first[1] if first is not None and begun else None


class Reader:
    """Reads such a file again and again. Safe for threads, one at a time."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """The file need not be there yet."""
        self._path = path
        self._disk = disk
        self._head = b""
        self._value: bytes | None = None

    def read(self) -> bytes | None:
        """As the function `read`; what has not changed since the last call is neither read nor hashed again."""
        file = self._disk.open(self._path)
        if file is None:
            return None
        try:
            # The second slot is written last, so while its head stands the record does.
            head = file.read(SLOT_SIZE, _HEAD.size)
        finally:
            file.close()
        if head != self._head or not any(head):
            # Read after its head, so it is at least as new: the next look at the head will tell.
            self._value = read(self._path, self._disk)
            self._head = head
        return self._value


def newest(path: Path, disk: Disk) -> bytes | None:
    """The record as the next writer will find it: it may have been written whole, and its writer killed before it could
    say so. Until one does, a power cut may still take it back. Raises `Corrupt` as `read`.
    """
    file = disk.open(path)
    if file is None:
        return None
    try:
        first, second, _ = _looked_at(file, path)
    finally:
        file.close()
    whole = [slot for slot in (first, second) if slot is not None]
    return max(whole)[1] if whole else None


class Slots:
    """The one writer of such a file. Not safe for concurrent calls."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Creates the file if it is not there; its folder must be. Raises `Corrupt` as `read`."""
        file = disk.open(path, writable=True)
        if file is None:
            file = disk.create(path, private=True)
            disk.sync_folder(path.parent)
        self._file: File = file
        first, second, _ = _slots(file, path)
        self._number, value = max(first or (0, b""), second or (0, b""))
        self._value = value if self._number else None
        if self._value is not None:
            self.store(self._value)  # finish a replacement that was cut short, and repair a damaged slot

    @property
    def value(self) -> bytes | None:
        """What was stored last; None if nothing ever was."""
        return self._value

    def store(self, value: bytes) -> None:
        """Replace the record. **Durable on return**; after an error it may be the old one or the new one.

        Raises `Unavailable` or `OutcomeUnknown`; this object is then spent.
        """
        if len(value) > VALUE_BYTES_MAX:
            raise ValueError(f"a slot has room for {VALUE_BYTES_MAX} bytes, not {len(value)}")
        number = self._number + 1
        data = _HEAD.pack(_MAGIC, number, len(value), _digest(number, value)) + value
        for at in (0, SLOT_SIZE):
            self._file.write(at, [data])
            self._file.sync()
        self._number, self._value = number, value

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _looked_at(file: File, path: Path) -> tuple[_Slot | None, _Slot | None, bool]:
    """As `_slots`, beside a writer: who is put aside between two reads may find both slots half written, once."""
    for _ in range(READS_MAX - 1):
        try:
            return _slots(file, path)
        except Corrupt:
            continue
    return _slots(file, path)


def _digest(number: int, value: bytes) -> bytes:
    return sha256(number.to_bytes(8, "little") + value).digest()


def _slots(file: File, path: Path) -> tuple[_Slot | None, _Slot | None, bool]:
    """The two slots as far as they are whole, and whether the second was ever begun."""
    first, second = _whole(file, 0), _whole(file, SLOT_SIZE)
    begun = second is not None or any(file.read(SLOT_SIZE, SLOT_SIZE))
    if begun and first is None and second is None:
        raise Corrupt(f"{path}: neither of its two copies is whole")
    return first, second, begun


def _whole(file: File, at: int) -> _Slot | None:
    head = file.read(at, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, number, length, digest = _HEAD.unpack(head)
    if magic != _MAGIC or length > VALUE_BYTES_MAX:
        return None
    value = file.read(at + _HEAD.size, length)
    return (number, value) if _digest(number, value) == digest else None
