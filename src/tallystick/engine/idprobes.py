"""The compiled probes of the id index: a whole batch of hashes against one window or one run in one call.

Ids are probed independently of each other, so that their cache misses overlap: a new id costs a few misses in all,
and they are not waited for one by one. Hits are written to `which` (place in the batch) and `positions` as long as
there is room, and counted to the end: a caller whose room was too small learns how much it takes.

All of it is uint64 arithmetic, as in the ledger kernel (DESIGN §4).
"""

from typing import Any

import numpy as np

from tallystick.engine import bloom
from tallystick.ledger import hashing, u128, windows
from tallystick.ledger.compiled import ONE, U64, U64_MAX, ZERO, compiled, inlined

MIN_LO, MIN_HI, MAX_LO, MAX_HI = range(4)
"""Places in a range of ids: the smallest and the largest, each as two words. Empty, the smallest is the larger."""
_32 = U64(32)
_GUESSES = 2
_FIRST_STRIDE = U64(8)


@compiled
def hash_all(keys: Any, tenant: Any, ids_lo: Any, ids_hi: Any, hashes: Any) -> Any:
    """Fill `hashes` with the keyed hash of each (tenant, id)."""
    for k in range(ids_lo.shape[0]):
        hashes[k] = hashing.hash_id(keys, tenant, ids_lo[k], ids_hi[k])


@inlined
def in_range(bounds: Any, lo: Any, hi: Any) -> Any:
    """Whether the range holds this id."""
    below = u128.less(lo, hi, bounds[MIN_LO], bounds[MIN_HI])
    above = u128.less(bounds[MAX_LO], bounds[MAX_HI], lo, hi)
    return not below and not above


@compiled
def widen(bounds: Any, ids_lo: Any, ids_hi: Any, mask: Any) -> Any:
    """Make the range hold the ids that `mask` marks; returns how many those are."""
    marked = 0
    for k in range(ids_lo.shape[0]):
        if mask[k]:
            marked += 1
            lo = ids_lo[k]
            hi = ids_hi[k]
            if u128.less(lo, hi, bounds[MIN_LO], bounds[MIN_HI]):
                bounds[MIN_LO] = lo
                bounds[MIN_HI] = hi
            if u128.less(bounds[MAX_LO], bounds[MAX_HI], lo, hi):
                bounds[MAX_LO] = lo
                bounds[MAX_HI] = hi
    return marked


@compiled
def reach(bounds_of_runs: Any, ids_lo: Any, ids_hi: Any, mask: Any, reached: Any) -> Any:
    """Mark in `reached` each run whose range meets the range of the masked ids; returns how many do."""
    batch = np.empty(4, np.uint64)
    batch[MIN_LO] = U64_MAX
    batch[MIN_HI] = U64_MAX
    batch[MAX_LO] = ZERO
    batch[MAX_HI] = ZERO
    marked = widen(batch, ids_lo, ids_hi, mask)
    count = 0
    for run in range(bounds_of_runs.shape[0]):
        bounds = bounds_of_runs[run]
        below = u128.less(batch[MAX_LO], batch[MAX_HI], bounds[MIN_LO], bounds[MIN_HI])
        above = u128.less(bounds[MAX_LO], bounds[MAX_HI], batch[MIN_LO], batch[MIN_HI])
        reached[run] = marked > 0 and not below and not above
        if reached[run]:
            count += 1
    return count


@compiled
def probe_table(table: Any, hashes: Any, mask: Any, which: Any, positions: Any, found: Any) -> Any:
    """Positions that a window table holds for the masked hashes; returns `found` plus how many there are."""
    for k in range(hashes.shape[0]):
        if mask[k]:
            hashed = hashes[k]
            position, cursor = windows.find(table, hashed, windows.start(table, hashed))
            while position != windows.NOT_FOUND:
                if found < which.shape[0]:
                    which[found] = k
                    positions[found] = position
                found += 1
                position, cursor = windows.find(table, hashed, cursor)
    return found


@compiled
def probe_run(
    rows: Any,
    words: Any,
    bounds: Any,
    hashes: Any,
    ids_lo: Any,
    ids_hi: Any,
    mask: Any,
    passed: Any,
    which: Any,
    positions: Any,
    found: Any,
) -> Any:
    """Positions that a run holds for the masked ids; returns `found` plus how many there are.

    First the filter for all, which leaves the few that pass in `passed` (room for the whole batch), then those.
    """
    count = 0
    for k in range(hashes.shape[0]):
        passed[count] = k
        if mask[k] and in_range(bounds, ids_lo[k], ids_hi[k]) and bloom.perhaps(words, hashes[k]):
            count += 1
    size = U64(rows.shape[0])
    for place in range(count):
        k = passed[place]
        hashed = hashes[k]
        at = first_at(rows, hashed)
        while at < size and rows[at, 0] == hashed:
            if found < which.shape[0]:
                which[found] = k
                positions[found] = rows[at, 1]
            found += 1
            at += ONE
    return found


@inlined
def _share(distance: Any, size: Any) -> Any:
    """Rows that a distance of hashes spans, if hashes are spread evenly."""
    return ((distance >> _32) * size) >> _32


@inlined
def first_at(rows: Any, hashed: Any) -> Any:
    """Place of the first row whose hash is at least `hashed`; the number of rows if there is none.

    Keyed hashes are spread evenly, so a guess, corrected once, lands within some ten rows; strides that double
    and a binary search find the place from there, in the worst case as fast as a binary search of the whole.
    """
    size = U64(rows.shape[0])
    if size == ZERO:
        return ZERO
    last = size - ONE
    at = _share(hashed, size)
    for _ in range(_GUESSES):
        there = rows[at, 0]
        if there < hashed:
            at = min(last, at + _share(hashed - there, size))
        else:
            at -= min(at, _share(there - hashed, size))
    low = at
    high = at
    stride = _FIRST_STRIDE
    if rows[at, 0] < hashed:
        while high < size and rows[high, 0] < hashed:
            low = high + ONE
            high = high + min(stride, size - high)
            stride += stride
    else:
        while low > ZERO and rows[low, 0] >= hashed:
            high = low
            low = low - min(stride, low)
            stride += stride
    while low < high:
        middle = low + ((high - low) >> ONE)
        if rows[middle, 0] < hashed:
            low = middle + ONE
        else:
            high = middle
    return low
