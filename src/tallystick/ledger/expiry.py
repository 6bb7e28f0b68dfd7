"""When pending transfers expire: an indexed heap of those with a time-out, ordered by (expires at, created at).

Four children to a node, keys beside the rows' numbers, and each row's place in the heap in an array of its own: a
million open ones are a sweep of ten levels in memory that lies close together. One that is posted or voided is
taken out of its place at once, so the heap never holds more than is open.
"""

from typing import Any

import numpy as np

from tallystick.ledger import hashing
from tallystick.ledger.books import EXPIRIES_MAX, Counter
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled, inlined, outlined
from tallystick.ledger.pendings import leave

CHILDREN = 4
_PLACE_NONE = np.uint32(0)
_FREE = np.uint8(0)


@inlined
def push(heap: Any, heap_at: Any, counters: Any, pending: Any, row: Any) -> Any:
    """Let the pending transfer at `row` expire when its time comes."""
    at = np.int64(counters[Counter.HEAP])
    counters[Counter.HEAP] = U64(at) + ONE
    _rise(heap, heap_at, at, pending.expires_at, pending.created_at, U64(row))


@outlined
def remove(heap: Any, heap_at: Any, counters: Any, row: Any) -> Any:
    """Take the pending transfer at `row` out, wherever it stands; nothing if it never expires."""
    if heap_at[row] == _PLACE_NONE:
        return
    at = np.int64(heap_at[row]) - 1
    heap_at[row] = _PLACE_NONE
    last = np.int64(counters[Counter.HEAP]) - 1
    counters[Counter.HEAP] = U64(last)
    if at == last:
        return
    expires_at, created_at, moved = heap[last, 0], heap[last, 1], heap[last, 2]
    if at > 0 and _earlier(expires_at, created_at, heap, (at - 1) // CHILDREN):
        _rise(heap, heap_at, at, expires_at, created_at, moved)
    else:
        _sink(heap, heap_at, last, at, expires_at, created_at, moved)


@inlined
def _earlier(expires_at: Any, created_at: Any, heap: Any, other: Any) -> Any:
    """Whether this comes before what stands at `other`."""
    return expires_at < heap[other, 0] or (expires_at == heap[other, 0] and created_at < heap[other, 1])


@inlined
def _place(heap: Any, heap_at: Any, at: Any, expires_at: Any, created_at: Any, row: Any) -> Any:
    heap[at, 0] = expires_at
    heap[at, 1] = created_at
    heap[at, 2] = row
    heap_at[row] = np.uint32(at + 1)


@inlined
def _rise(heap: Any, heap_at: Any, at: Any, expires_at: Any, created_at: Any, row: Any) -> Any:
    while at > 0:
        parent = (at - 1) // CHILDREN
        if not _earlier(expires_at, created_at, heap, parent):
            break
        _place(heap, heap_at, at, heap[parent, 0], heap[parent, 1], heap[parent, 2])
        at = parent
    _place(heap, heap_at, at, expires_at, created_at, row)


@inlined
def _sink(heap: Any, heap_at: Any, count: Any, at: Any, expires_at: Any, created_at: Any, row: Any) -> Any:
    while True:
        first = CHILDREN * at + 1
        if first >= count:
            break
        least = first
        for child in range(first + 1, min(first + CHILDREN, count)):
            if _earlier(heap[child, 0], heap[child, 1], heap, least):
                least = child
        if _earlier(expires_at, created_at, heap, least):
            break
        _place(heap, heap_at, at, heap[least, 0], heap[least, 1], heap[least, 2])
        at = least
    _place(heap, heap_at, at, expires_at, created_at, row)


@compiled
def take_due(books: Any, now: Any) -> Any:
    """Begin a block: take what expires at `now` or before out of the heap, at most 8,190, into `books.resolved`.

    Returns how many. `kernel.decide` makes their entries; the rest wait for the next block.
    """
    heap, heap_at, counters, resolved = books.heap, books.heap_at, books.counters, books.resolved
    pendings, pending_slots, pending_free, id_keys = (
        books.pendings,
        books.pending_slots,
        books.pending_free,
        books.id_keys,
    )
    free_resolved(pendings, pending_slots, pending_free, resolved, counters, id_keys)
    count = 0
    while count < EXPIRIES_MAX and counters[Counter.HEAP] > ZERO and heap[0, 0] <= now:
        row = np.int64(heap[0, 2])
        remove(heap, heap_at, counters, row)
        resolved[count] = row
        count += 1
    counters[Counter.RESOLVED] = U64(count)
    return count


@inlined
def free_resolved(
    pendings: Any, pending_slots: Any, pending_free: Any, resolved: Any, counters: Any, id_keys: Any
) -> Any:
    """Give away the rows of what the block before resolved."""
    for place in range(np.int64(counters[Counter.RESOLVED])):
        free_row(pendings, pending_slots, pending_free, counters, id_keys, resolved[place])
    counters[Counter.RESOLVED] = ZERO


@inlined
def free_row(pendings: Any, pending_slots: Any, pending_free: Any, counters: Any, id_keys: Any, row: Any) -> Any:
    """Give away one row: nobody will look for this pending transfer in the books any more."""
    pending = pendings[row]
    leave(pending_slots, hashing.hash_id(id_keys, pending.tenant, pending.id_lo, pending.id_hi), row)
    pending.ending = _FREE
    free = counters[Counter.PENDINGS_FREE]
    pending_free[free] = np.uint32(row)
    counters[Counter.PENDINGS_FREE] = free + ONE
