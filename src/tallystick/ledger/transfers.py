"""Transfers that move or reserve money: the ladder of checks, and what creating one does.

Statuses in TigerBeetle's order (its reference for create_transfers); the first that applies wins. Those that resolve
a pending transfer part ways after the checks on their id (`resolving`). A plain transfer takes the short way through;
pending, balancing, closing and imported ones take `check_special`.
"""

from typing import Any

import numpy as np

from tallystick.ledger import u128
from tallystick.ledger.accounts import CREDITS_MUST_NOT_EXCEED_DEBITS, DEBITS_MUST_NOT_EXCEED_CREDITS
from tallystick.ledger.books import CLOSED, NO_ROW, Counter, number
from tallystick.ledger.compiled import ONE, U64, ZERO, inlined, outlined
from tallystick.ledger.expiry import push
from tallystick.ledger.pendings import enter
from tallystick.records.commands import Side, TransferFlag
from tallystick.records.endings import Ending
from tallystick.statuses import STORED_MASK, TRANSIENT, TransferStatus

LINKED = int(TransferFlag.LINKED)
PENDING = int(TransferFlag.PENDING)
POST = int(TransferFlag.POST_PENDING_TRANSFER)
VOID = int(TransferFlag.VOID_PENDING_TRANSFER)
RESOLVING = POST | VOID
BALANCING_DEBIT = int(TransferFlag.BALANCING_DEBIT)
BALANCING_CREDIT = int(TransferFlag.BALANCING_CREDIT)
BALANCING = BALANCING_DEBIT | BALANCING_CREDIT
CLOSING_DEBIT = int(TransferFlag.CLOSING_DEBIT)
CLOSING_CREDIT = int(TransferFlag.CLOSING_CREDIT)
CLOSING = CLOSING_DEBIT | CLOSING_CREDIT
IMPORTED = int(TransferFlag.IMPORTED)
KNOWN = LINKED | PENDING | RESOLVING | BALANCING | CLOSING | IMPORTED
SIDE_DEBITS = int(Side.DEBITS)
SIDE_CREDITS = int(Side.CREDITS)
_TRANSIENT = tuple(sorted(int(status) for status in TRANSIENT))
CREATED_STORED = int(TransferStatus.CREATED) & STORED_MASK
TIMESTAMP_MAX = U64(0x7FFFFFFFFFFFFFFF)
"""The last nanosecond that TigerBeetle's 63-bit timestamps can tell."""
NS_A_SECOND = U64(1_000_000_000)
_OPEN = np.uint8(Ending.OPEN)


@inlined
def is_transient(status: Any) -> Any:
    """Whether this refusal poisons the transfer's id."""
    for transient in _TRANSIENT:  # noqa: SIM110 - Numba knows no generator expressions here
        if status == transient:
            return True
    return False


@inlined
def check_fields(t: Any, importing: Any, first_timestamp: Any) -> Any:
    """What the transfer alone tells, up to its id; CREATED if nothing speaks against it.

    `importing` is what the first event of its request said, `first_timestamp` when that one was decided, ns.
    """
    if t.flag_bits & IMPORTED == 0:
        if importing:
            return TransferStatus.IMPORTED_EVENT_EXPECTED
        if t.timestamp != ZERO:
            return TransferStatus.TIMESTAMP_MUST_BE_ZERO
    else:
        if not importing:
            return TransferStatus.IMPORTED_EVENT_NOT_EXPECTED
        if t.timestamp == ZERO or t.timestamp > TIMESTAMP_MAX:
            return TransferStatus.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE
        if t.timestamp >= first_timestamp:
            return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE
    if t.flag_bits | KNOWN != KNOWN:
        return TransferStatus.RESERVED_FLAG
    if u128.is_zero(t.id_lo, t.id_hi):
        return TransferStatus.ID_MUST_NOT_BE_ZERO
    if u128.is_max(t.id_lo, t.id_hi):
        return TransferStatus.ID_MUST_NOT_BE_INT_MAX
    return TransferStatus.CREATED


