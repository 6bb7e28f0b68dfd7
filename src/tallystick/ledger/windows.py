"""The id window: which ids were used lately, and at which position (DESIGN §5).

Two generations, each an open-addressing table of (hash, position + 1). A hit says "perhaps": whoever asks compares
with the id in the entry at that position, so a collision of hashes costs a look, never a wrong answer. What fell
out of the window is in the id runs (`engine.idruns`).

One table of `slots` rows is at most half full: `slots` is a power of two, at least twice the ids it may hold.
"""

from typing import Any

import numpy as np

from tallystick.ledger.compiled import ONE, U64, ZERO, inlined

NOT_FOUND = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def put(table: Any, hashed: Any, position: Any) -> Any:
    """Note that an id with this hash stands at `position`. The table must have room."""
    mask = U64(table.shape[0]) - ONE
    at = hashed & mask
    while table[at, 1] != ZERO:
        at = (at + ONE) & mask
    table[at, 0] = hashed
    table[at, 1] = position + ONE


@inlined
def take_back(table: Any, hashed: Any, position: Any) -> Any:
    """Undo the newest `put` that is not undone yet. Only in that order: a slot behind it may depend on it."""
    mask = U64(table.shape[0]) - ONE
    at = hashed & mask
    while table[at, 1] != position + ONE:
        at = (at + ONE) & mask
    table[at, 1] = ZERO


@inlined
def find(table: Any, hashed: Any, cursor: Any) -> Any:
    """The next position kept for this hash, and the cursor to go on from; (NOT_FOUND, …) when there is no more.

    Begin with `cursor` = `start(table, hashed)`. Ids with equal hashes come one after the other.
    """
    mask = U64(table.shape[0]) - ONE
    at = cursor & mask
    while table[at, 1] != ZERO:
        if table[at, 0] == hashed:
            return table[at, 1] - ONE, at + ONE
        at = (at + ONE) & mask
    return NOT_FOUND, at


@inlined
def start(table: Any, hashed: Any) -> Any:
    """Where `find` begins."""
    return hashed & (U64(table.shape[0]) - ONE)


def slots_for(ids: int) -> int:
    """Rows of a table for so many ids: a power of two, at least twice as many."""
    return max(16, 1 << (2 * ids - 1).bit_length())
