"""Id runs: which ids were used at older positions, in sorted, immutable files (DESIGN §5).

A run covers all positions from `first` up to `stop`, and holds a row (keyed hash of tenant and id, position) for
each id noted there, sorted. Runs are derived from the journal: a file that is not whole, was made under another key,
reaches past the journal's end or leaves a gap is deleted, with all that follow it, and made again from the journal.

A file is a header of 256 bytes, then the rows. It is written under its own name: until the last byte is durable its
hash does not fit, and what it replaces is still there. The rows are read through a memory map (16 bytes an id would
be too much memory for ids of years) and let go of now and then, the filters are kept in memory.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk, File
from tallystick.engine import bloom
from tallystick.engine.idsorting import SLICE_ROWS, Rows
from tallystick.errors import Corrupt
from tallystick.ledger.compiled import U64_MAX

HEADER_SIZE = 256
ROW_SIZE = 16
MAGIC = b"TALLYIDS"
VERSION = 1
SYNCED_ROWS = 262_144
"""Rows written between two syncs: more at once, and the journal's own syncs would wait behind them."""
_FIELDS = struct.Struct("<8sHHI32sQQQ4Q")  # magic, version, level, 0, key, first, stop, count, range of ids
_HASH_SIZE = 32
_NAME = re.compile(r"([0-9]{20})-([0-9]{20})\.ids")


def nothing() -> npt.NDArray[np.uint64]:
    """The range that holds no id: smallest (lo, hi) all ones, largest (lo, hi) zero."""
    return np.array([U64_MAX, U64_MAX, 0, 0], "<u8")


def everything() -> npt.NDArray[np.uint64]:
    """The range that holds every id."""
    return np.array([0, 0, U64_MAX, U64_MAX], "<u8")


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What a run's header says."""

    first: int  # position from which it covers all
    stop: int  # position before which it does
    level: int  # how many merges it went through
    count: int  # rows
    bounds: npt.NDArray[np.uint64]  # range of its ids: smallest (lo, hi), largest (lo, hi)

    def header(self, key: bytes) -> bytes:
        """The header's fields, without the hash; `key` is the id key's fingerprint."""
        numbers = (self.first, self.stop, self.count, *self.bounds.tolist())
        return _FIELDS.pack(MAGIC, VERSION, self.level, 0, key, *numbers)

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.first:020d}-{self.stop:020d}.ids"


@dataclass(frozen=True, slots=True, eq=False)
class IdRun:
    """A run that is whole: its rows, read-only, and the filter before them."""

    label: Label
    rows: Rows
    words: npt.NDArray[np.uint64]
    forget: Callable[[], None] = lambda: None
    """Gives back the memory that probing the rows took: mapped pages count as ours once they are touched."""


class MemoryRuns:
    """Where runs are kept if they are not kept: in memory, until the process ends."""

    def load(self, end: int, sweep: bool = True) -> list[IdRun]:
        """None: all ids are entered again from the journal."""
        return []

    def writer(self, label: Label) -> "MemoryRunWriter":
        """Begin a run."""
        return MemoryRunWriter(label)

    def remove(self, runs: Sequence[IdRun]) -> None:
        """Nothing: what nobody holds is gone."""


class FileRuns:
    """A folder of run files, all of one index and under one id key."""

    def __init__(self, disk: Disk, path: Path, key: npt.NDArray[np.uint64]) -> None:
        self._disk = disk
        self._path = path
        self._key = hashlib.sha256(b"tallystick/id-key\0" + key.tobytes()).digest()
        disk.make_folder(path)

    def load(self, end: int, sweep: bool = True) -> list[IdRun]:
        """All runs that can be trusted, from position 0 on without a gap, none past `end`, the journal's end.

        With `sweep` all other run files are deleted, durably: one that reaches past the end now must not look right
        later.
        """
        left = {(int(m[1]), int(m[2])): name for name in self._disk.list(self._path) if (m := _NAME.fullmatch(name))}
        runs: list[IdRun] = []
        covered = 0
        while (run := self._next(left, covered, end)) is not None:
            runs.append(run)
            covered = run.label.stop
        if left and sweep:
            for name in left.values():
                self._disk.remove(self._path / name)
            self._disk.sync_folder(self._path)
        return runs

    def writer(self, label: Label) -> "FileRunWriter":
        """Begin a run."""
        return FileRunWriter(label, self._key, self._disk, self._path)

    def remove(self, runs: Sequence[IdRun]) -> None:
        """Delete files that a merged run has replaced. If a power cut brings them back, `load` deletes them."""
        for run in runs:
            self._disk.remove(self._path / run.label.name)
        self._disk.sync_folder(self._path)

    def _next(self, left: dict[tuple[int, int], str], covered: int, end: int) -> IdRun | None:
        """The run that goes on from `covered`: a merged one rather than the first of those it was merged from."""
        for first, stop in sorted(left, reverse=True):
            if first == covered and first < stop <= end and (run := self._read(first, stop)) is not None:
                del left[first, stop]
                return run
        return None

    def _read(self, first: int, stop: int) -> IdRun | None:
        """A run read whole and checked against its hash; None if it cannot be trusted."""
        file = self._disk.open(self._path / f"{first:020d}-{stop:020d}.ids")
        if file is None:
            return None
        try:
            label = _label(file, self._key)
            if label is None or (label.first, label.stop) != (first, stop):
                return None
            return _at_once(_checked(file, label, self._key))
        except Corrupt:
            return None
        finally:
            file.close()


