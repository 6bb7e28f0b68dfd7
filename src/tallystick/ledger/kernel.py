"""The one pass over a block that decides everything: `decide`; and `apply`, which repeats what was decided.

    expiry.take_due ─► look_up ─► decide ─► outcome (entries, details, results)        invariants.check

`look_up` finds rows and hashes for all commands first, so that cache misses overlap instead of queueing up inside
`decide`. What only the journal knows (an id used long ago, how a pending transfer ended) is fetched between the two
(`engine.fetch`). A block holds expiries first, then commands, in order.
"""

from typing import Any

import numpy as np

from tallystick.ledger import chains, hashing, resolving, windows
from tallystick.ledger.accounts import (
    APPROVE,
    apply_control,
    check_account,
    check_control,
    fill_account,
)
from tallystick.ledger.batches import Batch
from tallystick.ledger.books import (
    NO_ROW,
    Books,
    Counter,
    add_account,
    add_tenant,
    find_account,
    find_tenant,
    note_id,
    note_request,
    remove_tenant,
    touch,
)
from tallystick.ledger.compiled import U64, ZERO, compiled, inlined, outlined
from tallystick.ledger.imports import ACCOUNT_IMPORTED, clashes_in_block, hash_import, is_import
from tallystick.ledger.pendings import Review, find_pending
from tallystick.ledger.replaying import APPLIED_ALL as APPLIED_ALL
from tallystick.ledger.replaying import apply as apply
from tallystick.ledger.transfers import (
    CREATED_STORED,
    IMPORTED,
    LINKED,
    PENDING,
    POST,
    RESOLVING,
    check_existing,
    check_fields,
    check_plain,
    check_shape,
    check_sides,
    check_special,
    is_transient,
    open_pending,
    post,
    reserve,
)
from tallystick.records.commands import ControlFlag, Kind
from tallystick.records.details import NO_POSITION, Verdict
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.endings import Ending
from tallystick.records.entries import LENGTH_BYTESWAPPED
from tallystick.records.entries import VERSION as ENTRY_VERSION
from tallystick.statuses import STORED_MASK, AccountStatus, ControlStatus, TransferStatus

TRANSFER = int(Kind.TRANSFER)
ACCOUNT = int(Kind.ACCOUNT)
CONTROL = int(Kind.CONTROL)
SEAL = int(Kind.SEAL)
EXPIRY = int(Kind.EXPIRY)
CREATED = int(TransferStatus.CREATED)  # the same number for accounts, and for controls that were applied
TRANSFER_EXISTS = int(TransferStatus.EXISTS)
ACCOUNT_EXISTS = int(AccountStatus.EXISTS)
ACCOUNT_NOT_FOUND = int(ControlStatus.ACCOUNT_NOT_FOUND)
TOO_MANY_ACCOUNTS = int(AccountStatus.TOO_MANY_ACCOUNTS)
TOO_MANY_PENDING_TRANSFERS = int(TransferStatus.TOO_MANY_PENDING_TRANSFERS)
PENDING_TRANSFER_NOT_FOUND = int(TransferStatus.PENDING_TRANSFER_NOT_FOUND)
PENDING_TRANSFER_NOT_PENDING = int(TransferStatus.PENDING_TRANSFER_NOT_PENDING)
REFUSED_BY_SCREENING = int(TransferStatus.REFUSED_BY_SCREENING)
LINKED_EVENT_FAILED = int(TransferStatus.LINKED_EVENT_FAILED)  # the same numbers for accounts and controls
LINKED_EVENT_CHAIN_OPEN = int(TransferStatus.LINKED_EVENT_CHAIN_OPEN)
REQUEST_EXPIRED = int(TransferStatus.REQUEST_EXPIRED)
QUARANTINED = int(TransferStatus.QUARANTINED)
CONTROL_LINKED = int(ControlFlag.LINKED)
assert CONTROL_LINKED == LINKED
NOT_FETCHED = -1
NAMES_PENDINGS_GONE = 1
NAMES_IMPORTS = 2
"""What `look_up` says of a batch: some command is about a pending transfer that is not open, or imports something."""
NO_CHAIN = -1
NO_PREVIOUS = U64(NO_POSITION)
REVIEW = int(Verdict.REVIEW)
REFUSE = int(Verdict.REFUSE)
OF_PLAIN = np.uint8(Review.OF_PLAIN)
OF_PENDING = np.uint8(Review.OF_PENDING)
NO_REVIEW = np.uint8(Review.NONE)
POSTED = int(Ending.POSTED)
VOIDED = int(Ending.VOIDED)
EXPIRED = int(Ending.EXPIRED)
_ENTRY_EXPIRY = np.uint8(Kind.EXPIRY)
_STORED_CREATED = np.uint16(CREATED_STORED)
_VERDICT_REVIEW = np.uint8(Verdict.REVIEW)


