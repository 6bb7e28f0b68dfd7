"""`apply`: decided entries repeated on the books, at start and wherever books are made again. Nothing is decided here.

Where numbering or rows contradict the details, the journal and this program disagree, and the caller must stop.
"""

from typing import Any

import numpy as np

from tallystick.ledger import hashing
from tallystick.ledger.accounts import APPROVE, apply_control, fill_account
from tallystick.ledger.books import (
    NO_ROW,
    Counter,
    add_account,
    add_tenant,
    find_account,
    find_tenant,
    forget_touched,
    note_id,
    note_request,
    touch,
)
from tallystick.ledger.compiled import ONE, ZERO, compiled, inlined, outlined
from tallystick.ledger.expiry import free_resolved
from tallystick.ledger.imports import hash_import, is_found_by_time, is_import
from tallystick.ledger.pendings import Review, find_pending
from tallystick.ledger.resolving import EXPIRED, POSTED, VOIDED, decide_review, end, resolve
from tallystick.ledger.transfers import (
    CREATED_STORED,
    PENDING,
    POST,
    RESOLVING,
    VOID,
    is_transient,
    open_pending,
    post,
    reserve,
)
from tallystick.records.commands import Kind
from tallystick.records.details import Verdict
from tallystick.records.endings import Ending

TRANSFER = int(Kind.TRANSFER)
ACCOUNT = int(Kind.ACCOUNT)
CONTROL = int(Kind.CONTROL)
SEAL = int(Kind.SEAL)
EXPIRY = int(Kind.EXPIRY)
PLACEMENT = int(Kind.PLACEMENT)
APPLIED_ALL = -1
OPEN = int(Ending.OPEN)
REVIEW = int(Verdict.REVIEW)
NO_REVIEW = np.uint8(Review.NONE)
OF_PLAIN = np.uint8(Review.OF_PLAIN)
OF_PENDING = np.uint8(Review.OF_PENDING)