@outlined
def check_existing(t: Any, there: Any) -> Any:
    """The status where an entry `there` has this transfer's id already: a created transfer, or a poisoned id.

    For transfers that resolve nothing, and up to `pending_id` and time-out for those that do
    (`resolving.check_existing_resolving` goes on from there).
    """
    if there.status != CREATED_STORED:
        return TransferStatus.ID_ALREADY_FAILED
    if t.flag_bits != there.flag_bits:
        return TransferStatus.EXISTS_WITH_DIFFERENT_FLAGS
    if t.pending_id_lo != there.pending_id_lo or t.pending_id_hi != there.pending_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_PENDING_ID
    if t.timeout != there.timeout:
        return TransferStatus.EXISTS_WITH_DIFFERENT_TIMEOUT
    if t.flag_bits & RESOLVING != 0:
        return TransferStatus.EXISTS
    if t.debit_account_id_lo != there.debit_account_id_lo or t.debit_account_id_hi != there.debit_account_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if t.credit_account_id_lo != there.credit_account_id_lo or t.credit_account_id_hi != there.credit_account_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    if t.flag_bits & BALANCING != 0:  # asked for as much as there is, so any amount that allows what moved is the same
        if u128.less(t.amount_lo, t.amount_hi, there.moved_lo, there.moved_hi):
            return TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
    elif t.amount_lo != there.amount_lo or t.amount_hi != there.amount_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
    if t.user_data_128_lo != there.user_data_128_lo or t.user_data_128_hi != there.user_data_128_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if t.user_data_64 != there.user_data_64:
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if t.user_data_32 != there.user_data_32:
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if t.ledger != there.ledger:
        return TransferStatus.EXISTS_WITH_DIFFERENT_LEDGER
    if t.code != there.code:
        return TransferStatus.EXISTS_WITH_DIFFERENT_CODE
    return TransferStatus.EXISTS


@inlined
def check_shape(t: Any) -> Any:
    """What the transfer alone tells once its id is known to be new; CREATED if nothing speaks against it."""
    if u128.is_zero(t.debit_account_id_lo, t.debit_account_id_hi):
        return TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if u128.is_max(t.debit_account_id_lo, t.debit_account_id_hi):
        return TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if u128.is_zero(t.credit_account_id_lo, t.credit_account_id_hi):
        return TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if u128.is_max(t.credit_account_id_lo, t.credit_account_id_hi):
        return TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if t.debit_account_id_lo == t.credit_account_id_lo and t.debit_account_id_hi == t.credit_account_id_hi:
        return TransferStatus.ACCOUNTS_MUST_BE_DIFFERENT
    if not u128.is_zero(t.pending_id_lo, t.pending_id_hi):
        return TransferStatus.PENDING_ID_MUST_BE_ZERO
    if t.flag_bits & PENDING == 0:
        if t.timeout != 0:
            return TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if t.flag_bits & CLOSING != 0:
            return TransferStatus.CLOSING_TRANSFER_MUST_BE_PENDING
    if t.ledger == 0:
        return TransferStatus.LEDGER_MUST_NOT_BE_ZERO
    if t.code == 0:
        return TransferStatus.CODE_MUST_NOT_BE_ZERO
    return TransferStatus.CREATED


@inlined
def check_sides(t: Any, rows: Any, debit_row: Any, credit_row: Any) -> Any:
    """Whether both accounts are there, and in the transfer's ledger."""
    if debit_row == NO_ROW:
        return TransferStatus.DEBIT_ACCOUNT_NOT_FOUND
    if credit_row == NO_ROW:
        return TransferStatus.CREDIT_ACCOUNT_NOT_FOUND
    if rows[debit_row].ledger != rows[credit_row].ledger:
        return TransferStatus.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
    if t.ledger != rows[debit_row].ledger:
        return TransferStatus.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
    return TransferStatus.CREATED


@inlined
def check_open(debit: Any, credit: Any) -> Any:
    """Whether both accounts let money move: neither closed nor, on its side, frozen."""
    if debit.flag_bits & CLOSED != 0:
        return TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED
    if credit.flag_bits & CLOSED != 0:
        return TransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED
    if debit.frozen & SIDE_DEBITS != 0:
        return TransferStatus.DEBIT_ACCOUNT_FROZEN
    if credit.frozen & SIDE_CREDITS != 0:
        return TransferStatus.CREDIT_ACCOUNT_FROZEN
    return TransferStatus.CREATED


@inlined
def check_plain(t: Any, debit: Any, credit: Any) -> Any:
    """What the accounts of a plain transfer tell: open, not frozen, room for the amount, within their limits."""
    status = check_open(debit, credit)
    if status == TransferStatus.CREATED:
        status = check_room(t.amount_lo, t.amount_hi, debit, credit)
    if status == TransferStatus.CREATED:
        status = check_limits(t.amount_lo, t.amount_hi, debit, credit)
    return status


