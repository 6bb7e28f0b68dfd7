"""A cursor walks the blocks of a block file in order and verifies each.

It knows how blocks follow each other: at the next multiple of 512 in the same segment, or at the start of the next
segment where the rest is zero. Only the numbers of blocks tell such an end of a segment from a block wiped out, so
a gap in them is `Corrupt`.
"""

from tallystick.blockfile.segments import SECTOR, Segments, padded
from tallystick.errors import Corrupt
from tallystick.records.blocks import HEADER_SIZE, CommandBlock, EntryBlock, Header, parse, parse_header

_READ_AHEAD = 1 << 16
_NOTHING = bytes(SECTOR)


class Cursor:
    """A place between two blocks. `at` is the position to go on from, `expected` the `first` of the block there.

    `expected` None takes any block. Memory that blocks returned stand in is never written to again.
    """

    def __init__(self, segments: Segments, at: int, expected: int | None) -> None:
        self.at = at
        self.expected = expected
        self._segments = segments
        self._window = memoryview(b"")
        self._window_at = 0
        self._ahead = _READ_AHEAD

    def next(self, until: int) -> tuple[int, CommandBlock | EntryBlock] | None:
        """The next block and its position; None at `until`, which must be an end of a block.

        Raises `Corrupt` if it fails its hash, does not follow the one before, or passes `until`.
        """
        header = self._header(until)
        if header is None:
            return None
        at = self.at
        block = parse(self._bytes(at, header.size, until)[: header.size], header)
        self._pass(header)
        self._ahead = max(_READ_AHEAD, self.at - at)
        return at, block

    def next_header(self, until: int) -> tuple[int, Header] | None:
        """As `next`, without reading the rest of the block: its hash is not checked."""
        header = self._header(until)
        if header is None:
            return None
        at = self.at
        self._pass(header)
        return at, header

    def _header(self, until: int) -> Header | None:
        while self.at < until:
            data = self._bytes(self.at, SECTOR, until)
            following = self._segments.start_of(self.at) + self._segments.segment_bytes
            if data[:SECTOR] == _NOTHING:
                self.at = following
                if self.at >= until:
                    raise Corrupt(f"{self._segments.folder}: blocks end before the durable end {until}")
                continue
            header = parse_header(data[:HEADER_SIZE])
            if self.expected is not None and header.first != self.expected:
                raise Corrupt(f"{self._segments.folder}: block {header.first} where {self.expected} was due")
            end = self.at + padded(header.size)
            if end > until or end > following:
                raise Corrupt(f"{self._segments.folder}: block {header.first} is longer than its place")
            return header
        return None

    def _pass(self, header: Header) -> None:
        self.at += padded(header.size)
        self.expected = header.next

    def _bytes(self, at: int, size: int, until: int) -> memoryview:
        """At least `size` bytes from `at`, out of what was read before or read now with what follows."""
        skip = at - self._window_at
        if not (self._window_at <= at and skip + size <= len(self._window)):
            stop = min(until, self._segments.start_of(at) + self._segments.segment_bytes)
            self._window = memoryview(self._segments.read(at, min(stop - at, max(size, self._ahead))))
            self._window_at, skip = at, 0
            if len(self._window) < size:
                raise Corrupt(f"{self._segments.folder}: the segment ends before {at + size}")
        return self._window[skip:]