def look_up(batch: Batch, books: Books) -> int:
    """Fill the batch's ids, hashes and `rows`: what each command names, as it stands before the block.

    Returns NAMES_PENDINGS_GONE and NAMES_IMPORTS, as bits, where they are true.
    """
    # Whole, the two would cost three times as much to hand over as the arrays that are used.
    said = _look_up(
        batch.commands,
        batch.transfers,
        batch.accounts,
        batch.controls,
        batch.ids_lo,
        batch.ids_hi,
        batch.is_transfer,
        batch.hashes,
        batch.rows,
        batch.pending_ids_lo,
        batch.pending_ids_hi,
        batch.pending_hashes,
        batch.import_hashes,
        books.rows,
        books.slots,
        books.old_slots,
        books.account_keys,
        books.id_keys,
        books.pendings,
        books.pending_slots,
    )
    return int(said)


@compiled
def _look_up(
    commands: Any,
    transfers: Any,
    accounts: Any,
    controls: Any,
    ids_lo: Any,
    ids_hi: Any,
    is_transfer: Any,
    hashes: Any,
    found: Any,
    pending_lo: Any,
    pending_hi: Any,
    pending_hashes: Any,
    import_hashes: Any,
    rows: Any,
    slots: Any,
    old_slots: Any,
    keys: Any,
    id_keys: Any,
    pendings: Any,
    pending_slots: Any,
) -> Any:
    said = 0
    for k in range(commands.shape[0]):
        kind = commands[k].kind
        tenant = commands[k].tenant
        ids_lo[k] = ZERO
        ids_hi[k] = ZERO
        hashes[k] = ZERO
        pending_hashes[k] = ZERO
        import_hashes[k] = ZERO
        is_transfer[k] = kind == TRANSFER
        found[k, 1] = NO_ROW
        found[k, 2] = NO_ROW
        if kind == TRANSFER:
            t = transfers[k]
            ids_lo[k] = t.id_lo
            ids_hi[k] = t.id_hi
            hashes[k] = hashing.hash_id(id_keys, tenant, t.id_lo, t.id_hi)
            if t.flag_bits & RESOLVING != 0:
                pending_lo[k] = t.pending_id_lo
                pending_hi[k] = t.pending_id_hi
                pending_hashes[k] = hashing.hash_id(id_keys, tenant, t.pending_id_lo, t.pending_id_hi)
                found[k, 0] = NO_ROW
            else:
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
            if c.opcode >= APPROVE:
                pending_lo[k] = c.value_lo
                pending_hi[k] = c.value_hi
                pending_hashes[k] = hashing.hash_id(id_keys, tenant, c.value_lo, c.value_hi)
                found[k, 0] = NO_ROW
            else:
                found[k, 0] = find_account(slots, old_slots, rows, keys, tenant, c.account_id_lo, c.account_id_hi)
        if pending_hashes[k] != ZERO:
            found[k, 2] = find_pending(pending_slots, pendings, pending_hashes[k], tenant, pending_lo[k], pending_hi[k])
            if found[k, 2] == NO_ROW:
                said |= NAMES_PENDINGS_GONE
        # Where transfers have their flags and time, accounts have theirs.
        if is_import(kind, transfers[k].flag_bits, TRANSFER, ACCOUNT):
            import_hashes[k] = hash_import(id_keys, tenant, transfers[k].timestamp)
            said |= NAMES_IMPORTS
    return said


