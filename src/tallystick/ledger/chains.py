"""Linked chains: what a chain changed is put back when one of its members fails.

Before a member of a chain changes a row, the row is copied; undoing goes backwards over the members, and in each from
its last change to its first. Tables need no log: whatever was entered last can be taken out without moving others.
"""

from typing import Any

import numpy as np

from tallystick.ledger import windows
from tallystick.ledger.books import NO_ROW, Counter, remove_account
from tallystick.ledger.compiled import ONE, ZERO, outlined
from tallystick.ledger.expiry import free_row, push, remove
from tallystick.ledger.transfers import LINKED, PENDING
from tallystick.records.commands import Kind
from tallystick.statuses import TransferStatus

LINKED_EVENT_FAILED = int(TransferStatus.LINKED_EVENT_FAILED)  # the same number for accounts and controls
NO_REVIEW_MODE = 0
INTO_PENDING = 1
INTO_REFUSAL = 2
_ACCOUNT = int(Kind.ACCOUNT)
_TRANSFER = int(Kind.TRANSFER)
_FAILED_STORED = np.uint16(LINKED_EVENT_FAILED)
_FAILED = np.uint32(LINKED_EVENT_FAILED)
_NOTHING_16 = np.uint16(0)
_NOTHING_32 = np.uint32(0)


@outlined
def take_back(
    first: Any,
    stop: Any,
    expired: Any,
    entries: Any,
    details: Any,
    results: Any,
    moved_rows: Any,
    hashes: Any,
    import_hashes: Any,
    rows: Any,
    slots: Any,
    account_keys: Any,
    ids: Any,
    id_keys: Any,
    pendings: Any,
    pending_slots: Any,
    pending_free: Any,
    heap: Any,
    heap_at: Any,
    counters: Any,
    saved_rows: Any,
    saved_pendings: Any,
) -> Any:
    """Put back what commands `first` to `stop − 1` changed, and make them `linked_event_failed`.

    All of them were created. `entries` are read as transfers; the entry of command k stands at `expired + k`.
    """
    for k in range(stop - 1, first - 1, -1):
        at, member = expired + k, k - first
        entry = entries[at]
        pending_row = moved_rows[at, 2]
        if import_hashes[k] != ZERO:
            windows.take_back(ids, import_hashes[k], entry.seq)
            counters[Counter.TRANSFER_IDS] = counters[Counter.TRANSFER_IDS] - ONE
        if entry.kind == _TRANSFER:
            windows.take_back(ids, hashes[k], entry.seq)
            counters[Counter.TRANSFER_IDS] = counters[Counter.TRANSFER_IDS] - ONE
        if pending_row != NO_ROW:
            if entry.kind == _TRANSFER and entry.flag_bits_effective & PENDING != 0:
                remove(heap, heap_at, counters, pending_row)
                free_row(pendings, pending_slots, pending_free, counters, id_keys, pending_row)
            else:
                _put_back(pendings, heap, heap_at, counters, saved_pendings, member, pending_row)
        rows[moved_rows[at, 0]] = saved_rows[2 * member]
        if moved_rows[at, 1] != NO_ROW:
            rows[moved_rows[at, 1]] = saved_rows[2 * member + 1]
        if entry.kind == _ACCOUNT:
            remove_account(rows, slots, counters, account_keys, moved_rows[at, 0])
        _forget(entry, details[at], results[k])
        for place in range(3):
            moved_rows[at, place] = NO_ROW


@outlined
def _put_back(pendings: Any, heap: Any, heap_at: Any, counters: Any, saved_pendings: Any, member: Any, row: Any) -> Any:
    """A pending transfer is open again, or in review again, as it was before this member of the chain."""
    was_resolved = pendings[row].ending != saved_pendings[member].ending
    pendings[row] = saved_pendings[member]
    if was_resolved:
        counters[Counter.RESOLVED] = counters[Counter.RESOLVED] - ONE
        if pendings[row].expires_at != ZERO:
            push(heap, heap_at, counters, pendings[row], row)


@outlined
def _forget(entry: Any, details: Any, result: Any) -> Any:
    entry.status = _FAILED_STORED
    entry.moved_lo = ZERO
    entry.moved_hi = ZERO
    entry.flag_bits_effective = _NOTHING_16
    entry.timeout_effective = _NOTHING_32
    result.status = _FAILED
    result.timestamp = entry.timestamp
    details.debit_sequence = ZERO
    details.debit_previous = ZERO
    details.credit_sequence = ZERO
    details.credit_previous = ZERO
    details.pending_seq = ZERO


@outlined
def review_mode(commands: Any, transfers: Any, verdicts: Any, start: Any, review: Any, transfer: Any) -> Any:
    """What a review verdict makes of the chain, or the single transfer, that begins at command `start`.

    Pending ones, if there is nothing but plain and pending ones; else those that are to be reviewed are refused.
    """
    asked, convertible = False, True
    k = start
    while True:
        flag_bits = transfers[k].flag_bits
        if commands[k].kind != transfer:
            return NO_REVIEW_MODE
        asked = asked or verdicts[k] == review
        convertible = convertible and flag_bits | LINKED | PENDING == LINKED | PENDING
        if flag_bits & LINKED == 0 or commands[k].index + 1 >= commands[k].count:
            break
        k += 1
    if not asked:
        return NO_REVIEW_MODE
    return INTO_PENDING if convertible else INTO_REFUSAL
