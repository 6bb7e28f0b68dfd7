"""The one pass over a block that decides everything: `decide`; and `apply`, which repeats what was decided.

    commands ─► look_up ─► decide ─► outcome (entries, details, results)        invariants.check

`look_up` finds rows and hashes for all commands first, so that cache misses overlap instead of queueing up inside
`decide`. What only the journal knows (an id used long ago) is fetched between the two (`engine.fetch`).
"""

from typing import Any

import numpy as np

from tallystick.ledger import hashing, windows
from tallystick.ledger.accounts import apply_control, check_account, check_control, fill_account
from tallystick.ledger.books import NO_ROW, Counter, add_account, find_account, forget_touched, touch
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled, inlined
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
from tallystick.records.details import NO_POSITION
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import LENGTH_BYTESWAPPED
from tallystick.records.entries import VERSION as ENTRY_VERSION
from tallystick.statuses import STORED_MASK, AccountStatus, TransferStatus

TRANSFER = int(Kind.TRANSFER)
ACCOUNT = int(Kind.ACCOUNT)
CONTROL = int(Kind.CONTROL)
SEAL = int(Kind.SEAL)
CREATED = int(TransferStatus.CREATED)  # the same number for accounts, and for controls that were applied
TRANSFER_EXISTS = int(TransferStatus.EXISTS)
ACCOUNT_EXISTS = int(AccountStatus.EXISTS)
TOO_MANY_ACCOUNTS = int(AccountStatus.TOO_MANY_ACCOUNTS)
NOT_FETCHED = -1
NO_PREVIOUS = U64(NO_POSITION)
REQUEST_EXPIRED = int(TransferStatus.REQUEST_EXPIRED)
QUARANTINED = int(TransferStatus.QUARANTINED)


@compiled
def look_up(batch: Any, books: Any) -> Any:
    """Fill the batch's ids, hashes and `rows`: the accounts each command names, as they stand before the block."""
    commands, transfers, accounts, controls = batch.commands, batch.transfers, batch.accounts, batch.controls
    hashes, found = batch.hashes, batch.rows
    ids_lo, ids_hi, is_transfer = batch.ids_lo, batch.ids_hi, batch.is_transfer
    rows, slots, old_slots, keys, id_keys = (
        books.rows,
        books.slots,
        books.old_slots,
        books.account_keys,
        books.id_keys,
    )
    for k in range(commands.shape[0]):
        kind = commands[k].kind
        tenant = commands[k].tenant
        ids_lo[k] = ZERO
        ids_hi[k] = ZERO
        hashes[k] = ZERO
        is_transfer[k] = kind == TRANSFER
        found[k, 1] = NO_ROW
        if kind == TRANSFER:
            t = transfers[k]
            ids_lo[k] = t.id_lo
            ids_hi[k] = t.id_hi
            hashes[k] = hashing.hash_id(id_keys, tenant, t.id_lo, t.id_hi)
            found[k, 0] = find_account(
                slots, old_slots, rows, keys, tenant, t.debit_account_id_lo, t.debit_account_id_hi
            )
            found[k, 1] = find_account(
                slots, old_slots, rows, keys, tenant, t.credit_account_id_lo, t.credit_account_id_hi
            )
        elif kind == ACCOUNT:
            found[k, 0] = find_account(slots, old_slots, rows, keys, tenant, accounts[k].id_lo, accounts[k].id_hi)
        else:
            c = controls[k]
            found[k, 0] = find_account(slots, old_slots, rows, keys, tenant, c.account_id_lo, c.account_id_hi)


