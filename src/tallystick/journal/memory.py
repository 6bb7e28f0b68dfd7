"""The journal in memory, for tests and `Ledger.in_memory`: same promises, but gone when the process ends."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt, Fenced
from tallystick.journal.port import Tail
from tallystick.journal.tails import continued
from tallystick.records.blocks import Bytes, EntryBlock, parse
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY


@dataclass
class KeptBlocks:
    """What outlives a `MemoryJournal` and its readers: hand it to the next to open the same journal again."""

    epoch: int = 0
    tail: Tail = field(default_factory=Tail)
    firsts: list[int] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)


class MemoryJournalReader:
    """Reads blocks kept in memory. Safe beside one appending thread."""

    def __init__(self, kept: KeptBlocks) -> None:
        self._kept = kept

    def end(self) -> int:
        return self._kept.tail.next_seq

    def read(self, seq: int) -> Iterator[EntryBlock]:
        end = self.end()
        if seq > end:
            raise Corrupt(f"entry {seq} was read before, but the journal ends at {end}")
        if seq == end:
            return iter(())
        number = bisect_right(self._kept.firsts, seq) - 1
        return self._blocks(number, bisect_right(self._kept.firsts, end - 1))

    def _blocks(self, number: int, stop: int) -> Iterator[EntryBlock]:
        for data in islice(self._kept.blocks, number, stop):
            yield _entries(data)

    def rows(self, seqs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        seqs = np.ascontiguousarray(seqs, np.uint64)
        if len(seqs) and int(seqs.max()) >= self.end():
            raise Corrupt(f"entry {seqs.max()} is past the end {self.end()}")
        entries, details = np.zeros(len(seqs), ENTRY), np.zeros(len(seqs), DETAILS)
        numbers = np.searchsorted(np.array(self._kept.firsts, np.uint64), seqs, side="right") - 1
        for number in np.unique(numbers):
            block = _entries(self._kept.blocks[number])
            chosen = np.flatnonzero(numbers == number)
            rows = seqs[chosen] - np.uint64(block.header.first)
            entries[chosen], details[chosen] = block.entries[rows], block.details[rows]
        return entries, details

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryJournal(MemoryJournalReader):
    """The writer. Opening another on the same `KeptBlocks` raises the epoch, and so fences this one."""

    def __init__(self, shard: int = 0, kept: KeptBlocks | None = None) -> None:
        super().__init__(kept or KeptBlocks())
        self._shard = shard
        self._kept.epoch += 1
        self._epoch = self._kept.epoch

    @property
    def kept(self) -> KeptBlocks:
        """What to open the same journal again with."""
        return self._kept

    @property
    def epoch(self) -> int:
        return self._epoch

    def tail(self) -> Tail:
        return self._kept.tail

    def append(self, block: list[Bytes], expected_seq: int, epoch: int) -> None:
        kept = self._kept
        if epoch != self._epoch or kept.epoch != epoch:
            raise Fenced(f"epoch {epoch} is over: the journal's is {kept.epoch}")
        header, tail = continued(kept.tail, block, expected_seq, epoch, self._shard)
        kept.blocks.append(b"".join(block))
        kept.firsts.append(header.first)
        kept.tail = tail  # last: readers go by it


def _entries(data: bytes) -> EntryBlock:
    block = parse(data)
    if not isinstance(block, EntryBlock):
        raise Corrupt(f"block {block.header.first} is none of a journal")
    return block
