"""Where in the journal's block file each entry stands: per segment an array of blocks, built by a walk of headers.

Derived and in memory only. A segment's blocks are listed when first asked for, so opening a long journal reads one
header a segment.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.cursor import Cursor
from tallystick.blockfile.reader import BlockReader
from tallystick.errors import Corrupt
from tallystick.records.blocks import HEADER_SIZE, LANE_SIZE
from tallystick.records.entries import ENTRY_SIZE

BLOCK_PLACE = np.dtype(
    [("first", "<u8"), ("count", "<u8"), ("at", "<u8"), ("entries_at", "<u8"), ("details_at", "<u8")]
)
"""One block: its first seq, how many entries, and byte positions of block, entries and details."""


@dataclass
class _Listed:
    """The blocks of one segment, as far as they were walked. `places` has room to grow; `count` of them are set."""

    cursor: Cursor
    places: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(64, BLOCK_PLACE))
    count: int = 0

    def walk(self, stop: int, end: int) -> None:
        """List the blocks before position `stop`; `end` is the durable end."""
        while self.cursor.at < stop and (found := self.cursor.next_header(end)):
            at, header = found
            if at >= stop:
                break
            if self.count == len(self.places):
                self.places = np.concatenate([self.places, np.zeros_like(self.places)])
            entries_at = at + HEADER_SIZE + header.lanes * LANE_SIZE
            details_at = entries_at + header.count * ENTRY_SIZE
            self.places[self.count] = (header.first, header.count, at, entries_at, details_at)
            self.count += 1


class SeqIndex:
    """Finds blocks by seq, below a durable end that only grows. Not safe for concurrent calls."""

    def __init__(self, reader: BlockReader) -> None:
        self._reader = reader
        self._end = 0
        self._next_seq = 0
        self._starts: list[int] = []
        self._firsts: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._listed: dict[int, _Listed] = {}

    def next_seq(self) -> int:
        """The seq after the last durable entry. Raises `Corrupt` if a header below the durable end does not fit."""
        end = self._reader.end()
        if end != self._end:
            self._grow(end)
        return self._next_seq

    @property
    def end(self) -> int:
        """The byte position that `next_seq` told of."""
        return self._end

    def places(self, segment: int) -> npt.NDArray[np.void]:
        """The blocks of segment number `segment` (an index as `segments_of` gives them), `BLOCK_PLACE` rows."""
        listed = self._list(segment)
        return listed.places[: listed.count]

    def segments_of(self, seqs: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """For each seq, the number of the segment that holds it; -1 if it is older than what is kept."""
        return np.searchsorted(self._firsts, seqs, side="right") - 1

    def find(self, seq: int) -> tuple[np.void, np.void | None]:
        """The block that holds `seq`, and the block before it if that is kept. Raises `Corrupt` for an old `seq`."""
        segment = int(self.segments_of(np.array([seq], np.uint64))[0])
        if segment < 0:
            raise Corrupt(f"{self._reader.folder}: entry {seq} is older than what is kept")
        places = self.places(segment)
        number = int(np.searchsorted(places["first"], np.uint64(seq), side="right")) - 1
        if number:
            return places[number], places[number - 1]
        return places[0], self.places(segment - 1)[-1] if segment else None

    def _grow(self, end: int) -> None:
        starts = self._reader.starts(end)
        new = starts[len(self._starts) :]
        if new:
            firsts = [self._first_of(start, end) for start in new]
            self._firsts = np.concatenate([self._firsts, np.array(firsts, np.uint64)])
            self._starts = starts
        last = self._list(len(starts) - 1, end)
        place = last.places[last.count - 1]
        self._next_seq = int(place["first"] + place["count"])
        self._end = end

    def _first_of(self, start: int, end: int) -> int:
        found = self._reader.cursor(start, 0 if start == 0 else None).next_header(end)
        if found is None or found[0] != start:
            raise Corrupt(f"{self._reader.folder}: no block begins the segment at {start}")
        return found[1].first

    def _list(self, segment: int, end: int | None = None) -> _Listed:
        start = self._starts[segment]
        listed = self._listed.get(segment)
        if listed is None:
            listed = self._listed[segment] = _Listed(self._reader.cursor(start, int(self._firsts[segment])))
        end = self._end if end is None else end
        following = self._starts[segment + 1] if segment + 1 < len(self._starts) else end
        listed.walk(following, end)
        return listed
