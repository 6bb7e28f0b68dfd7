"""Reads the journal of one shard, up to the durable end."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tallystick.clock import Clock
from tallystick.errors import Corrupt
from tallystick.journal.postgresql import schema
from tallystick.postgresql.sessions import ANSWER_S_MAX, Session
from tallystick.records.blocks import HEADER_SIZE, LANE_SIZE, EntryBlock, parse
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.entries import ENTRY, ENTRY_SIZE

ENTRIES_AT_ONCE = 16_384
"""Blocks are fetched by so many entries (6 MB of them): many small ones in one answer, or few large ones."""
CALM_NS = 20_000_000
WHOLE_FROM = 64
"""Rows wanted of one block from which it is fetched whole: about what so many pieces cost."""

_END = "select durable_seq, next_seq from tallystick.writers where shard = %b"
_FIND = """
select first, coalesce((select hash from tallystick.blocks where shard = found.shard and first < found.first
                         order by first desc limit 1), '')
  from tallystick.blocks found where shard = %b and first <= %b order by first desc limit 1
"""
_BLOCKS = """
select first, body from tallystick.blocks where shard = %b and first >= %b and first < %b and next <= %b order by first
"""
_PLACES = """
select wanted.seq, block.first, block.next - block.first, block.lanes
  from unnest(%b::bigint[]) wanted(seq) cross join lateral
       (select first, next, lanes from tallystick.blocks where shard = %b and first <= wanted.seq
         order by first desc limit 1) block where wanted.seq < block.next order by wanted.seq
"""
_PIECES = f"""
select substring(block.body from wanted.entry_at + 1 for {ENTRY_SIZE}),
       substring(block.body from wanted.details_at + 1 for {DETAILS_SIZE})
  from unnest(%b::bigint[], %b::int[], %b::int[]) with ordinality wanted(first, entry_at, details_at, number)
  join tallystick.blocks block on block.shard = %b and block.first = wanted.first order by wanted.number
"""
_BODY = "select body from tallystick.blocks where shard = %b and first = %b"


def session(url: str, name: str, answer_s_max: float = ANSWER_S_MAX, waits: bool = True) -> Session:
    """A session on the journal's tables. See `Session`."""
    remedy = "; see `tally migrate --help`"
    return Session(url, "TALLY_JOURNAL", name, schema.check, answer_s_max, waits, remedy)