@compiled
def decide(batch: Any, books: Any, outcome: Any, first_seq: Any, now: Any, shard: Any) -> Any:
    """Decide every command in order, on the books, into `outcome`. Command k gets seq and timestamp `… + k`.

    `first_seq` and `now` (ns) are uint64, `shard` uint16. A crash inside leaves the books changed: the process
    must end and start again from the journal.
    """
    commands, transfers, accounts, controls = batch.commands, batch.transfers, batch.accounts, batch.controls
    hashes, found, quarantined = batch.hashes, batch.rows, batch.quarantined
    fetched, fetched_at = batch.fetched, batch.fetched_at
    rows, slots, old_slots, keys = books.rows, books.slots, books.old_slots, books.account_keys
    touched, counters, ids = books.touched, books.counters, books.transfer_ids
    request_ids, id_keys = books.request_ids, books.id_keys
    entries, decided, details, results, moved_rows = (
        outcome.entries,
        outcome.transfers,
        outcome.details,
        outcome.results,
        outcome.rows,
    )
    counters[Counter.TOUCHED] = ZERO
    # Accounts opened in this very block were not found by `look_up`; from the first one on, look again.
    opened = False
    for k in range(commands.shape[0]):
        command = commands[k]
        entry = entries[k]
        result = results[k]
        seq = first_seq + U64(k)
        timestamp = now + U64(k)
        _write_entry(entry, details[k], command, seq, timestamp, shard)
        result.timestamp = timestamp
        if quarantined[k] != 0:
            status = QUARANTINED
        elif command.expires_at != ZERO and now > command.expires_at:
            status = REQUEST_EXPIRED
        elif command.kind == TRANSFER:
            t = transfers[k]
            status = check_fields(t)
            if status == CREATED:
                fetched_here = fetched_at[k]
                if fetched_here != NOT_FETCHED:
                    status = _repeat(t, fetched[fetched_here], result, details[k])
                else:
                    earlier = _find_in_block(ids, hashes[k], decided, t, first_seq)
                    if earlier != NOT_FETCHED:
                        status = _repeat(t, decided[earlier], result, details[k])
            if status == CREATED:
                status = check_shape(t)
            if status == CREATED:
                debit_row, credit_row = found[k, 0], found[k, 1]
                if opened and debit_row == NO_ROW:
                    debit_row = find_account(
                        slots, old_slots, rows, keys, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi
                    )
                if opened and credit_row == NO_ROW:
                    credit_row = find_account(
                        slots, old_slots, rows, keys, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi
                    )
                status = check_accounts(t, rows, debit_row, credit_row)
                if status == CREATED:
                    debit, credit = rows[debit_row], rows[credit_row]
                    touch(touched, counters, debit, debit_row)
                    touch(touched, counters, credit, credit_row)
                    post(debit, credit, t.amount_lo, t.amount_hi, seq, details[k])
                    entry.moved_lo = t.amount_lo
                    entry.moved_hi = t.amount_hi
                    entry.flag_bits_effective = t.flag_bits
                    entry.timeout_effective = t.timeout
                    moved_rows[k, 0] = debit_row
                    moved_rows[k, 1] = credit_row
                    _use_id(ids, counters, hashes[k], seq)
                elif is_transient(status):
                    _use_id(ids, counters, hashes[k], seq)
        elif command.kind == ACCOUNT:
            a = accounts[k]
            row = found[k, 0]
            if opened and row == NO_ROW:
                row = find_account(slots, old_slots, rows, keys, a.tenant, a.id_lo, a.id_hi)
            status = check_account(a, row, rows)
            if status == CREATED:
                row = add_account(rows, slots, counters, keys, a.tenant, a.id_lo, a.id_hi)
                if row == NO_ROW:
                    status = TOO_MANY_ACCOUNTS
                else:
                    opened = True
                    touch(touched, counters, rows[row], row)
                    fill_account(rows[row], a, seq, timestamp)
                    moved_rows[k, 0] = row
                    details[k].debit_sequence = rows[row].sequence
                    details[k].debit_previous = NO_PREVIOUS
                    entry.flag_bits_effective = a.flag_bits
            elif status == ACCOUNT_EXISTS:
                details[k].debit_previous = rows[row].created_seq
                result.timestamp = rows[row].created_at
        else:
            c = controls[k]
            row = found[k, 0]
            if opened and row == NO_ROW:
                row = find_account(slots, old_slots, rows, keys, c.tenant, c.account_id_lo, c.account_id_hi)
            status = check_control(c, row)
            if status == CREATED:
                details[k].debit_previous = rows[row].previous
                apply_control(rows[row], touched[touch(touched, counters, rows[row], row)], c, seq)
                moved_rows[k, 0] = row
                details[k].debit_sequence = rows[row].sequence
        if command.index == 0:
            _note_request(request_ids, counters, id_keys, command, seq)
        entry.status = np.uint16(status & STORED_MASK)
        result.status = np.uint32(status)


@inlined
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
    for word in range(4):
        entry.metadata[word] = command.metadata[word]
    details.device_pseudonym = command.device_pseudonym
    details.network_pseudonym = command.network_pseudonym
    details.version = DETAILS_VERSION
    if command.index == 0:
        details.count = command.count
        for word in range(4):
            details.fingerprint[word] = command.fingerprint[word]


@inlined
def _find_in_block(ids: Any, hashed: Any, decided: Any, t: Any, first_seq: Any) -> Any:
    """The index of the entry of this block that has the transfer's id already, or NOT_FETCHED.

    Positions before this block were compared with the journal's entries when they were fetched.
    """
    position, cursor = windows.find(ids, hashed, windows.start(ids, hashed))
    while position != windows.NOT_FOUND:
        if position >= first_seq:
            index = np.int64(position - first_seq)
            there = decided[index]
            if there.id_lo == t.id_lo and there.id_hi == t.id_hi and there.tenant == t.tenant:
                return index
        position, cursor = windows.find(ids, hashed, cursor)
    return NOT_FETCHED


