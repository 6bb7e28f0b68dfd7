"""Open pending transfers: a row each, and the keyed table that finds it by (tenant, id).

A row lives from the pending transfer's entry to the end of the block that resolves it, so that whoever asks later in
that block still finds how it ended. After that the journal has its entry, and `engine.endings` one byte of it.
Rows are reserved once as virtual memory; a free list hands used ones out again.
"""

from enum import IntEnum
from typing import Any

import numpy as np

from tallystick.ledger.compiled import ONE, U64, ZERO, inlined
from tallystick.records.commands import u128

PENDING = np.dtype(
    [
        *u128("id"),
        ("tenant", "<u8"),
        *u128("amount"),  # minor units reserved
        *u128("user_data_128"),
        ("user_data_64", "<u8"),
        ("expires_at", "<u8"),  # ns; 0: never
        ("created_at", "<u8"),  # ns, when it was decided
        ("seq", "<u8"),  # of its entry
        ("user_data_32", "<u4"),
        ("debit_row", "<u4"),  # of the accounts
        ("credit_row", "<u4"),
        ("timeout", "<u4"),  # seconds, effective
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flag_bits", "<u2"),  # effective
        ("ending", "u1"),  # `records.endings.Ending`; 0: a free row
        ("review", "u1"),  # `Review`
        ("reserved_16", "<u2"),
        ("reserved_32", "<u4"),
        ("spare", "<u8"),
    ]
)
assert PENDING.itemsize == 128


class Review(IntEnum):
    """Whether only people may let a pending transfer go on, and what it was asked as."""

    NONE = 0
    OF_PLAIN = 1  # approved, it is posted
    OF_PENDING = 2  # approved, it is as pending as it was asked


NO_ROW = -1
_ROW_BITS = U64(0xFFFFFFFF)
_TAG_SHIFT = U64(32)


@inlined
def find_pending(slots: Any, pendings: Any, hashed: Any, tenant: Any, lo: Any, hi: Any) -> Any:
    """The row of a pending transfer, or NO_ROW. A slot holds 32 bits of hash above the row's number + 1."""
    mask = U64(slots.shape[0]) - ONE
    tag = hashed & _ROW_BITS
    at = tag & mask
    while slots[at] != ZERO:
        if slots[at] >> _TAG_SHIFT == tag:
            row = np.int64(slots[at] & _ROW_BITS) - 1
            if pendings[row].id_lo == lo and pendings[row].id_hi == hi and pendings[row].tenant == tenant:
                return row
        at = (at + ONE) & mask
    return NO_ROW


@inlined
def enter(slots: Any, hashed: Any, row: Any) -> Any:
    """Make the pending transfer at `row` findable. The table must have room, and it has: twice the rows there are."""
    mask = U64(slots.shape[0]) - ONE
    tag = hashed & _ROW_BITS
    at = tag & mask
    while slots[at] != ZERO:
        at = (at + ONE) & mask
    slots[at] = (tag << _TAG_SHIFT) | (U64(row) + ONE)


@inlined
def leave(slots: Any, hashed: Any, row: Any) -> Any:
    """Take a row out of the table. What stands behind moves up, so that no tombstones gather."""
    mask = U64(slots.shape[0]) - ONE
    tag = hashed & _ROW_BITS
    wanted = (tag << _TAG_SHIFT) | (U64(row) + ONE)
    hole = tag & mask
    while slots[hole] != wanted:
        hole = (hole + ONE) & mask
    at = (hole + ONE) & mask
    while slots[at] != ZERO:
        home = (slots[at] >> _TAG_SHIFT) & mask
        if (at - home) & mask >= (at - hole) & mask:
            slots[hole] = slots[at]
            hole = at
        at = (at + ONE) & mask
    slots[hole] = ZERO


def slots_for(pendings: int) -> int:
    """Slots of a table for so many rows: a power of two, at least twice as many."""
    return max(16, 1 << (2 * pendings - 1).bit_length())
