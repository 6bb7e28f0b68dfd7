"""How each pending transfer ended: one byte an entry, in a derived file (DESIGN §4).

    note ─► changes (memory) ─► capture ─► captured (memory) ─► write ─► file

The books hold only what is open. A pending transfer of last month that was posted, voided or expired is asked for
here, by the seq of its entry. `note` takes what a block changed; `capture`, at the position of a snapshot, sets the
changes aside, and `write` brings them to the file once the journal is durable past that position. So the
file is never ahead of the journal, and complete up to the last snapshot; the rest is noted again by replay.

The file is pages of one sector each, which a power cut leaves old or new but never torn: a keyed hash, then 496
endings. A page that fails its hash is found at start (`FileEndings.load`), and all of it is made anew.
"""

import hashlib
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk
from tallystick.errors import Corrupt, Damaged
from tallystick.records.endings import Ending

PAGE = 512
"""Bytes that a disk stores whole or not at all (DESIGN §6)."""
HASH_SIZE = 16
PAGE_ENDINGS = PAGE - HASH_SIZE
NAME = "endings"
PAGES_A_SLICE = 256
"""Pages hashed and written in one slice of background work: less than a millisecond, for which readers wait."""
_RECENT_MIN = 65_536

Bytes = npt.NDArray[np.uint8]
Seqs = npt.NDArray[np.uint64]
Job = Generator[None, None, None]


@dataclass(slots=True, eq=False)
class _Changes:
    """What changed since some position: a byte for each entry from `base` on, and pairs for older ones."""

    base: int
    recent: Bytes = field(default_factory=lambda: np.zeros(_RECENT_MIN, np.uint8))
    stop: int = 0  # entries from `base` that were noted or passed
    older: list[tuple[Seqs, Bytes]] = field(default_factory=list)
    found: dict[int, int] = field(default_factory=dict)
    indexed: int = 0  # of `older`, how many are in `found`

    def note(self, seqs: Seqs, endings: Bytes) -> None:
        """The last one noted for a seq counts."""
        new = seqs >= np.uint64(self.base)
        at = (seqs[new] - np.uint64(self.base)).astype(np.int64)
        if len(at):
            self.reach(int(at.max()) + 1)
            self.recent[at] = endings[new]
        if len(at) < len(seqs):
            self.older.append((seqs[~new], endings[~new]))

    def reach(self, stop: int) -> None:
        """Tell of so many entries from `base` on; those not noted made no pending transfer."""
        if stop > len(self.recent):
            grown = np.zeros(1 << (stop - 1).bit_length(), np.uint8)
            grown[: self.stop] = self.recent[: self.stop]
            self.recent = grown
        self.stop = max(self.stop, stop)

    def of(self, seqs: Seqs, found: Bytes) -> Bytes:
        """`found`, with what changed in its place."""
        while self.indexed < len(self.older):
            numbers, endings = self.older[self.indexed]
            self.found.update(zip(numbers.tolist(), endings.tolist(), strict=True))
            self.indexed += 1
        if self.found:
            there = found.tolist()
            found = np.array([self.found.get(seq, old) for seq, old in zip(seqs.tolist(), there, strict=True)], "u1")
        at = (seqs - np.uint64(self.base)).astype(np.int64)
        here = (seqs >= np.uint64(self.base)) & (at < self.stop)
        noted = self.recent[at[here]]
        found[here] = np.where(noted != Ending.NONE, noted, found[here])
        return found

    def sorted_older(self) -> tuple[Seqs, Bytes]:
        """The older ones by seq, each once, with what was noted last."""
        seqs = np.concatenate([numbers for numbers, _ in self.older] or [np.zeros(0, "<u8")])
        endings = np.concatenate([noted for _, noted in self.older] or [np.zeros(0, "u1")])
        last = len(seqs) - 1 - np.unique(seqs[::-1], return_index=True)[1]
        return seqs[last], endings[last]


class Endings:
    """In memory: for engines that forget, and until the first snapshot. The loop's thread calls all but jobs."""

    def __init__(self, written: int = 0) -> None:
        """`written`: entries below it are told of by what lies behind, a file in `FileEndings`."""
        self._changes = _Changes(written)
        self._captured: _Changes | None = None

    def of(self, seqs: Seqs) -> Bytes:
        """The `Ending` of each entry; `NONE` where it made no pending transfer, or is none yet.

        Raises `Damaged` if the file behind cannot tell.
        """
        seqs = np.ascontiguousarray(seqs, "<u8")
        captured = self._captured  # before the file is read: it goes only when the file has all of it
        found = self._stored(seqs)
        if captured is not None:
            found = captured.of(seqs, found)
        return self._changes.of(seqs, found)

    def note(self, seqs: Seqs, endings: Bytes) -> None:
        """These pending transfers were made (`OPEN`) or ended. Of one seq the last counts; call it block by block."""
        if len(seqs):
            self._changes.note(np.ascontiguousarray(seqs, "<u8"), np.ascontiguousarray(endings, "u1"))

    def capture(self, position: int) -> None:
        """Set aside what changed before entry `position`, where the books stand now, to be written by `write`."""

    def write(self) -> Job:
        """Write what was captured, if it is not written yet; for another thread, once the journal is durable so far.

        **Durable** when the job ends; if it fails it may be begun again. Only after it comes the next `capture`.
        """
        yield from ()

    def _stored(self, seqs: Seqs) -> Bytes:
        return np.zeros(len(seqs), np.uint8)


