"""The one pass over a block that decides everything: `decide`; and `apply`, which repeats what was decided.

    commands ─► look_up ─► decide ─► outcome (entries, details, results)        invariants.check

`look_up` finds rows and hashes for all commands first, so that cache misses overlap instead of queueing up inside
`decide`. What only the journal knows (an id used long ago) is fetched between the two (`engine.fetch`).
"""

from typing import Any

import numpy as np

from tallystick.ledger import hashing, windows
from tallystick.ledger.accounts import (
    apply_control,
    check_account,
    check_control,
    open_account,
    row_of,
)
from tallystick.ledger.books import NO_ROW, Counter, find_account, forget_touched
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled
from tallystick.ledger.transfers import (
    CREATED_STORED,
    check_accounts,
    check_existing,
    check_fields,
    check_shape,
    is_transient,
    post,
)
from tallystick.records.commands import Kind
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import LENGTH_BYTESWAPPED
from tallystick.records.entries import VERSION as ENTRY_VERSION
from tallystick.statuses import STORED_MASK, AccountStatus, ControlStatus, TransferStatus

TRANSFER = int(Kind.TRANSFER)
ACCOUNT = int(Kind.ACCOUNT)
CONTROL = int(Kind.CONTROL)
NOT_FETCHED = -1
REQUEST_EXPIRED = int(TransferStatus.REQUEST_EXPIRED)
QUARANTINED = int(TransferStatus.QUARANTINED)


@compiled
def look_up(batch: Any, books: Any) -> Any:
    """Fill `batch.hashes` and `batch.rows`: the accounts each command names, as they stand before the block."""
    for k in range(batch.commands.shape[0]):
        command = batch.commands[k]
        tenant = command.tenant
        batch.rows[k, 1] = NO_ROW
        if command.kind == TRANSFER:
            t = batch.transfers[k]
            batch.hashes[k] = hashing.hash_id(books.id_keys, tenant, t.id_lo, t.id_hi)
            batch.rows[k, 0] = find_account(books, tenant, t.debit_account_id_lo, t.debit_account_id_hi)
            batch.rows[k, 1] = find_account(books, tenant, t.credit_account_id_lo, t.credit_account_id_hi)
        elif command.kind == ACCOUNT:
            a = batch.accounts[k]
            batch.hashes[k] = ZERO
            batch.rows[k, 0] = find_account(books, tenant, a.id_lo, a.id_hi)
        else:
            c = batch.controls[k]
            batch.hashes[k] = ZERO
            batch.rows[k, 0] = find_account(books, tenant, c.account_id_lo, c.account_id_hi)


@compiled
def decide(batch: Any, books: Any, outcome: Any, first_seq: Any, now: Any, shard: Any) -> Any:
    """Decide every command in order, on the books, into `outcome`. Command k gets seq and timestamp `… + k`.

    `first_seq` and `now` (ns) are uint64, `shard` uint16. A crash inside leaves the books changed: the process
    must end and start again from the journal.
    """
    books.counters[Counter.TOUCHED] = ZERO
    for k in range(batch.commands.shape[0]):
        command = batch.commands[k]
        seq = first_seq + U64(k)
        timestamp = now + U64(k)
        entry = outcome.entries[k]
        _write_entry(entry, outcome.details[k], command, seq, timestamp, shard)
        result = outcome.results[k]
        result.timestamp = timestamp
        if batch.quarantined[k] != 0:
            status = QUARANTINED
        elif command.expires_at != ZERO and now > command.expires_at:
            status = REQUEST_EXPIRED
        elif command.kind == TRANSFER:
            status = _decide_transfer(batch, books, outcome, k, first_seq, seq)
        elif command.kind == ACCOUNT:
            status = _decide_account(batch, books, outcome, k, seq, timestamp)
        else:
            status = _decide_control(batch, books, outcome, k, seq)
        entry.status = np.uint16(status & STORED_MASK)
        result.status = np.uint32(status)


