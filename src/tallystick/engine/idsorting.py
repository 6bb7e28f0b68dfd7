"""From the tables and runs of the id index to one sorted run, a bounded slice of work at a time.

A row is (hash, position), as in `ledger.windows`. Sorted means by hash, then by position. The generators yield
after each slice, so that a background thread, or a seeded simulation, decides when the next one is done.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.engine import pages
from tallystick.errors import Corrupt
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled

Rows = npt.NDArray[np.uint64]
Sliced = Generator[None, None, Rows]

SLICE_ROWS = 65_536
"""Rows looked at in one slice: one to three milliseconds."""
_SLOTS_A_BUCKET = 32
_BUCKETS_MIN = 2


@compiled
def _count(table: Any, begin: Any, end: Any, first: Any, stop: Any, shift: Any, ends: Any) -> Any:
    """Count the ids of these slots by bucket, from place 1 on; returns how many stand at `stop` or beyond."""
    beyond = 0
    for slot in range(begin, end):
        kept = table[slot, 1]
        if kept > stop:
            beyond += 1
        elif kept > first:
            ends[(table[slot, 0] >> shift) + ONE] += ONE
    return beyond


@compiled
def _scatter(table: Any, begin: Any, end: Any, first: Any, shift: Any, places: Any, rows: Any) -> Any:
    """Copy the ids of these slots to their buckets; `places` says where each bucket goes on."""
    for slot in range(begin, end):
        kept = table[slot, 1]
        if kept > first:
            bucket = table[slot, 0] >> shift
            at = places[bucket]
            places[bucket] = at + ONE
            rows[at, 0] = table[slot, 0]
            rows[at, 1] = kept - ONE


@compiled
def _settle(rows: Any, begin: Any, end: Any) -> Any:
    """Insertion sort of `rows[:end]`, of which `rows[:begin]` is sorted. No row moves out of its bucket."""
    for k in range(begin, end):
        hashed = rows[k, 0]
        position = rows[k, 1]
        at = k
        while at > 0 and (rows[at - 1, 0] > hashed or (rows[at - 1, 0] == hashed and rows[at - 1, 1] > position)):
            rows[at, 0] = rows[at - 1, 0]
            rows[at, 1] = rows[at - 1, 1]
            at -= 1
        rows[at, 0] = hashed
        rows[at, 1] = position


def sorted_table(table: Rows, first: int, stop: int) -> Sliced:
    """The rows of a window table at positions from `first` up to `stop`, sorted. The table stays as it is.

    Rows below `first` are left out: another run has them. Raises `Corrupt` if one stands at `stop` or beyond.
    """
    slots = len(table)
    buckets = max(_BUCKETS_MIN, slots // _SLOTS_A_BUCKET)
    shift = U64(64 - (buckets.bit_length() - 1))
    ends = np.zeros(buckets + 1, "<u8")
    beyond = 0
    for begin, end in _slices(slots):
        beyond += int(_count(table, begin, end, U64(first), U64(stop), shift, ends))
        yield
    if beyond:
        raise Corrupt(f"the id window holds {beyond} ids at or beyond position {stop}, where its generation closed")
    places = np.cumsum(ends, dtype="<u8")
    rows = pages.empty((int(places[-1]), 2), "<u8")
    for begin, end in _slices(slots):
        _scatter(table, begin, end, U64(first), shift, places, rows)
        yield
    for begin, end in _slices(len(rows)):
        _settle(rows, begin, end)
        yield
    return rows


def merged(sources: Sequence[Rows]) -> Iterator[Rows]:
    """All rows of some sorted arrays, sorted, in pieces of about `SLICE_ROWS` rows, made one at a time.

    Pieces are cut at even steps of the hash, which is spread evenly over 64 bits. Sources are given in the order
    of their positions, and the sort is stable, so equal hashes come out by position.
    """
    pieces = max(1, -(-sum(len(rows) for rows in sources) // SLICE_ROWS))
    begins = [0] * len(sources)
    for piece in range(1, pieces + 1):
        ends = [
            len(rows) if piece == pieces else int(np.searchsorted(rows[:, 0], np.uint64((piece << 64) // pieces)))
            for rows in sources
        ]
        rows = np.concatenate([rows[a:b] for rows, a, b in zip(sources, begins, ends, strict=True)])
        begins = ends
        yield rows[np.argsort(rows[:, 0], kind="stable")]


def cleared(table: Rows) -> Generator[None, None, None]:
    """Set every slot of the table to zero."""
    for begin, end in _slices(len(table)):
        table[begin:end] = ZERO
        yield


def _slices(count: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, count, SLICE_ROWS):
        yield begin, min(begin + SLICE_ROWS, count)