@compiled
def decide(batch: Any, books: Any, outcome: Any, first_seq: Any, now: Any, shard: Any) -> Any:
    """Expire what `take_due` found, then decide every command in order, on the books, into `outcome`.

    Entry k of the block gets seq `first_seq + k` and timestamp `now + k`. `first_seq` and `now` (ns) are uint64,
    `shard` uint16. A crash inside leaves the books changed: the process must end and start again from the journal.
    """
    commands, transfers, accounts, controls = batch.commands, batch.transfers, batch.accounts, batch.controls
    hashes, found, quarantined, verdicts = batch.hashes, batch.rows, batch.quarantined, batch.verdicts
    fetched, fetched_at, review_timeout = batch.fetched, batch.fetched_at, batch.review_timeout
    pending_lo, pending_hi, pending_hashes = batch.pending_ids_lo, batch.pending_ids_hi, batch.pending_hashes
    pending_at, pending_endings = batch.pending_at, batch.pending_endings
    import_hashes, clashes = batch.import_hashes, batch.clashes
    rows, slots, old_slots, keys = books.rows, books.slots, books.old_slots, books.account_keys
    touched, counters, ids = books.touched, books.counters, books.transfer_ids
    request_ids, id_keys = books.request_ids, books.id_keys
    pendings, pending_slots, pending_free = books.pendings, books.pending_slots, books.pending_free
    heap, heap_at, resolved = books.heap, books.heap_at, books.resolved
    tenants, tenant_slots = books.tenants, books.tenant_slots
    saved_rows, saved_pendings = books.saved_rows, books.saved_pendings
    entries, decided, details, results, moved_rows = (
        outcome.entries,
        outcome.transfers,
        outcome.details,
        outcome.results,
        outcome.rows,
    )
    counters[Counter.TOUCHED] = ZERO
    expired = entries.shape[0] - 1 - commands.shape[0]
    for place in range(expired):
        _expire(
            decided[place],
            details[place],
            pendings,
            rows,
            touched,
            counters,
            resolved[place],
            first_seq + U64(place),
            now + U64(place),
            shard,
        )
        moved_rows[place, 0] = np.int64(pendings[resolved[place]].debit_row)
        moved_rows[place, 1] = np.int64(pendings[resolved[place]].credit_row)
        moved_rows[place, 2] = resolved[place]
    # Accounts opened and payments reserved in this very block were not found by `look_up`: from the first one on,
    # look again.
    opened = False
    reserved = False
    screened = _any_verdict(verdicts)
    importing = False
    first_timestamp = now
    tenant, tenant_row = ZERO, NO_ROW
    chain, broken, review_mode = NO_CHAIN, False, chains.NO_REVIEW_MODE
    saved_account, saved_transfer, saved_tenants = ZERO, ZERO, ZERO
    for k in range(commands.shape[0]):
        command = commands[k]
        at = expired + k
        entry = entries[at]
        result = results[k]
        d = details[at]
        seq = first_seq + U64(at)
        timestamp = now + U64(at)
        _write_entry(entry, d, command, seq, timestamp, shard)
        d.verdict = verdicts[k]
        result.timestamp = timestamp
        flag_bits = controls[k].flag_bits if command.kind == CONTROL else transfers[k].flag_bits
        if command.index == 0:
            first_timestamp = timestamp
            importing = is_import(command.kind, flag_bits, TRANSFER, ACCOUNT)
            if command.tenant != tenant or tenant_row == NO_ROW:
                tenant = command.tenant
                tenant_row = find_tenant(tenant_slots, tenants, keys, tenant)
        is_last = command.index + 1 >= command.count
        if flag_bits & LINKED != 0 and chain == NO_CHAIN:
            chain, broken = k, False
            saved_tenants = counters[Counter.TENANTS]
            if tenant_row != NO_ROW:
                saved_account, saved_transfer = tenants[tenant_row].last_account, tenants[tenant_row].last_transfer
        if screened and chain in (NO_CHAIN, k):
            review_mode = chains.review_mode(commands, transfers, verdicts, k, REVIEW, TRANSFER)
        status = CREATED
        if command.expires_at != ZERO and now > command.expires_at:
            status = REQUEST_EXPIRED
        elif quarantined[k] != 0:
            status = QUARANTINED
        elif flag_bits & LINKED != 0 and is_last:
            status = LINKED_EVENT_CHAIN_OPEN
        elif broken:
            status = LINKED_EVENT_FAILED
        elif command.kind == TRANSFER:
            t = transfers[k]
            status = check_fields(t, importing, first_timestamp)
            pending_row = found[k, 2]
            if reserved and pending_row == NO_ROW and pending_hashes[k] != ZERO:
                pending_row = find_pending(
                    pending_slots, pendings, pending_hashes[k], t.tenant, pending_lo[k], pending_hi[k]
                )
            if status == CREATED:
                fetched_here = fetched_at[k]
                if fetched_here != NOT_FETCHED:
                    status = _repeat(t, fetched[fetched_here], result, d)
                    if status == TRANSFER_EXISTS and t.flag_bits & RESOLVING != 0:
                        # What it resolved ended in an earlier block: its entry was fetched for that.
                        status = resolving.exists_beside_entry(t, fetched[fetched_here], fetched[pending_at[k]])
                else:
                    earlier = _find_in_block(ids, hashes[k], decided, t.tenant, t.id_lo, t.id_hi, first_seq)
                    if earlier != NOT_FETCHED:
                        status = _repeat(t, decided[earlier], result, d)
                        if status == TRANSFER_EXISTS and t.flag_bits & RESOLVING != 0:
                            pending = pendings[pending_row]
                            status = resolving.exists_beside_row(
                                t, decided[earlier], pending, rows[pending.debit_row], rows[pending.credit_row]
                            )
                if status != CREATED and status != TRANSFER_EXISTS:
                    result.timestamp = timestamp
            when = timestamp
            if t.flag_bits & IMPORTED != 0:
                when = t.timestamp
            if status == CREATED and t.flag_bits & RESOLVING != 0:
                status = resolving.check_resolving(t)
                if status == CREATED:
                    if pending_row != NO_ROW:
                        pending = pendings[pending_row]
                        debit_row, credit_row = np.int64(pending.debit_row), np.int64(pending.credit_row)
                        debit, credit = rows[debit_row], rows[credit_row]
                        clash = clashes[k] != 0
                        if import_hashes[k] != ZERO and not clash:
                            clash = clashes_in_block(
                                ids,
                                import_hashes[k],
                                decided,
                                t.tenant,
                                when,
                                ACCOUNT,
                                ACCOUNT_IMPORTED,
                                seq,
                                first_seq,
                            )
                        status, amount_lo, amount_hi = resolving.check_post_or_void(
                            t, pending, debit, credit, timestamp, tenants[tenant_row].last_transfer, clash
                        )
                        if status == CREATED and t.flag_bits & POST != 0 and verdicts[k] != 0:
                            status = REFUSED_BY_SCREENING  # a post is allowed or refused, never put into review
                        if status == CREATED:
                            of_debit = touched[touch(touched, counters, debit, debit_row)]
                            of_credit = touched[touch(touched, counters, credit, credit_row)]
                            if chain != NO_CHAIN:
                                saved_rows[2 * (k - chain)] = debit
                                saved_rows[2 * (k - chain) + 1] = credit
                                saved_pendings[k - chain] = pending
                            posts = t.flag_bits & POST != 0
                            resolving.resolve(
                                debit, credit, of_debit, of_credit, pending, posts, amount_lo, amount_hi, seq, d
                            )
                            resolving.end(
                                heap,
                                heap_at,
                                counters,
                                resolved,
                                pending,
                                pending_row,
                                POSTED if posts else VOIDED,
                            )
                            entry.moved_lo = amount_lo
                            entry.moved_hi = amount_hi
                            entry.flag_bits_effective = t.flag_bits
                            moved_rows[at, 0] = debit_row
                            moved_rows[at, 1] = credit_row
                            moved_rows[at, 2] = pending_row
                            tenants[tenant_row].last_transfer = when
                            result.timestamp = when
                            note_id(ids, counters, hashes[k], seq)
                            if import_hashes[k] != ZERO:
                                note_id(ids, counters, import_hashes[k], seq)
                    elif pending_at[k] != NOT_FETCHED:
                        status = resolving.check_ended(t, fetched[pending_at[k]], pending_endings[k])
                    else:
                        status = _not_in_books(
                            ids, pending_hashes[k], decided, t.tenant, pending_lo[k], pending_hi[k], first_seq
                        )
            elif status == CREATED:
                status = check_shape(t)
                debit_row, credit_row = found[k, 0], found[k, 1]
                if status == CREATED:
                    if opened and debit_row == NO_ROW:
                        debit_row = find_account(
                            slots, old_slots, rows, keys, t.tenant, t.debit_account_id_lo, t.debit_account_id_hi
                        )
                    if opened and credit_row == NO_ROW:
                        credit_row = find_account(
                            slots, old_slots, rows, keys, t.tenant, t.credit_account_id_lo, t.credit_account_id_hi
                        )
                    status = check_sides(t, rows, debit_row, credit_row)
                if status == CREATED:
                    debit, credit = rows[debit_row], rows[credit_row]
                    amount_lo, amount_hi = t.amount_lo, t.amount_hi
                    effective, timeout, review = t.flag_bits, t.timeout, NO_REVIEW
                    if review_mode == chains.INTO_PENDING and verdicts[k] != REFUSE:
                        review = OF_PENDING
                        if effective & PENDING == 0:
                            effective = np.uint16(effective | PENDING)
                            timeout = review_timeout[0]
                            review = OF_PLAIN
                        d.verdict = _VERDICT_REVIEW
                    if effective | LINKED == LINKED:
                        status = check_plain(t, debit, credit)
                    else:
                        clash = clashes[k] != 0
                        if import_hashes[k] != ZERO and not clash:
                            clash = clashes_in_block(
                                ids,
                                import_hashes[k],
                                decided,
                                t.tenant,
                                when,
                                ACCOUNT,
                                ACCOUNT_IMPORTED,
                                seq,
                                first_seq,
                            )
                        status, amount_lo, amount_hi = check_special(
                            t, effective, timeout, debit, credit, timestamp, tenants[tenant_row].last_transfer, clash
                        )
                    refused = verdicts[k] == REFUSE or (verdicts[k] != 0 and review_mode == chains.INTO_REFUSAL)
                    if status == CREATED and refused:
                        status = REFUSED_BY_SCREENING
                    if status == CREATED and effective & PENDING != 0:
                        pending_row = open_pending(
                            pendings,
                            pending_slots,
                            pending_free,
                            heap,
                            heap_at,
                            counters,
                            hashes[k],
                            t,
                            amount_lo,
                            amount_hi,
                            effective,
                            timeout,
                            review,
                            debit_row,
                            credit_row,
                            seq,
                            timestamp,
                        )
                        if pending_row == NO_ROW:
                            status = TOO_MANY_PENDING_TRANSFERS
                        else:
                            reserved = True
                            moved_rows[at, 2] = pending_row
                    if status == CREATED:
                        touch(touched, counters, debit, debit_row)
                        touch(touched, counters, credit, credit_row)
                        if chain != NO_CHAIN:
                            saved_rows[2 * (k - chain)] = debit
                            saved_rows[2 * (k - chain) + 1] = credit
                        if effective & PENDING != 0:
                            reserve(debit, credit, effective, amount_lo, amount_hi, seq, d)
                        else:
                            post(debit, credit, amount_lo, amount_hi, seq, d)
                        entry.moved_lo = amount_lo
                        entry.moved_hi = amount_hi
                        entry.flag_bits_effective = effective
                        entry.timeout_effective = timeout
                        moved_rows[at, 0] = debit_row
                        moved_rows[at, 1] = credit_row
                        tenants[tenant_row].last_transfer = when
                        result.timestamp = when
                        note_id(ids, counters, hashes[k], seq)
                        if import_hashes[k] != ZERO:
                            note_id(ids, counters, import_hashes[k], seq)
        elif command.kind == ACCOUNT:
            a = accounts[k]
            row = found[k, 0]
            if opened and row == NO_ROW:
                row = find_account(slots, old_slots, rows, keys, a.tenant, a.id_lo, a.id_hi)
            last_account, clash = ZERO, clashes[k] != 0
            if import_hashes[k] != ZERO:
                if tenant_row != NO_ROW:
                    last_account = tenants[tenant_row].last_account
                if not clash:
                    clash = clashes_in_block(
                        ids, import_hashes[k], decided, a.tenant, a.timestamp, TRANSFER, IMPORTED, seq, first_seq
                    )
            status = check_account(a, row, rows, importing, first_timestamp, last_account, clash)
            if status == CREATED:
                row = add_account(rows, slots, counters, keys, a.tenant, a.id_lo, a.id_hi)
                if row == NO_ROW:
                    status = TOO_MANY_ACCOUNTS
                else:
                    opened = True
                    touch(touched, counters, rows[row], row)
                    if chain != NO_CHAIN:
                        saved_rows[2 * (k - chain)] = rows[row]
                    when = timestamp
                    if import_hashes[k] != ZERO:
                        when = a.timestamp
                        note_id(ids, counters, import_hashes[k], seq)
                    fill_account(rows[row], a, seq, when)
                    if tenant_row == NO_ROW:
                        tenant_row = add_tenant(tenant_slots, tenants, counters, keys, a.tenant)
                    tenants[tenant_row].last_account = when
                    result.timestamp = when
                    moved_rows[at, 0] = row
                    d.debit_sequence = rows[row].sequence
                    d.debit_previous = NO_PREVIOUS
                    entry.flag_bits_effective = a.flag_bits
            elif status == ACCOUNT_EXISTS:
                d.debit_previous = rows[row].created_seq
                result.timestamp = rows[row].created_at
        else:
            c = controls[k]
            status = check_control(c)
            if status == CREATED and c.opcode >= APPROVE:
                pending_row = found[k, 2]
                if reserved and pending_row == NO_ROW:
                    pending_row = find_pending(
                        pending_slots, pendings, pending_hashes[k], c.tenant, pending_lo[k], pending_hi[k]
                    )
                if pending_row != NO_ROW:
                    pending = pendings[pending_row]
                    debit_row, credit_row = np.int64(pending.debit_row), np.int64(pending.credit_row)
                    debit, credit = rows[debit_row], rows[credit_row]
                    status = resolving.check_decision(c, pending, debit, credit, timestamp)
                    if status == CREATED:
                        touch(touched, counters, debit, debit_row)
                        touch(touched, counters, credit, credit_row)
                        if chain != NO_CHAIN:
                            saved_rows[2 * (k - chain)] = debit
                            saved_rows[2 * (k - chain) + 1] = credit
                            saved_pendings[k - chain] = pending
                        moved_rows[at, 0] = debit_row
                        moved_rows[at, 1] = credit_row
                        moved_rows[at, 2] = pending_row
                        entry.moved_lo, entry.moved_hi = resolving.decide_review(
                            c, pending, pending_row, rows, touched, heap, heap_at, counters, resolved, seq, d
                        )
                elif pending_at[k] != NOT_FETCHED:
                    status = resolving.check_decision_ended(fetched[pending_at[k]], pending_endings[k])
                else:
                    status = _not_in_books(
                        ids, pending_hashes[k], decided, c.tenant, pending_lo[k], pending_hi[k], first_seq
                    )
            elif status == CREATED:
                row = found[k, 0]
                if opened and row == NO_ROW:
                    row = find_account(slots, old_slots, rows, keys, c.tenant, c.account_id_lo, c.account_id_hi)
                if row == NO_ROW:
                    status = ACCOUNT_NOT_FOUND
                else:
                    d.debit_previous = rows[row].previous
                    of_account = touched[touch(touched, counters, rows[row], row)]
                    if chain != NO_CHAIN:
                        saved_rows[2 * (k - chain)] = rows[row]
                    apply_control(rows[row], of_account, c, seq)
                    moved_rows[at, 0] = row
                    d.debit_sequence = rows[row].sequence
        entry.status = np.uint16(status & STORED_MASK)
        result.status = np.uint32(status)
        if chain != NO_CHAIN:
            if status != CREATED and not broken:
                broken = True
                chains.take_back(
                    chain,
                    k,
                    expired,
                    decided,
                    details,
                    results,
                    moved_rows,
                    hashes,
                    import_hashes,
                    rows,
                    slots,
                    keys,
                    ids,
                    id_keys,
                    pendings,
                    pending_slots,
                    pending_free,
                    heap,
                    heap_at,
                    counters,
                    saved_rows,
                    saved_pendings,
                )
                if counters[Counter.TENANTS] != saved_tenants:
                    remove_tenant(tenant_slots, tenants, counters, keys)
                    tenant_row = NO_ROW
                elif tenant_row != NO_ROW:
                    tenants[tenant_row].last_account = saved_account
                    tenants[tenant_row].last_transfer = saved_transfer
            if flag_bits & LINKED == 0 or is_last:
                chain, broken = NO_CHAIN, False
        # After the chain is undone, of which it may be the member that failed: a poisoned id stays poisoned.
        if status != CREATED and command.kind == TRANSFER and is_transient(status):
            note_id(ids, counters, hashes[k], seq)
        if command.index == 0:
            note_request(request_ids, counters, id_keys, command, seq)


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