@inlined
def check_room(amount_lo: Any, amount_hi: Any, debit: Any, credit: Any) -> Any:
    """Whether 128 bits hold the sums: posted, and posted and pending together."""
    debits_lo, debits_hi, over = u128.add(debit.debits_posted_lo, debit.debits_posted_hi, amount_lo, amount_hi)
    if over:
        return TransferStatus.OVERFLOWS_DEBITS_POSTED
    credits_lo, credits_hi, over = u128.add(credit.credits_posted_lo, credit.credits_posted_hi, amount_lo, amount_hi)
    if over:
        return TransferStatus.OVERFLOWS_CREDITS_POSTED
    debits_lo, debits_hi, over = u128.add(debits_lo, debits_hi, debit.debits_pending_lo, debit.debits_pending_hi)
    if over:
        return TransferStatus.OVERFLOWS_DEBITS
    credits_lo, credits_hi, over = u128.add(
        credits_lo, credits_hi, credit.credits_pending_lo, credit.credits_pending_hi
    )
    if over:
        return TransferStatus.OVERFLOWS_CREDITS
    return TransferStatus.CREATED


@inlined
def check_limits(amount_lo: Any, amount_hi: Any, debit: Any, credit: Any) -> Any:
    """Whether the accounts' limits allow the amount. The sums do not overflow: `check_room`."""
    if debit.flag_bits & DEBITS_MUST_NOT_EXCEED_CREDITS != 0:
        lo, hi = _sum_of_three(
            debit.debits_posted_lo,
            debit.debits_posted_hi,
            debit.debits_pending_lo,
            debit.debits_pending_hi,
            amount_lo,
            amount_hi,
        )
        may_lo, may_hi = u128.add_saturated(
            debit.credits_posted_lo, debit.credits_posted_hi, debit.credit_limit_lo, debit.credit_limit_hi
        )
        if u128.less(may_lo, may_hi, lo, hi):
            return TransferStatus.EXCEEDS_CREDITS
    if credit.flag_bits & CREDITS_MUST_NOT_EXCEED_DEBITS != 0:
        lo, hi = _sum_of_three(
            credit.credits_posted_lo,
            credit.credits_posted_hi,
            credit.credits_pending_lo,
            credit.credits_pending_hi,
            amount_lo,
            amount_hi,
        )
        if u128.less(credit.debits_posted_lo, credit.debits_posted_hi, lo, hi):
            return TransferStatus.EXCEEDS_DEBITS
    return TransferStatus.CREATED


@inlined
def _sum_of_three(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any, c_lo: Any, c_hi: Any) -> Any:
    lo, hi, _ = u128.add(a_lo, a_hi, b_lo, b_hi)
    lo, hi, _ = u128.add(lo, hi, c_lo, c_hi)
    return lo, hi


@outlined
def check_special(
    t: Any, flag_bits: Any, timeout: Any, debit: Any, credit: Any, timestamp: Any, last_transfer: Any, clashes: Any
) -> Any:
    """(status, amount) of a pending, balancing, closing or imported transfer, its accounts found.

    `flag_bits` and `timeout` are those to act on. `last_transfer` is the tenant's highest timestamp of a transfer,
    `clashes` whether one of its accounts has this import's timestamp.
    """
    amount_lo, amount_hi = t.amount_lo, t.amount_hi
    status = TransferStatus.CREATED
    if flag_bits & IMPORTED != 0:
        status = _check_import(t, timeout, debit, credit, last_transfer, clashes)
    if status == TransferStatus.CREATED:
        status = check_open(debit, credit)
    if status != TransferStatus.CREATED:
        return status, amount_lo, amount_hi
    # Balancing looks at what is posted and pending, and never draws on a credit limit.
    if flag_bits & BALANCING_DEBIT != 0:
        lo, hi, _ = u128.add(
            debit.debits_posted_lo, debit.debits_posted_hi, debit.debits_pending_lo, debit.debits_pending_hi
        )
        lo, hi = u128.subtract_saturated(debit.credits_posted_lo, debit.credits_posted_hi, lo, hi)
        amount_lo, amount_hi = u128.smaller(amount_lo, amount_hi, lo, hi)
    if flag_bits & BALANCING_CREDIT != 0:
        lo, hi, _ = u128.add(
            credit.credits_posted_lo, credit.credits_posted_hi, credit.credits_pending_lo, credit.credits_pending_hi
        )
        lo, hi = u128.subtract_saturated(credit.debits_posted_lo, credit.debits_posted_hi, lo, hi)
        amount_lo, amount_hi = u128.smaller(amount_lo, amount_hi, lo, hi)
    if flag_bits & PENDING != 0:
        _, _, over = u128.add(debit.debits_pending_lo, debit.debits_pending_hi, amount_lo, amount_hi)
        if over:
            return TransferStatus.OVERFLOWS_DEBITS_PENDING, amount_lo, amount_hi
        _, _, over = u128.add(credit.credits_pending_lo, credit.credits_pending_hi, amount_lo, amount_hi)
        if over:
            return TransferStatus.OVERFLOWS_CREDITS_PENDING, amount_lo, amount_hi
    status = check_room(amount_lo, amount_hi, debit, credit)
    if status == TransferStatus.CREATED and timeout != 0:
        expires_at = timestamp + U64(timeout) * NS_A_SECOND
        if expires_at > TIMESTAMP_MAX or expires_at < timestamp:
            status = TransferStatus.OVERFLOWS_TIMEOUT
    if status == TransferStatus.CREATED:
        status = check_limits(amount_lo, amount_hi, debit, credit)
    return status, amount_lo, amount_hi