@compiled
def apply(entries: Any, transfers: Any, accounts: Any, controls: Any, details: Any, books: Any, ids_from: Any) -> Any:
    """Repeat one block on the books. Returns APPLIED_ALL, or the index of the first entry that does not fit.

    The first four are views of the same bytes (`WORK`, `TRANSFER_WORK`, …), at most as many as a block has. Ids at
    positions below `ids_from` are not entered into the window: an id run has them. Afterwards `books.changed` holds
    the rows that each entry changed, and `books.resolved` the pending transfers that the block resolved.
    """
    rows, slots, old_slots, keys, id_keys = (
        books.rows,
        books.slots,
        books.old_slots,
        books.account_keys,
        books.id_keys,
    )
    touched, counters, ids, request_ids = books.touched, books.counters, books.transfer_ids, books.request_ids
    pendings, pending_slots, pending_free = books.pendings, books.pending_slots, books.pending_free
    heap, heap_at, resolved, changed = books.heap, books.heap_at, books.resolved, books.changed
    tenants, tenant_slots = books.tenants, books.tenant_slots
    counters[Counter.TOUCHED] = ZERO
    free_resolved(pendings, pending_slots, pending_free, resolved, counters, id_keys)
    tenant, tenant_row = ZERO, NO_ROW
    first_misfit = APPLIED_ALL
    for k in range(entries.shape[0]):
        entry = entries[k]
        stored = details[k]
        fits = True
        created = entry.status == CREATED_STORED
        changed[k, 0] = NO_ROW
        changed[k, 1] = NO_ROW
        changed[k, 2] = NO_ROW
        if created and (tenant_row == NO_ROW or entry.tenant != tenant):
            tenant = entry.tenant
            tenant_row = find_tenant(tenant_slots, tenants, keys, tenant)
        imported = is_import(entry.kind, transfers[k].flag_bits, TRANSFER, ACCOUNT)
        when = entry.timestamp
        if imported:
            when = transfers[k].event_timestamp
        if entry.kind == TRANSFER or entry.kind == EXPIRY:
            t = transfers[k]
            if created:
                if entry.kind == EXPIRY or t.flag_bits & RESOLVING != 0:
                    hashed = hashing.hash_id(id_keys, t.tenant, t.pending_id_lo, t.pending_id_hi)
                    pending_row = find_pending(
                        pending_slots, pendings, hashed, t.tenant, t.pending_id_lo, t.pending_id_hi
                    )
                    fits = _resolve(
                        entry.kind,
                        t,
                        stored,
                        pending_row,
                        pendings,
                        rows,
                        touched,
                        counters,
                        heap,
                        heap_at,
                        resolved,
                        changed[k],
                    )
                else:
                    debit_row = find_account(
                        slots, old_slots, rows, keys, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi
                    )
                    credit_row = find_account(
                        slots, old_slots, rows, keys, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi
                    )
                    fits = debit_row != NO_ROW and credit_row != NO_ROW and debit_row != credit_row
                    if fits:
                        debit, credit = rows[debit_row], rows[credit_row]
                        fits = _continue(debit, credit, stored)
                    if fits:
                        changed[k, 0] = debit_row
                        changed[k, 1] = credit_row
                        if t.flag_bits_effective & PENDING == 0:
                            post(debit, credit, t.moved_lo, t.moved_hi, t.seq, stored)
                        else:
                            reserve(debit, credit, t.flag_bits_effective, t.moved_lo, t.moved_hi, t.seq, stored)
                            review = NO_REVIEW
                            if stored.verdict == REVIEW:
                                review = OF_PENDING if t.flag_bits & PENDING != 0 else OF_PLAIN
                            changed[k, 2] = open_pending(
                                pendings,
                                pending_slots,
                                pending_free,
                                heap,
                                heap_at,
                                counters,
                                hashing.hash_id(id_keys, t.tenant, t.id_lo, t.id_hi),
                                t,
                                t.moved_lo,
                                t.moved_hi,
                                t.flag_bits_effective,
                                t.timeout_effective,
                                review,
                                debit_row,
                                credit_row,
                                t.seq,
                                t.timestamp,
                            )
                            fits = changed[k, 2] != NO_ROW
                if fits and entry.kind == TRANSFER:
                    tenants[tenant_row].last_transfer = when
            if entry.kind == TRANSFER and t.seq >= ids_from and (created or is_transient(entry.status)):
                note_id(ids, counters, hashing.hash_id(id_keys, t.tenant, t.id_lo, t.id_hi), t.seq)
        elif entry.kind == ACCOUNT and created:
            a = accounts[k]
            fits = find_account(slots, old_slots, rows, keys, a.tenant, a.id_lo, a.id_hi) == NO_ROW
            if fits:
                row = add_account(rows, slots, counters, keys, a.tenant, a.id_lo, a.id_hi)
                fits = row != NO_ROW
                if fits:
                    fill_account(rows[row], a, a.seq, when)
                    changed[k, 0] = row
                    if tenant_row == NO_ROW:
                        tenant_row = add_tenant(tenant_slots, tenants, counters, keys, a.tenant)
                    tenants[tenant_row].last_account = when
        elif entry.kind == CONTROL and created:
            c = controls[k]
            if c.opcode >= APPROVE:
                hashed = hashing.hash_id(id_keys, c.tenant, c.value_lo, c.value_hi)
                pending_row = find_pending(pending_slots, pendings, hashed, c.tenant, c.value_lo, c.value_hi)
                fits = pending_row != NO_ROW
                if fits:
                    fits = _may_resolve(pendings[pending_row], rows, stored)
                if fits:
                    _mark(pendings[pending_row], pending_row, rows, touched, counters, changed[k])
                    pending = pendings[pending_row]
                    decide_review(
                        c, pending, pending_row, rows, touched, heap, heap_at, counters, resolved, c.seq, stored
                    )
            else:
                row = find_account(slots, old_slots, rows, keys, c.tenant, c.account_id_lo, c.account_id_hi)
                fits = row != NO_ROW
                if fits:
                    fits = _continues(rows[row], stored.debit_sequence, stored.debit_previous)
                if fits:
                    apply_control(rows[row], touched[touch(touched, counters, rows[row], row)], c, c.seq)
                    changed[k, 0] = row
        elif entry.kind == PLACEMENT:
            if tenant_row == NO_ROW:
                tenant_row = add_tenant(tenant_slots, tenants, counters, keys, entry.tenant)
            tenants[tenant_row].home = controls[k].value_lo
        if not fits:
            first_misfit = k
            break
        by_time = is_found_by_time(entry, transfers[k].flag_bits, TRANSFER, ACCOUNT)
        if by_time and created and entry.seq >= ids_from:
            note_id(ids, counters, hash_import(id_keys, entry.tenant, when), entry.seq)
        if entry.kind != SEAL and entry.index == 0 and entry.seq >= ids_from and not _no_request(entry):
            note_request(request_ids, counters, id_keys, entry, entry.seq)
    forget_touched(rows, touched, counters)
    return first_misfit


