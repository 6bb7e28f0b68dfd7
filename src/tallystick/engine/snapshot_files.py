"""Where snapshots are kept: the `Snapshots` port, in files and in memory (DESIGN §4).

A snapshot is a chain of parts. Each covers entries from `first` up to `stop` and holds the rows of the books that
changed between; the first of a chain, the base, holds all rows from entry 0 on. Parts are derived from the journal:
one that is not whole, reaches past the journal's end or belongs to another journal is not used, nor is what follows
it. The books then start from the part before, and the journal's tail is longer.

A part is a header of 128 bytes, a `summary` of what is no row, then for each table the numbers of its rows (a base
has none: it holds row 0, 1, 2, …) and the rows. It is written under its own name: until the last byte is durable
its hash does not fit, and what it replaces is still there.
"""

import contextlib
import hashlib
import re
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk, File
from tallystick.errors import Corrupt
from tallystick.records.blocks import Bytes

MAGIC = b"TALLYBKS"
VERSION = 1
HEADER_SIZE = 128
_HEADER = struct.Struct("<8sHHIQQQQ")  # magic, version, 0, 0, first, stop, size of the summary, size of all
_HASH_AT = HEADER_SIZE - 32
_NAME = re.compile(r"([0-9]{20})-([0-9]{20})\.books")
SLICE_BYTES = 1 << 20
"""Read, hashed or written at once: a millisecond or two."""
SYNCED_BYTES = 4 << 20
"""Written between two syncs: more at once, and the journal's own syncs would wait behind them."""
SUMMARY_MAX = 64 << 20

Say = Callable[[str], None]
Words = npt.NDArray[np.uint64]


class TableSummary(msgspec.Struct, frozen=True):
    """One table in a part."""

    name: str
    row_size: int  # bytes
    count: int  # rows in the books, numbered from 0
    held: int  # rows in this part


class Summary(msgspec.Struct, frozen=True):
    """What a part says beside its rows."""

    layout: str  # of the rows: a hash that changes with any field
    journal_hash: bytes  # of the block that ends at `stop`: whose journal this is
    last_timestamp: int
    positions: bytes  # `records.blocks.pack_positions`
    tables: tuple[TableSummary, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """Which entries a part covers."""

    first: int
    stop: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.first:020d}-{self.stop:020d}.books"