class MemoryRunWriter:
    """Gathers one run in memory."""

    def __init__(self, label: Label) -> None:
        self._label = label
        self._rows = np.empty((label.count, 2), "<u8")
        self._written = 0

    def add(self, rows: Rows) -> None:
        """The next rows, in order."""
        self._rows[self._written : self._written + len(rows)] = rows
        self._written += len(rows)

    def finish(self) -> Generator[None, None, IdRun]:
        """The run, after some slices of work."""
        _require_all(self._label, self._written)
        self._rows.setflags(write=False)
        words = bloom.empty(self._label.count)
        for begin in range(0, self._label.count, SLICE_ROWS):
            bloom.add(words, self._rows[begin : begin + SLICE_ROWS])
            yield
        return IdRun(self._label, self._rows, words)

    def close(self) -> None:
        """Nothing to let go of."""


class FileRunWriter:
    """Writes one run file, slice by slice. Nothing counts before `finish` is through."""

    def __init__(self, label: Label, key: bytes, disk: Disk, path: Path) -> None:
        self._label = label
        self._key = key
        self._hash = hashlib.sha256(label.header(key))
        self._written = 0
        self._synced = 0
        self._disk = disk
        self._path = path
        disk.remove(path / label.name)  # what an attempt that failed has left
        self._file = disk.create(path / label.name)

    def add(self, rows: Rows) -> None:
        """The next rows, in order. Raises what `File.write` and `File.sync` raise."""
        data = rows.tobytes()
        self._file.write(HEADER_SIZE + self._written * ROW_SIZE, [data])
        self._hash.update(data)
        self._written += len(rows)
        if self._written - self._synced >= SYNCED_ROWS:
            self._file.sync()
            self._synced = self._written

    def finish(self) -> Generator[None, None, IdRun]:
        """The run, after some slices of work; its file is **durable** then, and was read back.

        Raises what `File` and `Disk.sync_folder` raise, and `Corrupt` if what was written does not come back.
        """
        _require_all(self._label, self._written)
        header = (self._label.header(self._key) + self._hash.digest()).ljust(HEADER_SIZE, b"\0")
        self._file.write(0, [header])
        self._file.sync()
        self._disk.sync_folder(self._path)
        yield
        run = yield from _checked(self._file, self._label, self._key)
        if run is None:
            raise Corrupt(f"id run {self._path / self._label.name} does not read back as it was written")
        return run

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()


def _require_all(label: Label, written: int) -> None:
    if written != label.count:
        raise Corrupt(f"id run {label.name} was given {written} rows instead of {label.count}")


def _label(file: File, key: bytes) -> Label | None:
    """What the header says, if it is one of ours, under this key, and fits the size of the file."""
    data = file.read(0, HEADER_SIZE)
    if len(data) != HEADER_SIZE or any(data[_FIELDS.size + _HASH_SIZE :]):
        return None
    magic, version, level, reserved, made_with, first, stop, count, *bounds = _FIELDS.unpack(data[: _FIELDS.size])
    if (magic, version, reserved, made_with) != (MAGIC, VERSION, 0, key):
        return None
    if file.size() != HEADER_SIZE + count * ROW_SIZE:
        return None
    return Label(first, stop, level, count, np.array(bounds, "<u8"))


def _checked(file: File, label: Label, key: bytes) -> Generator[None, None, IdRun | None]:
    """The run of this file, its filter made on the way, if all rows are those that were hashed when it was made."""
    hashed = hashlib.sha256(label.header(key))
    words = bloom.empty(label.count)
    view = file.view(HEADER_SIZE + label.count * ROW_SIZE)
    rows = np.frombuffer(view.memory, "<u8", offset=HEADER_SIZE).reshape(-1, 2)
    for begin in range(0, label.count, SLICE_ROWS):
        part = rows[begin : begin + SLICE_ROWS]
        # Where the disk cannot read, this raises; touching memory it cannot fill would end the process.
        file.read(HEADER_SIZE + begin * ROW_SIZE, part.nbytes)
        hashed.update(part.data)
        bloom.add(words, part)
        view.forget()  # or all that was checked would stay ours, 16 bytes an id
        yield
    if file.read(_FIELDS.size, _HASH_SIZE) != hashed.digest():
        return None
    return IdRun(label, rows, words, view.forget)


def _at_once(slices: Generator[None, None, IdRun | None]) -> IdRun | None:
    while True:
        try:
            next(slices)
        except StopIteration as end:
            run: IdRun | None = end.value
            return run