@outlined
def _resolve(
    kind: Any,
    t: Any,
    stored: Any,
    pending_row: Any,
    pendings: Any,
    rows: Any,
    touched: Any,
    counters: Any,
    heap: Any,
    heap_at: Any,
    resolved: Any,
    changed: Any,
) -> Any:
    """Repeat a post, void or expiry; False if it does not fit."""
    if pending_row == NO_ROW:
        return False
    pending = pendings[pending_row]
    if not _may_resolve(pending, rows, stored):
        return False
    _mark(pending, pending_row, rows, touched, counters, changed)
    debit, credit = rows[pending.debit_row], rows[pending.credit_row]
    of_debit, of_credit = touched[debit.touched - ONE], touched[credit.touched - ONE]
    posts = kind == TRANSFER and t.flag_bits & POST != 0
    resolve(debit, credit, of_debit, of_credit, pending, posts, t.moved_lo, t.moved_hi, t.seq, stored)
    ending = EXPIRED
    if posts:
        ending = POSTED
    elif kind == TRANSFER and t.flag_bits & VOID != 0:
        ending = VOIDED
    end(heap, heap_at, counters, resolved, pending, pending_row, ending)
    return True


@inlined
def _may_resolve(pending: Any, rows: Any, stored: Any) -> Any:
    """Whether an entry with these details can be what resolves this pending transfer."""
    if pending.ending != OPEN or pending.seq != stored.pending_seq:
        return False
    return _continue(rows[pending.debit_row], rows[pending.credit_row], stored)


@inlined
def _mark(pending: Any, pending_row: Any, rows: Any, touched: Any, counters: Any, changed: Any) -> Any:
    """Note the rows that an entry about this pending transfer changes."""
    debit_row, credit_row = np.int64(pending.debit_row), np.int64(pending.credit_row)
    touch(touched, counters, rows[debit_row], debit_row)
    touch(touched, counters, rows[credit_row], credit_row)
    changed[0] = debit_row
    changed[1] = credit_row
    changed[2] = pending_row


@inlined
def _continue(debit: Any, credit: Any, stored: Any) -> Any:
    """Whether an entry's numbering follows that of both accounts."""
    return _continues(debit, stored.debit_sequence, stored.debit_previous) and _continues(
        credit, stored.credit_sequence, stored.credit_previous
    )


@inlined
def _continues(account: Any, sequence: Any, previous: Any) -> Any:
    """Whether an entry's numbering follows the account's."""
    return account.sequence + ONE == sequence and account.previous == previous


@inlined
def _no_request(entry: Any) -> Any:
    return entry.request_id_lo == ZERO and entry.request_id_hi == ZERO
