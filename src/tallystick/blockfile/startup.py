"""What a writer finds at start, and what it makes of it (DESIGN §6): the most tested part of a block file.

At most one block is ever unsynced, so at most one, the last, can be *torn*: its hash fails, no block follows, and
one of its sectors is all zero, since sectors are written whole and none of a whole block is. Anything else that
fails is damage.
"""

from dataclasses import dataclass

from tallystick.blockfile.cursor import Cursor
from tallystick.blockfile.segments import SECTOR, Segments, padded
from tallystick.errors import Corrupt
from tallystick.records.blocks import HEADER_SIZE, MAGIC, CommandBlock, EntryBlock, parse, parse_header


@dataclass(frozen=True, slots=True)
class Found:
    """The last whole block and where it ends; `end` 0 and None in an empty block file."""

    end: int = 0
    at: int = 0
    last: CommandBlock | EntryBlock | None = None


def examine(segments: Segments, durable_end: int, origin: int, block_bytes_max: int) -> Found:
    """Find the last whole block. `origin` is the `first` of the very first block, `block_bytes_max` a block's limit.

    Raises `Corrupt` if blocks end below `durable_end` (which may be stale: whole blocks beyond it are found), or if
    what follows the last whole block is neither nothing nor torn. Writes nothing.
    """
    starts = segments.starts()
    if not starts:
        if durable_end:
            raise Corrupt(f"{segments.folder}: its segments are gone; {durable_end} bytes were durable")
        return Found()
    found = _last_whole(segments, starts, durable_end, origin)
    if found.end < durable_end:
        raise Corrupt(f"{segments.folder}: blocks end at {found.end}, but {durable_end} bytes were durable")
    if found.last is None and starts[0]:
        raise Corrupt(f"{segments.folder}: no block in the segment at {starts[0]}, where the blocks kept begin")
    next_first = found.last.header.next if found.last else origin
    _refuse_damage(segments, starts, found.end, next_first, block_bytes_max)
    return found


def _last_whole(segments: Segments, starts: list[int], durable_end: int, origin: int) -> Found:
    """Walk to the last whole block, from a segment that begins with one for sure.

    Below the durable end headers tell the way; the last block, and all beyond the durable end, are hashed. A stale
    durable end may lie far back: a segment came into use only when all before it were durable, so the walk begins
    one segment before the last in use. Readers still verify every block that is skipped here.
    """
    used = [start for start in starts if _is_used(segments, start)]
    anchors = [start for start in starts if start < durable_end] + used[:-1]
    begin = max(anchors, default=starts[0])
    cursor = Cursor(segments, begin, origin if begin == 0 else None)
    found = Found()
    if durable_end > begin:
        last_at = begin
        while header := cursor.next_header(durable_end):
            last_at = header[0]
        durable = Cursor(segments, last_at, None).next(durable_end)
        found = Found(cursor.at, last_at, durable[1] if durable else None)
    while beyond := _next_whole(segments, starts, cursor.at, cursor.expected):
        at, block = beyond
        cursor.at, cursor.expected = at + padded(block.header.size), block.header.next
        found = Found(cursor.at, at, block)
    return found


def _is_used(segments: Segments, at: int) -> bool:
    """Whether anything stands in the sector at a position."""
    return segments.read(at, SECTOR).strip(b"\0") != b""


def _next_whole(
    segments: Segments, starts: list[int], end: int, expected: int | None
) -> tuple[int, CommandBlock | EntryBlock] | None:
    """The whole block after position `end` and its place; None if nothing or something torn stands there."""
    following = segments.start_of(end + segments.segment_bytes - 1)
    for place in (end, following):
        if segments.start_of(place) in starts and _is_used(segments, place):
            break
    else:
        return None
    header = parse_header(segments.read(place, HEADER_SIZE))
    if expected is not None and header.first != expected:
        raise Corrupt(f"{segments.folder}: block {header.first} where {expected} was due")
    if place % segments.segment_bytes + padded(header.size) > segments.segment_bytes:
        raise Corrupt(f"{segments.folder}: block {header.first} is longer than its segment")
    try:
        return place, parse(segments.read(place, header.size))
    except Corrupt:
        return None  # torn, or damaged: `_refuse_damage` tells which


def _refuse_damage(segments: Segments, starts: list[int], end: int, next_first: int, block_bytes_max: int) -> None:
    """Raise `Corrupt` unless what stands after the last whole block is nothing, or one torn block."""
    marks = []
    for start in starts:
        place = max(start, end)
        if extent := segments.nonzero(place, start + segments.segment_bytes):
            marks.append((place, *extent))
    if not marks:
        return
    place, first, last = marks[0]
    if len(marks) > 1 or place > segments.start_of(end + segments.segment_bytes - 1):
        raise Corrupt(f"{segments.folder}: bytes at {marks[-1][1]}, but the last whole block ends at {end}")
    size = padded(block_bytes_max)
    if first == place:
        size = padded(parse_header(segments.read(place, HEADER_SIZE)).size)
        if all(_is_used(segments, at) for at in range(place, place + size, SECTOR)):
            raise Corrupt(f"{segments.folder}: block {next_first} is damaged: its hash fails and no sector is missing")
    if last >= place + size:
        raise Corrupt(f"{segments.folder}: bytes at {last} follow a block at {place} that cannot be read")
    for at in range(place + SECTOR, last + 1, SECTOR):
        if segments.read(at, len(MAGIC)) == MAGIC and _is_later_block(segments, at, next_first):
            raise Corrupt(f"{segments.folder}: block {next_first} at {place} is damaged: a whole block follows at {at}")


def _is_later_block(segments: Segments, at: int, next_first: int) -> bool:
    try:
        header = parse_header(segments.read(at, HEADER_SIZE))
        return header.first > next_first and bool(parse(segments.read(at, header.size)))
    except Corrupt:
        return False