@compiled
def _write_entry(entry: Any, details: Any, command: Any, seq: Any, timestamp: Any, shard: Any) -> Any:
    entry.length = LENGTH_BYTESWAPPED
    entry.kind = command.kind
    entry.version = ENTRY_VERSION
    entry.shard = shard
    entry.index = command.index
    entry.seq = seq
    entry.timestamp = timestamp
    for word in range(16):
        entry.event[word] = command.event[word]
    entry.tenant = command.tenant
    entry.request_id_lo = command.request_id_lo
    entry.request_id_hi = command.request_id_hi
    entry.submitted_at = command.submitted_at
    details.device_pseudonym = command.device_pseudonym
    details.network_pseudonym = command.network_pseudonym
    details.version = DETAILS_VERSION
    if command.index == 0:
        details.count = command.count
        for word in range(4):
            details.fingerprint[word] = command.fingerprint[word]
    for word in range(4):
        entry.metadata[word] = command.metadata[word]


@compiled
def _decide_transfer(batch: Any, books: Any, outcome: Any, k: Any, first_seq: Any, seq: Any) -> Any:
    t = batch.transfers[k]
    status = check_fields(t)
    if status != TransferStatus.CREATED:
        return status
    hashed = batch.hashes[k]
    if batch.fetched_at[k] != NOT_FETCHED:
        there = batch.fetched[batch.fetched_at[k]]
        return _repeat(check_existing(t, there), there, outcome, k)
    position, cursor = windows.find(books.transfer_ids, hashed, windows.start(books.transfer_ids, hashed))
    while position != windows.NOT_FOUND:
        # Positions before this block were compared with the journal's entry already (`fetched_at`).
        if position >= first_seq:
            there = outcome.transfers[np.int64(position - first_seq)]
            if there.id_lo == t.id_lo and there.id_hi == t.id_hi and there.tenant == t.tenant:
                return _repeat(check_existing(t, there), there, outcome, k)
        position, cursor = windows.find(books.transfer_ids, hashed, cursor)
    status = check_shape(t)
    if status != TransferStatus.CREATED:
        return status
    debit_row = row_of(books, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi, batch.rows[k, 0])
    credit_row = row_of(books, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi, batch.rows[k, 1])
    status = check_accounts(t, books.rows, debit_row, credit_row)
    if status == TransferStatus.CREATED:
        post(books, debit_row, credit_row, t.amount_lo, t.amount_hi, seq, outcome.details[k])
        outcome.entries[k].moved_lo = t.amount_lo
        outcome.entries[k].moved_hi = t.amount_hi
        outcome.entries[k].flag_bits_effective = t.flag_bits
        outcome.entries[k].timeout_effective = t.timeout
        outcome.rows[k, 0] = debit_row
        outcome.rows[k, 1] = credit_row
        _use_id(books, hashed, seq)
    elif is_transient(status):
        _use_id(books, hashed, seq)
    return status


@compiled
def _use_id(books: Any, hashed: Any, seq: Any) -> Any:
    windows.put(books.transfer_ids, hashed, seq)
    books.counters[Counter.TRANSFER_IDS] = books.counters[Counter.TRANSFER_IDS] + ONE


@compiled
def _repeat(status: Any, there: Any, outcome: Any, k: Any) -> Any:
    """An id met again: the details point at the entry that has it, `exists` repeats that one's timestamp."""
    outcome.details[k].debit_previous = there.seq
    if status == TransferStatus.EXISTS:
        outcome.results[k].timestamp = there.timestamp
    return status


@compiled
def _decide_account(batch: Any, books: Any, outcome: Any, k: Any, seq: Any, timestamp: Any) -> Any:
    a = batch.accounts[k]
    row = row_of(books, a.tenant, a.id_lo, a.id_hi, batch.rows[k, 0])
    status = check_account(a, row, books.rows)
    if status == AccountStatus.CREATED:
        row = open_account(books, a.tenant, a, seq, timestamp)
        if row == NO_ROW:
            return AccountStatus.TOO_MANY_ACCOUNTS
        outcome.rows[k, 0] = row
        outcome.details[k].debit_sequence = books.rows[row].sequence
        outcome.entries[k].flag_bits_effective = a.flag_bits
    elif status == AccountStatus.EXISTS:
        outcome.details[k].debit_previous = books.rows[row].created_seq
        outcome.results[k].timestamp = books.rows[row].created_at
    return status


@compiled
def _decide_control(batch: Any, books: Any, outcome: Any, k: Any, seq: Any) -> Any:
    c = batch.controls[k]
    row = row_of(books, c.tenant, c.account_id_lo, c.account_id_hi, batch.rows[k, 0])
    status = check_control(c, row)
    if status == ControlStatus.APPLIED:
        previous = books.rows[row].previous
        apply_control(books, row, c, seq)
        outcome.rows[k, 0] = row
        outcome.details[k].debit_sequence = books.rows[row].sequence
        outcome.details[k].debit_previous = previous
    return status