@inlined
def _repeat(t: Any, there: Any, result: Any, details: Any) -> Any:
    """An id met again: the details point at the entry that has it, `exists` repeats that one's timestamp."""
    status = check_existing(t, there)
    details.debit_previous = there.seq
    if status == TRANSFER_EXISTS:
        result.timestamp = there.timestamp
    return status


@inlined
def _use_id(ids: Any, counters: Any, hashed: Any, seq: Any) -> Any:
    windows.put(ids, hashed, seq)
    counters[Counter.TRANSFER_IDS] = counters[Counter.TRANSFER_IDS] + ONE


@inlined
def _note_request(request_ids: Any, counters: Any, keys: Any, record: Any, seq: Any) -> Any:
    """Enter a request's id, at the position of its first entry, into the window."""
    hashed = hashing.hash_id(keys, record.tenant, record.request_id_lo, record.request_id_hi)
    windows.put(request_ids, hashed, seq)
    counters[Counter.REQUEST_IDS] = counters[Counter.REQUEST_IDS] + ONE


APPLIED_ALL = -1


@compiled
def apply(entries: Any, transfers: Any, accounts: Any, controls: Any, details: Any, books: Any, ids_from: Any) -> Any:
    """Repeat decided entries on the books. Returns APPLIED_ALL, or the index of the first that does not fit.

    The first four are views of the same bytes (`WORK`, `TRANSFER_WORK`, …). Ids at positions below `ids_from`
    are not entered into the window: an id run has them. Nothing is decided again; where numbering or rows
    contradict the details, the journal and this program disagree, and the caller must stop.
    """
    rows, slots, old_slots, keys, id_keys = (
        books.rows,
        books.slots,
        books.old_slots,
        books.account_keys,
        books.id_keys,
    )
    touched, counters, ids, request_ids = books.touched, books.counters, books.transfer_ids, books.request_ids
    counters[Counter.TOUCHED] = ZERO
    first_misfit = APPLIED_ALL
    for k in range(entries.shape[0]):
        entry = entries[k]
        stored = details[k]
        fits = True
        created = entry.status == CREATED_STORED
        if entry.kind == TRANSFER:
            t = transfers[k]
            if created:
                debit_row = find_account(
                    slots, old_slots, rows, keys, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi
                )
                credit_row = find_account(
                    slots, old_slots, rows, keys, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi
                )
                fits = debit_row != NO_ROW and credit_row != NO_ROW
                if fits:
                    debit, credit = rows[debit_row], rows[credit_row]
                    fits = (
                        _continues(debit, stored.debit_sequence, stored.debit_previous)
                        and _continues(credit, stored.credit_sequence, stored.credit_previous)
                        and debit_row != credit_row
                    )
                if fits:
                    post(debit, credit, t.moved_lo, t.moved_hi, t.seq, stored)
            if t.seq >= ids_from and (created or is_transient(entry.status)):
                _use_id(ids, counters, hashing.hash_id(id_keys, t.tenant, t.id_lo, t.id_hi), t.seq)
        elif entry.kind == ACCOUNT and created:
            a = accounts[k]
            fits = find_account(slots, old_slots, rows, keys, a.tenant, a.id_lo, a.id_hi) == NO_ROW
            if fits:
                row = add_account(rows, slots, counters, keys, a.tenant, a.id_lo, a.id_hi)
                fits = row != NO_ROW
                if fits:
                    fill_account(rows[row], a, a.seq, a.timestamp)
        elif entry.kind == CONTROL and created:
            c = controls[k]
            row = find_account(slots, old_slots, rows, keys, c.tenant, c.account_id_lo, c.account_id_hi)
            fits = row != NO_ROW
            if fits:
                fits = _continues(rows[row], stored.debit_sequence, stored.debit_previous)
            if fits:
                apply_control(rows[row], touched[touch(touched, counters, rows[row], row)], c, c.seq)
        if not fits:
            first_misfit = k
            break
        if entry.kind != SEAL and entry.index == 0 and entry.seq >= ids_from and not _no_request(entry):
            _note_request(request_ids, counters, id_keys, entry, entry.seq)
    forget_touched(rows, touched, counters)
    return first_misfit


@inlined
def _continues(account: Any, sequence: Any, previous: Any) -> Any:
    """Whether an entry's numbering follows the account's."""
    return account.sequence + ONE == sequence and account.previous == previous


@inlined
def _no_request(entry: Any) -> Any:
    return entry.request_id_lo == ZERO and entry.request_id_hi == ZERO