class PostgresJournalReader:
    """One session, made when first needed. Safe for concurrent calls: they take turns."""

    def __init__(
        self,
        url: str,
        shard: int = 0,
        name: str = "tallystick reader",
        answer_s_max: float = ANSWER_S_MAX,
        clock: Clock | None = None,
    ) -> None:
        """With a `clock` the end is asked for once in 20 ms, since followers look for it far more often.

        Raises `Invalid` for a URL that cannot be understood. All else raises `Unavailable`, at the first call.
        """
        self._reads = session(url, name, answer_s_max)
        self._shard = shard
        self._place = f"{self._reads.place}, shard {shard}"
        self._end = 0
        self._clock = clock
        self._asked_ns: int | None = None

    def end(self) -> int:
        now_ns = self._clock.monotonic_ns() if self._clock is not None else 0
        if self._clock is None or self._asked_ns is None or now_ns - self._asked_ns >= CALM_NS:
            self._asked_ns = now_ns
            self._ends()
        return self._end

    def _ends(self) -> tuple[int, int]:
        """The durable end, and the end of what is there and may be lost yet."""
        rows = self._reads.read(_END, (self._shard,))
        durable, there = rows[0] if rows else (0, 0)
        # A crash may set it back to before the last append, until the next writer has settled what is there.
        self._end = max(self._end, int(durable))
        return self._end, int(there)

    def read(self, seq: int) -> Iterator[EntryBlock]:
        end = self.end()
        if seq > end and seq > max(self._ends()):
            raise Corrupt(f"{self._place}: entry {seq} was read before, but the journal ends at {end}")
        if seq >= end:
            return iter(())
        found = self._reads.read(_FIND, (self._shard, seq))
        if not found:
            raise Corrupt(f"{self._place}: entry {seq} is older than what is kept")
        first, previous = found[0]
        return self._blocks(int(first), bytes(previous) if first else bytes(32), end)

    def _blocks(self, first: int, previous: bytes, end: int) -> Iterator[EntryBlock]:
        while first < end:
            rows = self._reads.read(_BLOCKS, (self._shard, first, first + ENTRIES_AT_ONCE, end))
            if not rows:
                raise Corrupt(f"{self._place}: the block of entry {first} is not there")
            for at, body in rows:
                block = _understood(body, self._place)
                header = block.header
                if (header.first, header.shard) != (first, self._shard) or at != first or header.next > end:
                    raise Corrupt(f"{self._place}: block {header.first} stands where entry {first} belongs")
                if header.previous != (previous or header.previous):
                    raise Corrupt(f"{self._place}: block {header.first} does not continue the one before it")
                previous, first = header.hash, header.next
                yield block

    def rows(self, seqs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        seqs = np.ascontiguousarray(seqs, np.uint64)
        if len(seqs) == 0:
            return np.zeros(0, ENTRY), np.zeros(0, DETAILS)
        wanted, into = np.unique(seqs, return_inverse=True)
        if int(wanted[-1]) >= self._end and int(wanted[-1]) >= self._ends()[0]:
            raise Corrupt(f"{self._place}: entry {wanted[-1]} is past the end {self._end}")
        places = np.array(self._reads.read(_PLACES, (wanted.astype(np.int64).tolist(), self._shard)), np.int64).reshape(
            -1, 4
        )
        if len(places) != len(wanted):
            raise Corrupt(f"{self._place}: an entry between {wanted[0]} and {wanted[-1]} is not there")
        # As bytes: NumPy moves rows of many fields field by field.
        entries = np.zeros((len(wanted), ENTRY_SIZE), np.uint8)
        details = np.zeros((len(wanted), DETAILS_SIZE), np.uint8)
        firsts, begins, counts = np.unique(places[:, 1], return_index=True, return_counts=True)
        apart = np.ones(len(wanted), bool)
        for first, begin, count in zip(firsts.tolist(), begins.tolist(), counts.tolist(), strict=True):
            if count >= WHOLE_FROM:
                part = slice(begin, begin + count)
                apart[part] = False
                block = self._whole(first)
                rows = places[part, 0] - first
                entries[part] = block.entries.view(np.uint8).reshape(-1, ENTRY_SIZE)[rows]
                details[part] = block.details.view(np.uint8).reshape(-1, DETAILS_SIZE)[rows]
        if apart.any():
            self._pieces(places[apart], apart, entries, details)
        return entries[into].view(ENTRY).reshape(-1), details[into].view(DETAILS).reshape(-1)

    def _whole(self, first: int) -> EntryBlock:
        found = self._reads.read(_BODY, (self._shard, first))
        if not found:
            raise Corrupt(f"{self._place}: block {first} is not there")
        return _understood(found[0][0], self._place)

    def _pieces(
        self,
        places: npt.NDArray[np.int64],
        into: npt.NDArray[np.bool_],
        entries: npt.NDArray[np.uint8],
        details: npt.NDArray[np.uint8],
    ) -> None:
        """Fetch single rows out of blocks: the server cuts them out, reading no more of a block than it must."""
        seqs, firsts, counts, lanes = places.T
        entries_at = HEADER_SIZE + lanes * LANE_SIZE
        numbers = seqs - firsts
        asked = (
            firsts.tolist(),
            (entries_at + numbers * ENTRY_SIZE).tolist(),
            (entries_at + counts * ENTRY_SIZE + numbers * DETAILS_SIZE).tolist(),
            self._shard,
        )
        found = self._reads.read(_PIECES, asked)
        pieces = b"".join(entry for entry, _ in found), b"".join(detail for _, detail in found)
        if [len(piece) for piece in pieces] != [len(seqs) * ENTRY_SIZE, len(seqs) * DETAILS_SIZE]:
            raise Corrupt(f"{self._place}: a block between {firsts[0]} and {firsts[-1]} is shorter than it says")
        entries[into] = np.frombuffer(pieces[0], np.uint8).reshape(-1, ENTRY_SIZE)
        details[into] = np.frombuffer(pieces[1], np.uint8).reshape(-1, DETAILS_SIZE)

    def close(self) -> None:
        self._reads.close()


def _understood(body: bytes, place: str) -> EntryBlock:
    try:
        block = parse(body)
    except Corrupt as error:
        raise Corrupt(f"{place}: {error}") from error
    if not isinstance(block, EntryBlock):
        raise Corrupt(f"{place}: block {block.header.first} is none of a journal")
    return block
