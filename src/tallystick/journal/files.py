"""The journal in block files: the embedded default (DESIGN §6).

The folder holds one block file and the register `epoch`. One writer, fenced by the block file's lock and by the
epoch; readers in any process, which take no lock and never pass the durable end.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk, Register
from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.writer import BlockWriter
from tallystick.errors import Corrupt, Fenced
from tallystick.journal.index import SeqIndex
from tallystick.journal.port import Tail
from tallystick.journal.tails import continued
from tallystick.records.blocks import HEADER_SIZE, Bytes, EntryBlock, parse_header
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.entries import ENTRY, ENTRY_SIZE

EPOCH_NAME = "epoch"
_GAP_MAX = 8192
"""Bytes read for nothing rather than asked for apart: about what a second read costs."""


class FileJournalReader:
    """Reads a journal folder, which need not exist yet: then it is empty. Not safe for concurrent calls."""

    def __init__(self, folder: Path, disk: Disk, fresh: bool = False) -> None:
        """`fresh`: read from the disk itself, not what the system still has in memory, as a scrub must."""
        self._reader = BlockReader(folder, disk, fresh)
        self._index = SeqIndex(self._reader)

    def end(self) -> int:
        return self._index.next_seq()

    def read(self, seq: int) -> Iterator[EntryBlock]:
        next_seq = self._index.next_seq()
        if seq > next_seq:
            raise Corrupt(f"{self._reader.folder}: entry {seq} was read before, but the journal ends at {next_seq}")
        if seq == next_seq:
            return iter(())
        place, before = self._index.find(seq)
        previous: bytes | None = bytes(32) if place["first"] == 0 else None
        if before is not None:
            previous = parse_header(self._reader.segments.read(int(before["at"]), HEADER_SIZE)).hash
        return self._blocks(int(place["at"]), int(place["first"]), previous, self._index.end)

    def _blocks(self, at: int, first: int, previous: bytes | None, until: int) -> Iterator[EntryBlock]:
        cursor = self._reader.cursor(at, first)
        while found := cursor.next(until):
            block = found[1]
            if not isinstance(block, EntryBlock):
                raise Corrupt(f"{self._reader.folder}: block {block.header.first} is none of a journal")
            if previous is not None and block.header.previous != previous:
                raise Corrupt(f"{self._reader.folder}: block {block.header.first} does not continue the one before it")
            previous = block.header.hash
            yield block

    def rows(self, seqs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        seqs = np.ascontiguousarray(seqs, np.uint64)
        # Rows are moved as words: NumPy moves rows of many fields field by field, ten times slower.
        entries = np.zeros((len(seqs), ENTRY_SIZE // 8), np.uint64)
        details = np.zeros((len(seqs), DETAILS_SIZE // 8), np.uint64)
        if len(seqs) == 0:
            return entries.view(ENTRY).reshape(-1), details.view(DETAILS).reshape(-1)
        if int(seqs.max()) >= self._index.next_seq():
            raise Corrupt(f"{self._reader.folder}: entry {seqs.max()} is past the end {self._index.next_seq()}")
        if len(seqs) == 1:
            return self._row(int(seqs[0]))
        order = np.argsort(seqs, kind="stable")
        ordered = seqs[order]
        segments = self._index.segments_of(ordered)
        if segments[0] < 0:
            raise Corrupt(f"{self._reader.folder}: entry {ordered[0]} is older than what is kept")
        for segment in np.unique(segments):
            low, high = np.searchsorted(segments, [segment, segment + 1])
            places = self._index.places(int(segment))
            blocks = np.searchsorted(places["first"], ordered[low:high], side="right") - 1
            numbers = ordered[low:high] - places["first"][blocks]
            into = order[low:high]
            self._gather(entries, into, places["entries_at"][blocks] + numbers * np.uint64(ENTRY_SIZE), blocks)
            self._gather(details, into, places["details_at"][blocks] + numbers * np.uint64(DETAILS_SIZE), blocks)
        return entries.view(ENTRY).reshape(-1), details.view(DETAILS).reshape(-1)

    def _row(self, seq: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """As `rows` for one of them: sorting and grouping would take five times as long as reading it."""
        place, _ = self._index.find(seq)
        number = seq - int(place["first"])
        found = []
        for name, dtype in (("entries_at", ENTRY), ("details_at", DETAILS)):
            at = int(place[name]) + number * dtype.itemsize
            data = self._reader.segments.read(at, dtype.itemsize)
            if len(data) != dtype.itemsize:
                raise Corrupt(f"{self._reader.folder}: the segment ends before {at + dtype.itemsize}")
            found.append(np.frombuffer(bytearray(data), dtype))
        return found[0], found[1]

    def _gather(
        self,
        rows: npt.NDArray[np.uint64],
        into: npt.NDArray[np.intp],
        positions: npt.NDArray[np.uint64],
        blocks: npt.NDArray[np.intp],
    ) -> None:
        """Fill `rows[into]` from byte `positions`, ascending: neighbours of a block in one read, others one by one."""
        words = rows.shape[1]
        size = words * 8
        apart = np.flatnonzero((np.diff(positions) > _GAP_MAX) | (np.diff(blocks) != 0)) + 1
        bounds = [0, *apart.tolist(), len(positions)]
        starts = positions[bounds[:-1]].tolist()
        ends = positions[[bound - 1 for bound in bounds[1:]]].tolist()
        read = self._reader.segments.read
        parts: list[Bytes] = []
        for low, high, start, end in zip(bounds, bounds[1:], starts, ends, strict=False):
            data = read(start, end + size - start)
            if len(data) != end + size - start:
                raise Corrupt(f"{self._reader.folder}: the segment ends before {end + size}")
            if high - low > 1:
                chosen = (positions[low:high] - np.uint64(start)) // np.uint64(size)
                data = np.frombuffer(data, np.uint64).reshape(-1, words)[chosen].tobytes()
            parts.append(data)
        rows[into] = np.frombuffer(b"".join(parts), np.uint64).reshape(-1, words)

    def close(self) -> None:
        self._reader.close()


class FileJournal(FileJournalReader):
    """The writer of a journal folder. One thread may append while another reads; `prepare` may have its own."""

    def __init__(self, folder: Path, disk: Disk, segment_bytes: int, shard: int = 0) -> None:
        """Take the lock, check and repair the end (`blockfile.startup`), raise the epoch.

        Raises `Fenced` if another writer lives, `Corrupt`, `Unavailable`, `OutcomeUnknown` as `BlockWriter`.
        """
        super().__init__(folder, disk)
        self._shard = shard
        self._writer = BlockWriter(folder, disk, segment_bytes, origin=0)
        try:
            self._tail = self._found(self._writer)
            register = disk.register(folder / EPOCH_NAME, writable=True)
            assert register is not None
            self._epoch_register: Register = register
            self._epoch = max(register.load(), self._tail.epoch) + 1
            register.store(self._epoch)
        except BaseException:
            self._writer.close()
            raise

    @classmethod
    def open(cls, folder: Path, disk: Disk, segment_bytes: int, shard: int = 0) -> "FileJournal":
        """The journal in `folder`, created if there is none."""
        return cls(folder, disk, segment_bytes, shard)

    def _found(self, writer: BlockWriter) -> Tail:
        block = writer.last
        if block is None:
            return Tail()
        if not isinstance(block, EntryBlock) or block.header.shard != self._shard:
            raise Corrupt(f"{writer.folder}: holds no journal of shard {self._shard}")
        return Tail(block.header.next, block.header.hash, block.header.epoch, block.positions)

    @property
    def epoch(self) -> int:
        return self._epoch

    def tail(self) -> Tail:
        return self._tail

    def append(self, block: list[Bytes], expected_seq: int, epoch: int) -> None:
        if epoch != self._epoch or self._epoch_register.load() != epoch:
            raise Fenced(f"{self._writer.folder}: epoch {epoch} is over")
        header, tail = continued(self._tail, block, expected_seq, epoch, self._shard)
        self._writer.append(header, block)
        self._tail = tail

    def adopt(self, block: list[Bytes], expected_seq: int) -> None:
        """As `append`, for a block of whatever writer, as that one made it: the journal is rolled forward.

        This writer may then append none of its own: open the journal again, for an epoch above all of theirs.
        """
        if self._epoch_register.load() != self._epoch:
            raise Fenced(f"{self._writer.folder}: epoch {self._epoch} is over")
        header, tail = continued(self._tail, block, expected_seq, parse_header(block[0]).epoch, self._shard)
        self._writer.append(header, block)
        self._tail = tail

    def prepare(self) -> bool:
        """Fill a bit more of the next segment with zeros, in the background; returns whether there is more to do."""
        return self._writer.prepare()

    def close(self) -> None:
        super().close()
        self._writer.close()
        self._epoch_register.close()