class Source(Protocol):
    """The bytes of a part."""

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from `at`. Raises `Corrupt` if they cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is whole."""

    label: Label
    summary: Summary
    size: int  # bytes in all
    source: Source = field(repr=False)
    tables_at: int

    def numbers(self, name: str) -> Words:
        """The numbers of the rows of a table, ascending."""
        table, at = self._find(name)
        if self.label.first == 0:
            return np.arange(table.held, dtype="<u8")
        return np.frombuffer(self._read(at, 8 * table.held), "<u8")

    def rows(self, name: str, begin: int, end: int) -> Words:
        """Some of the rows of a table, by their place in this part, as words."""
        table, at = self._find(name)
        at += 8 * table.held if self.label.first else 0
        data = self._read(at + begin * table.row_size, (end - begin) * table.row_size)
        return np.frombuffer(data, "<u8").reshape(-1, table.row_size // 8)

    def verified(self) -> Generator[None, None, None]:
        """Read all of it again, slice by slice. Raises `Corrupt` if it is no longer what it was."""
        yield from examined(self.label, self.source, self.size)

    def _find(self, name: str) -> tuple[TableSummary, int]:
        at = self.tables_at
        for table in self.summary.tables:
            if table.name == name:
                return table, at
            at += table.held * (table.row_size + (8 if self.label.first else 0))
        raise Corrupt(f"snapshot {self.label.name} has no table {name}")

    def _read(self, at: int, size: int) -> bytes:
        data = b"".join(
            self.source.read(at + done, min(SLICE_BYTES, size - done)) for done in range(0, size, SLICE_BYTES)
        )
        if len(data) != size:
            raise Corrupt(f"snapshot {self.label.name} ends before {at + size}")
        return data


Writing = Generator[None, None, Part]
Fits = Callable[[Label, Summary], bool]


class Snapshots(Protocol):
    """Keeps parts. One thread at a time."""

    def load(self, end: int, fits: Fits, say: Say, sweep: bool = True) -> list[Part]:
        """The parts to start from, oldest first: each whole, none past `end`, and such that it `fits`.

        A part that should be there and is not used is told with `say`. With `sweep`, what can never be used again is
        deleted, durably: a part that reaches past the end now must not look right later.
        """
        ...

    def write(self, label: Label, summary: Summary, body: Iterable[Bytes]) -> Writing:
        """Write a part, slice by slice; `body` gives numbers and rows, table by table. **Durable** at the end.

        Raises what the disk raises: nothing counts then.
        """
        ...

    def remove(self, labels: Sequence[Label]) -> None:
        """Delete parts. If a power cut brings them back, no harm is done."""
        ...

    def superseded(self, base: Label) -> list[Label]:
        """Other parts there are that cover nothing beyond this base: what it was merged from, and older."""
        ...


def header(label: Label, summary: bytes, size: int) -> bytes:
    """The first bytes of a part, without its hash."""
    return _HEADER.pack(MAGIC, VERSION, 0, 0, label.first, label.stop, len(summary), size).ljust(_HASH_AT, b"\0")


def size_of(label: Label, summary: Summary) -> int:
    """Bytes of a part with this summary."""
    rows = sum(table.held * (table.row_size + (8 if label.first else 0)) for table in summary.tables)
    return HEADER_SIZE + len(msgspec.msgpack.encode(summary)) + rows


def examine(label: Label, source: Source, size: int) -> Part:
    """The part in these bytes. Raises `Corrupt` if they are not a whole one of this version."""
    examining = examined(label, source, size)
    while True:
        try:
            next(examining)
        except StopIteration as end:
            part: Part = end.value
            return part


def examined(label: Label, source: Source, size: int) -> Writing:
    """`examine`, slice by slice."""
    head = source.read(0, HEADER_SIZE)
    if len(head) != HEADER_SIZE:
        raise Corrupt("it has no header")
    magic, version, *reserved, first, stop, summary_size, whole = _HEADER.unpack_from(head)
    if (magic, version, first, stop) != (MAGIC, VERSION, label.first, label.stop) or any(reserved):
        raise Corrupt("its header is not that of such a part")
    if whole != size or summary_size > min(size, SUMMARY_MAX):
        raise Corrupt(f"it has {size} bytes instead of {whole}")
    digest = hashlib.sha256(head[:_HASH_AT])
    encoded = b""
    for at in range(HEADER_SIZE, size, SLICE_BYTES):
        data = source.read(at, min(SLICE_BYTES, size - at))
        digest.update(data)
        if len(encoded) < summary_size:
            encoded += data[: summary_size - len(encoded)]
        yield
    if digest.digest() != head[_HASH_AT:]:
        raise Corrupt("its hash does not match its bytes")
    try:
        summary = msgspec.msgpack.decode(encoded, type=Summary)
    except msgspec.MsgspecError as error:
        raise Corrupt("its summary cannot be read") from error
    if size_of(label, summary) != size:
        raise Corrupt("its tables do not fill it")
    return Part(label, summary, size, source, HEADER_SIZE + summary_size)


def find_chain(there: Iterable[Label], end: int, read: Callable[[Label], Part | None], fits: Fits) -> list[Part]:
    """Parts from entry 0 on without a gap: at each place the longest that can be read and fits."""
    left = sorted((label for label in there if label.first < label.stop <= end), key=lambda label: -label.stop)
    found: list[Part] = []
    covered = 0
    while True:
        for label in left:
            if label.first == covered and (part := read(label)) is not None and fits(label, part.summary):
                found.append(part)
                covered = label.stop
                break
        else:
            return found


class MemorySnapshots:
    """Kept in memory, for as long as whoever made it holds on to it: for tests."""

    def __init__(self) -> None:
        self.parts: dict[Label, bytes] = {}

    def load(self, end: int, fits: Fits, say: Say, sweep: bool = True) -> list[Part]:
        return find_chain(self.parts, end, lambda label: self._read(label, say), fits)

    def _read(self, label: Label, say: Say) -> Part | None:
        data = self.parts[label]
        try:
            return examine(label, _Held(data), len(data))
        except Corrupt as error:
            say(f"snapshot {label.name} is not used: {error}")
            return None

    def write(self, label: Label, summary: Summary, body: Iterable[Bytes]) -> Writing:
        encoded = msgspec.msgpack.encode(summary)
        head = header(label, encoded, size_of(label, summary))
        parts = [encoded]
        for data in body:
            parts.append(bytes(data))
            yield
        content = b"".join(parts)
        self.parts[label] = head + hashlib.sha256(head + content).digest() + content
        return examine(label, _Held(self.parts[label]), len(self.parts[label]))

    def remove(self, labels: Sequence[Label]) -> None:
        for label in labels:
            self.parts.pop(label, None)

    def superseded(self, base: Label) -> list[Label]:
        return [label for label in self.parts if label.stop <= base.stop and label != base]


@dataclass(frozen=True, slots=True)
class _Held:
    data: bytes

    def read(self, at: int, size: int) -> bytes:
        return self.data[at : at + size]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A part's file, opened for each slice: chains may be long."""

    disk: Disk
    path: Path

    def read(self, at: int, size: int) -> bytes:
        with _opened(self.disk, self.path) as file:
            return file.read(at, size)

    def size(self) -> int:
        with _opened(self.disk, self.path) as file:
            return file.size()