@inlined
def _check_import(t: Any, timeout: Any, debit: Any, credit: Any, last_transfer: Any, clashes: Any) -> Any:
    if t.timestamp <= last_transfer or clashes:
        return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    if t.timestamp <= debit.created_at:
        return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT
    if t.timestamp <= credit.created_at:
        return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT
    if timeout != 0:
        return TransferStatus.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO
    return TransferStatus.CREATED


@inlined
def post(debit: Any, credit: Any, amount_lo: Any, amount_hi: Any, seq: Any, details: Any) -> Any:
    """Move the amount and number the entry on both sides. The caller has checked that it fits."""
    lo, hi, _ = u128.add(debit.debits_posted_lo, debit.debits_posted_hi, amount_lo, amount_hi)
    debit.debits_posted_lo = lo
    debit.debits_posted_hi = hi
    lo, hi, _ = u128.add(credit.credits_posted_lo, credit.credits_posted_hi, amount_lo, amount_hi)
    credit.credits_posted_lo = lo
    credit.credits_posted_hi = hi
    number_both(debit, credit, seq, details)


@inlined
def number_both(debit: Any, credit: Any, seq: Any, details: Any) -> Any:
    """Number the entry in both accounts."""
    details.debit_sequence, details.debit_previous = number(debit, seq)
    details.credit_sequence, details.credit_previous = number(credit, seq)


@inlined
def reserve(debit: Any, credit: Any, flag_bits: Any, amount_lo: Any, amount_hi: Any, seq: Any, details: Any) -> Any:
    """What a pending transfer does to its accounts: amounts pending, and closed where it is a closing one."""
    lo, hi, _ = u128.add(debit.debits_pending_lo, debit.debits_pending_hi, amount_lo, amount_hi)
    debit.debits_pending_lo = lo
    debit.debits_pending_hi = hi
    lo, hi, _ = u128.add(credit.credits_pending_lo, credit.credits_pending_hi, amount_lo, amount_hi)
    credit.credits_pending_lo = lo
    credit.credits_pending_hi = hi
    if flag_bits & CLOSING_DEBIT != 0:
        debit.flag_bits = debit.flag_bits | CLOSED
    if flag_bits & CLOSING_CREDIT != 0:
        credit.flag_bits = credit.flag_bits | CLOSED
    number_both(debit, credit, seq, details)


@inlined
def open_pending(
    pendings: Any,
    pending_slots: Any,
    pending_free: Any,
    heap: Any,
    heap_at: Any,
    counters: Any,
    hashed: Any,
    t: Any,
    amount_lo: Any,
    amount_hi: Any,
    flag_bits: Any,
    timeout: Any,
    review: Any,
    debit_row: Any,
    credit_row: Any,
    seq: Any,
    timestamp: Any,
) -> Any:
    """A row for pending transfer `t`; NO_ROW if the books are full."""
    free = counters[Counter.PENDINGS_FREE]
    used = counters[Counter.PENDINGS]
    if free > ZERO:
        row = np.int64(pending_free[free - ONE])
        counters[Counter.PENDINGS_FREE] = free - ONE
    elif used < U64(pendings.shape[0]):
        row = np.int64(used)
        counters[Counter.PENDINGS] = used + ONE
    else:
        return NO_ROW
    pending = pendings[row]
    pending.id_lo = t.id_lo
    pending.id_hi = t.id_hi
    pending.tenant = t.tenant
    pending.amount_lo = amount_lo
    pending.amount_hi = amount_hi
    pending.user_data_128_lo = t.user_data_128_lo
    pending.user_data_128_hi = t.user_data_128_hi
    pending.user_data_64 = t.user_data_64
    pending.user_data_32 = t.user_data_32
    pending.expires_at = ZERO
    pending.created_at = timestamp
    pending.seq = seq
    pending.debit_row = np.uint32(debit_row)
    pending.credit_row = np.uint32(credit_row)
    pending.timeout = timeout
    pending.ledger = t.ledger
    pending.code = t.code
    pending.flag_bits = flag_bits
    pending.ending = _OPEN
    pending.review = review
    enter(pending_slots, hashed, row)
    if timeout != 0:
        pending.expires_at = timestamp + U64(timeout) * NS_A_SECOND
        push(heap, heap_at, counters, pending, row)
    return row