@compiled
def note_requests(batch: Any, books: Any, first_seq: Any) -> Any:
    """Enter each request's id, at the position of its first entry, into the window."""
    for k in range(batch.commands.shape[0]):
        command = batch.commands[k]
        if command.index == 0:
            hashed = hashing.hash_id(books.id_keys, command.tenant, command.request_id_lo, command.request_id_hi)
            windows.put(books.request_ids, hashed, first_seq + U64(k))
            books.counters[Counter.REQUEST_IDS] = books.counters[Counter.REQUEST_IDS] + ONE


APPLIED_ALL = -1


@compiled
def apply(entries: Any, transfers: Any, accounts: Any, controls: Any, details: Any, books: Any, ids_from: Any) -> Any:
    """Repeat decided entries on the books. Returns APPLIED_ALL, or the index of the first that does not fit.

    The first four are views of the same bytes (`WORK`, `TRANSFER_WORK`, …). Ids at positions below `ids_from`
    are not entered into the window: an id run has them. Nothing is decided again; where numbering or rows
    contradict the details, the journal and this program disagree, and the caller must stop.
    """
    books.counters[Counter.TOUCHED] = ZERO
    first_misfit = APPLIED_ALL
    for k in range(entries.shape[0]):
        entry = entries[k]
        if entry.kind == TRANSFER:
            fits = _apply_transfer(transfers[k], details[k], books, ids_from)
        elif entry.kind == ACCOUNT:
            fits = _apply_account(accounts[k], details[k], books)
        elif entry.kind == CONTROL:
            fits = _apply_control(controls[k], details[k], books)
        else:
            continue
        if not fits:
            first_misfit = k
            break
        if entry.index == 0 and entry.seq >= ids_from and not _no_request(entry):
            hashed = hashing.hash_id(books.id_keys, entry.tenant, entry.request_id_lo, entry.request_id_hi)
            windows.put(books.request_ids, hashed, entry.seq)
            books.counters[Counter.REQUEST_IDS] = books.counters[Counter.REQUEST_IDS] + ONE
    forget_touched(books)
    return first_misfit


@compiled
def _no_request(entry: Any) -> Any:
    return entry.request_id_lo == ZERO and entry.request_id_hi == ZERO


@compiled
def _apply_transfer(t: Any, stored: Any, books: Any, ids_from: Any) -> Any:
    created = t.status == CREATED_STORED
    if created:
        debit_row = find_account(books, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi)
        credit_row = find_account(books, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi)
        if debit_row == NO_ROW or credit_row == NO_ROW:
            return False
        debit_previous = books.rows[debit_row].previous
        credit_previous = books.rows[credit_row].previous
        if debit_previous != stored.debit_previous or credit_previous != stored.credit_previous:
            return False
        if books.rows[debit_row].sequence + ONE != stored.debit_sequence:
            return False
        if books.rows[credit_row].sequence + ONE != stored.credit_sequence:
            return False
        post(books, debit_row, credit_row, t.moved_lo, t.moved_hi, t.seq, stored)
    if t.seq >= ids_from and (created or is_transient(np.int64(t.status))):
        _use_id(books, hashing.hash_id(books.id_keys, t.tenant, t.id_lo, t.id_hi), t.seq)
    return True


@compiled
def _apply_account(a: Any, stored: Any, books: Any) -> Any:
    if a.status != CREATED_STORED:
        return True
    if find_account(books, a.tenant, a.id_lo, a.id_hi) != NO_ROW:
        return False
    row = open_account(books, a.tenant, a, a.seq, a.timestamp)
    return row != NO_ROW and books.rows[row].sequence == stored.debit_sequence


@compiled
def _apply_control(c: Any, stored: Any, books: Any) -> Any:
    if c.status != CREATED_STORED:
        return True
    row = find_account(books, c.tenant, c.account_id_lo, c.account_id_hi)
    if row == NO_ROW or books.rows[row].previous != stored.debit_previous:
        return False
    apply_control(books, row, c, c.seq)
    return books.rows[row].sequence == stored.debit_sequence