class FileEndings(Endings):
    """In a file. What is noted but not written stands in memory, bounded by how often snapshots are made."""

    def __init__(self, disk: Disk, folder: Path, key: npt.NDArray[np.uint64], written: int = 0) -> None:
        """The file in `folder`, made with the first `capture`; `load` finds up to where it is complete."""
        super().__init__(written)
        self._disk = disk
        self._path = folder / NAME
        self._key = key.tobytes()
        self._written = written
        self._file = disk.open(self._path, writable=True)
        self._turns = threading.Lock()  # held for each slice of writing, and by readers

    @classmethod
    def load(cls, disk: Disk, folder: Path, key: npt.NDArray[np.uint64], upto: int) -> "FileEndings | None":
        """The endings of all entries below `upto`, every page checked; None if the file cannot be trusted."""
        endings = cls(disk, folder, key, upto)
        try:
            for begin, count in _slices(0, _pages(upto)):
                endings._read(begin, count)
        except Damaged:
            endings.close()
            return None
        return endings

    def capture(self, position: int) -> None:
        if self._captured is not None:
            raise RuntimeError("the endings captured before are not written yet")
        captured = self._captured = self._changes
        captured.reach(position - captured.base)
        self._changes = _Changes(position)

    def write(self) -> Job:
        if self._captured is not None:
            yield from self._write(self._captured)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, captured: _Changes) -> Job:
        """Write what was captured; **durable** at the end. Raises what `File` raises."""
        if self._file is None:
            self._disk.make_folder(self._path.parent)
            self._file = self._disk.create(self._path)
        seqs, endings = captured.sorted_older()
        pages, starts = np.unique(seqs // np.uint64(PAGE_ENDINGS), return_index=True)
        numbers, bounds = pages.tolist(), [*starts.tolist(), len(seqs)]
        for begin, count in _slices(0, len(numbers)):
            with self._turns:
                for which in range(begin, begin + count):
                    here = slice(bounds[which], bounds[which + 1])
                    self._change(numbers[which], seqs[here], endings[here])
            yield
        yield from self._write_recent(captured)
        self._file.sync()
        self._disk.sync_folder(self._path.parent)
        self._written = captured.base + captured.stop
        self._captured = None

    def _change(self, number: int, seqs: Seqs, endings: Bytes) -> None:
        """Change some bytes of a page that is there."""
        page = np.frombuffer(self._read(number, 1), np.uint8).copy()
        page[(seqs - np.uint64(number * PAGE_ENDINGS)).astype(np.int64)] = endings
        self._put(number, page.tobytes())

    def _write_recent(self, captured: _Changes) -> Job:
        """Write whole pages, from the one that holds `base` on."""
        first = captured.base // PAGE_ENDINGS
        lead = captured.base - first * PAGE_ENDINGS
        before = self._read(first, 1)[:lead] if lead else b""
        for begin, count in _slices(first, _pages(captured.base + captured.stop)):
            low, high = (number * PAGE_ENDINGS - captured.base for number in (begin, begin + count))
            data = captured.recent[max(0, low) : min(captured.stop, high)].tobytes()
            with self._turns:
                self._put(begin, (before + data if begin == first else data).ljust(count * PAGE_ENDINGS, b"\0"))
            yield

    def _put(self, begin: int, data: bytes) -> None:
        """Write whole pages from page `begin` on, each behind its hash."""
        assert self._file is not None
        parts = []
        for number, at in enumerate(range(0, len(data), PAGE_ENDINGS), begin):
            page = data[at : at + PAGE_ENDINGS]
            parts += [self._hash(number, page), page]
        self._file.write(begin * PAGE, [b"".join(parts)])

    def _stored(self, seqs: Seqs) -> Bytes:
        found = np.zeros(len(seqs), np.uint8)
        with self._turns:
            below = np.flatnonzero(seqs < np.uint64(self._written))
            numbers = seqs[below] // np.uint64(PAGE_ENDINGS)
            for number in np.unique(numbers).tolist():
                which = below[numbers == number]
                page = np.frombuffer(self._read(number, 1), np.uint8)
                found[which] = page[(seqs[which] - np.uint64(number * PAGE_ENDINGS)).astype(np.int64)]
        return found

    def _read(self, begin: int, count: int) -> bytes:
        """The endings in some pages, each page's hash checked. Raises `Damaged`."""
        try:
            data = self._file.read(begin * PAGE, count * PAGE) if self._file is not None else b""
        except Corrupt as error:
            raise Damaged(f"{self._path}: pages from {begin} cannot be read") from error
        parts = []
        for number in range(begin, begin + count):
            page = data[(number - begin) * PAGE : (number - begin + 1) * PAGE]
            parts.append(page[HASH_SIZE:])
            if len(page) != PAGE or page[:HASH_SIZE] != self._hash(number, parts[-1]):
                raise Damaged(f"{self._path}: page {number} is not as it was written")
        return b"".join(parts)

    def _hash(self, number: int, page: bytes) -> bytes:
        salt = number.to_bytes(8, "little")
        return hashlib.blake2b(page, digest_size=HASH_SIZE, key=self._key, salt=salt).digest()


def _pages(entries: int) -> int:
    return -(-entries // PAGE_ENDINGS)


def _slices(first: int, stop: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, stop, PAGES_A_SLICE):
        yield begin, min(PAGES_A_SLICE, stop - begin)