@outlined
def _expire(
    entry: Any,
    d: Any,
    pendings: Any,
    rows: Any,
    touched: Any,
    counters: Any,
    pending_row: Any,
    seq: Any,
    timestamp: Any,
    shard: Any,
) -> Any:
    """Write the expiry of one pending transfer, and do it. Everything else in its entry is zero already."""
    pending = pendings[pending_row]
    debit_row, credit_row = np.int64(pending.debit_row), np.int64(pending.credit_row)
    debit, credit = rows[debit_row], rows[credit_row]
    entry.length = LENGTH_BYTESWAPPED
    entry.kind = _ENTRY_EXPIRY
    entry.version = ENTRY_VERSION
    entry.shard = shard
    entry.status = _STORED_CREATED
    entry.seq = seq
    entry.timestamp = timestamp
    entry.tenant = pending.tenant
    entry.pending_id_lo = pending.id_lo
    entry.pending_id_hi = pending.id_hi
    entry.debit_account_id_lo = debit.id_lo
    entry.debit_account_id_hi = debit.id_hi
    entry.credit_account_id_lo = credit.id_lo
    entry.credit_account_id_hi = credit.id_hi
    entry.ledger = pending.ledger
    entry.code = pending.code
    entry.moved_lo = pending.amount_lo
    entry.moved_hi = pending.amount_hi
    d.version = DETAILS_VERSION
    of_debit = touched[touch(touched, counters, debit, debit_row)]
    of_credit = touched[touch(touched, counters, credit, credit_row)]
    resolving.resolve(debit, credit, of_debit, of_credit, pending, False, ZERO, ZERO, seq, d)
    pending.ending = np.uint8(EXPIRED)