@contextlib.contextmanager
def _opened(disk: Disk, path: Path) -> Iterator[File]:
    file = disk.open(path)
    if file is None:
        raise Corrupt(f"{path} is gone")
    try:
        yield file
    finally:
        file.close()


class FileSnapshots:
    """A folder of part files."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder

    def load(self, end: int, fits: Fits, say: Say, sweep: bool = True) -> list[Part]:
        there = self._labels()
        useless: set[Label] = set()

        def read(label: Label) -> Part | None:
            source = _Stored(self._disk, self._folder / label.name)
            try:
                return examine(label, source, source.size())
            except Corrupt as error:
                say(f"snapshot {self._folder / label.name} is not used: {error}")
                useless.add(label)
                return None

        found = find_chain(there, end, read, fits)
        # A chain that its base replaced stays, for the day on which that base is damaged.
        replaced = self.superseded(found[0].label) if found else []
        used = {part.label for part in found}.union(replaced) - useless
        if sweep:
            self.remove([label for label in there if label not in used])
        return found

    def write(self, label: Label, summary: Summary, body: Iterable[Bytes]) -> Writing:
        self._disk.make_folder(self._folder)
        encoded = msgspec.msgpack.encode(summary)
        head = header(label, encoded, size_of(label, summary))
        digest = hashlib.sha256(head)
        path = self._folder / label.name
        self._disk.remove(path)  # what an attempt that failed has left
        file = self._disk.create(path)
        try:
            at = synced = HEADER_SIZE
            for data in chain([encoded], body):
                file.write(at, [data])
                digest.update(data)
                at += memoryview(data).nbytes
                if at - synced >= SYNCED_BYTES:
                    file.sync()
                    synced = at
                yield
            file.write(0, [head, digest.digest()])
            file.sync()
            self._disk.sync_folder(self._folder)
            yield
            # What it replaces is deleted for it: so only once it reads back.
            return (yield from examined(label, _Stored(self._disk, path), file.size()))
        finally:
            file.close()

    def remove(self, labels: Sequence[Label]) -> None:
        for label in labels:
            self._disk.remove(self._folder / label.name)
        if labels:
            self._disk.sync_folder(self._folder)

    def superseded(self, base: Label) -> list[Label]:
        return [label for label in self._labels() if label.stop <= base.stop and label != base]

    def _labels(self) -> list[Label]:
        names = (_NAME.fullmatch(name) for name in self._disk.list(self._folder))
        return [Label(int(match[1]), int(match[2])) for match in names if match]