@inlined
def _any_verdict(verdicts: Any) -> Any:
    for k in range(verdicts.shape[0]):  # noqa: SIM110 - Numba knows no generator expressions here
        if verdicts[k] != 0:
            return True
    return False


@inlined
def _find_in_block(ids: Any, hashed: Any, decided: Any, tenant: Any, lo: Any, hi: Any, first_seq: Any) -> Any:
    """The index of the entry of this block that has a transfer's id already, or NOT_FETCHED.

    Positions before this block were compared with the journal's entries when they were fetched.
    """
    position, cursor = windows.find(ids, hashed, windows.start(ids, hashed))
    while position != windows.NOT_FOUND:
        if position >= first_seq:
            index = np.int64(position - first_seq)
            there = decided[index]
            if there.id_lo == lo and there.id_hi == hi and there.tenant == tenant and there.kind == TRANSFER:
                return index
        position, cursor = windows.find(ids, hashed, cursor)
    return NOT_FETCHED


@outlined
def _not_in_books(ids: Any, hashed: Any, decided: Any, tenant: Any, lo: Any, hi: Any, first_seq: Any) -> Any:
    """The status of resolving what is no pending transfer: another transfer of this block, or nothing at all."""
    earlier = _find_in_block(ids, hashed, decided, tenant, lo, hi, first_seq)
    if earlier != NOT_FETCHED and decided[earlier].status == CREATED_STORED:
        return PENDING_TRANSFER_NOT_PENDING
    return PENDING_TRANSFER_NOT_FOUND


@inlined
def _repeat(t: Any, there: Any, result: Any, details: Any) -> Any:
    """An id met again: the details point at the entry that has it, `exists` repeats that one's timestamp."""
    status = check_existing(t, there)
    details.debit_previous = there.seq
    if status == TRANSFER_EXISTS:
        result.timestamp = there.timestamp
        if there.flag_bits & IMPORTED != 0:
            result.timestamp = there.event_timestamp
    return status
