"""What resolves a pending transfer: a post, a void, its time, or people who approve or reject one in review.

A post or void skips what the pending transfer has passed already (accounts, limits, overflow); wrong accounts are
`pending_transfer_has_different_…`, zero fields stand for the pending transfer's values.
"""

from typing import Any

import numpy as np

from tallystick.ledger import u128
from tallystick.ledger.books import BARRED_CLOSED, CLOSED, Counter
from tallystick.ledger.compiled import ONE, U64, ZERO, inlined, outlined
from tallystick.ledger.expiry import remove
from tallystick.ledger.pendings import Review
from tallystick.ledger.transfers import (
    BALANCING,
    CLOSING,
    CLOSING_CREDIT,
    CLOSING_DEBIT,
    IMPORTED,
    PENDING,
    POST,
    RESOLVING,
    VOID,
    check_open,
    number_both,
)
from tallystick.records.commands import Opcode
from tallystick.records.endings import Ending
from tallystick.statuses import ControlStatus, TransferStatus

POSTED = int(Ending.POSTED)
VOIDED = int(Ending.VOIDED)
EXPIRED = int(Ending.EXPIRED)
NOT_IN_REVIEW = int(Review.NONE)
REVIEW_OF_PENDING = int(Review.OF_PENDING)
CREATED = int(TransferStatus.CREATED)
PENDING_TRANSFER_NOT_IN_REVIEW = int(ControlStatus.PENDING_TRANSFER_NOT_IN_REVIEW)
PENDING_TRANSFER_NOT_PENDING = int(ControlStatus.PENDING_TRANSFER_NOT_PENDING)
PENDING_TRANSFER_NOT_FOUND = int(ControlStatus.PENDING_TRANSFER_NOT_FOUND)
APPROVE = int(Opcode.APPROVE)
EXCLUDED = PENDING | BALANCING | CLOSING
NO_REVIEW = np.uint8(Review.NONE)
_OPEN_AGAIN = np.uint16(0xFFFF ^ CLOSED)
_CLOSED_NO_MORE = np.uint32(0xFFFFFFFF ^ BARRED_CLOSED)


@inlined
def check_resolving(t: Any) -> Any:
    """What a post or void alone tells once its id is known to be new; CREATED if nothing speaks against it."""
    if t.flag_bits & RESOLVING == RESOLVING or t.flag_bits & EXCLUDED != 0:
        return TransferStatus.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if u128.is_zero(t.pending_id_lo, t.pending_id_hi):
        return TransferStatus.PENDING_ID_MUST_NOT_BE_ZERO
    if u128.is_max(t.pending_id_lo, t.pending_id_hi):
        return TransferStatus.PENDING_ID_MUST_NOT_BE_INT_MAX
    if t.pending_id_lo == t.id_lo and t.pending_id_hi == t.id_hi:
        return TransferStatus.PENDING_ID_MUST_BE_DIFFERENT
    if t.timeout != 0:
        return TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
    return TransferStatus.CREATED


@outlined
def check_post_or_void(
    t: Any, pending: Any, debit: Any, credit: Any, timestamp: Any, last_transfer: Any, clashes: Any
) -> Any:
    """(status, amount) of a post or void of a pending transfer that is in the books."""
    lo, hi = amount_of(t, pending.amount_lo, pending.amount_hi)
    status = _check_same(
        t,
        debit.id_lo,
        debit.id_hi,
        credit.id_lo,
        credit.id_hi,
        pending.ledger,
        pending.code,
        lo,
        hi,
        pending.amount_lo,
        pending.amount_hi,
    )
    if status == TransferStatus.CREATED:
        status = check_ending(pending.ending)
    if status == TransferStatus.CREATED:
        if is_overdue(pending, timestamp):
            status = TransferStatus.PENDING_TRANSFER_EXPIRED
        elif pending.review != NOT_IN_REVIEW and t.flag_bits & POST != 0:
            status = TransferStatus.PENDING_TRANSFER_IN_REVIEW
        elif t.flag_bits & IMPORTED != 0 and (t.timestamp <= last_transfer or clashes):
            status = TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
        elif t.flag_bits & POST != 0:
            status = check_open(debit, credit)
    return status, lo, hi


@outlined
def check_ended(t: Any, there: Any, ending: Any) -> Any:
    """The status of a post or void of what the journal has as entry `there`: it ended blocks ago, or never was one."""
    if there.flag_bits_effective & PENDING == 0:
        return TransferStatus.PENDING_TRANSFER_NOT_PENDING
    lo, hi = amount_of(t, there.moved_lo, there.moved_hi)
    status = _check_same(
        t,
        there.debit_account_id_lo,
        there.debit_account_id_hi,
        there.credit_account_id_lo,
        there.credit_account_id_hi,
        there.ledger,
        there.code,
        lo,
        hi,
        there.moved_lo,
        there.moved_hi,
    )
    if status == TransferStatus.CREATED:
        status = check_ending(ending)
    return status


@inlined
def amount_of(t: Any, amount_lo: Any, amount_hi: Any) -> Any:
    """The amount that a post or void of a pending transfer over `amount` asks for."""
    if t.flag_bits & POST != 0:
        if u128.is_max(t.amount_lo, t.amount_hi):
            return amount_lo, amount_hi
    elif u128.is_zero(t.amount_lo, t.amount_hi):
        return amount_lo, amount_hi
    return t.amount_lo, t.amount_hi


@inlined
def _check_same(
    t: Any,
    debit_lo: Any,
    debit_hi: Any,
    credit_lo: Any,
    credit_hi: Any,
    ledger: Any,
    code: Any,
    lo: Any,
    hi: Any,
    amount_lo: Any,
    amount_hi: Any,
) -> Any:
    if not u128.is_zero(t.debit_account_id_lo, t.debit_account_id_hi) and (
        t.debit_account_id_lo != debit_lo or t.debit_account_id_hi != debit_hi
    ):
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID
    if not u128.is_zero(t.credit_account_id_lo, t.credit_account_id_hi) and (
        t.credit_account_id_lo != credit_lo or t.credit_account_id_hi != credit_hi
    ):
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID
    if t.ledger != 0 and t.ledger != ledger:
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER
    if t.code != 0 and t.code != code:
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_CODE
    if u128.less(amount_lo, amount_hi, lo, hi):
        return TransferStatus.EXCEEDS_PENDING_TRANSFER_AMOUNT
    if t.flag_bits & VOID != 0 and u128.less(lo, hi, amount_lo, amount_hi):
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT
    return TransferStatus.CREATED


@inlined
def check_ending(ending: Any) -> Any:
    """What an `Ending` says to whoever would resolve it again."""
    if ending == POSTED:
        return TransferStatus.PENDING_TRANSFER_ALREADY_POSTED
    if ending == VOIDED:
        return TransferStatus.PENDING_TRANSFER_ALREADY_VOIDED
    if ending == EXPIRED:
        return TransferStatus.PENDING_TRANSFER_EXPIRED
    return TransferStatus.CREATED


@inlined
def is_overdue(pending: Any, timestamp: Any) -> Any:
    """Whether its time has passed at `timestamp`, swept or not."""
    return pending.expires_at != ZERO and pending.expires_at <= timestamp


@outlined
def check_decision(c: Any, pending: Any, debit: Any, credit: Any, timestamp: Any) -> Any:
    """The status of people's approval or rejection of a pending transfer that is in the books."""
    status = check_ending(pending.ending)
    if status == CREATED and is_overdue(pending, timestamp):
        status = TransferStatus.PENDING_TRANSFER_EXPIRED
    if status == CREATED and pending.review == NOT_IN_REVIEW:
        return PENDING_TRANSFER_NOT_IN_REVIEW
    if status == CREATED and c.opcode == APPROVE:
        status = check_open(debit, credit)
    return status


@outlined
def check_decision_ended(there: Any, ending: Any) -> Any:
    """The status of an approval or rejection of what the journal has as entry `there`."""
    if there.flag_bits_effective & PENDING == 0:
        return PENDING_TRANSFER_NOT_PENDING
    status = check_ending(ending)
    if status == CREATED:
        return PENDING_TRANSFER_NOT_FOUND
    return status


@inlined
def check_existing_resolving(
    t: Any,
    there: Any,
    debit_lo: Any,
    debit_hi: Any,
    credit_lo: Any,
    credit_hi: Any,
    amount_lo: Any,
    amount_hi: Any,
    p: Any,
) -> Any:
    """`exists…` of a post or void, its fields compared with `there`'s where zero means the pending transfer's.

    `p` is the pending transfer's row or entry; ids and amount are handed in, since those two keep them differently.
    """
    if _differ(
        t.debit_account_id_lo,
        t.debit_account_id_hi,
        there.debit_account_id_lo,
        there.debit_account_id_hi,
        debit_lo,
        debit_hi,
    ):
        return TransferStatus.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if _differ(
        t.credit_account_id_lo,
        t.credit_account_id_hi,
        there.credit_account_id_lo,
        there.credit_account_id_hi,
        credit_lo,
        credit_hi,
    ):
        return TransferStatus.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    lo, hi = amount_of(t, amount_lo, amount_hi)
    if lo != there.moved_lo or hi != there.moved_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
    if _differ(
        t.user_data_128_lo,
        t.user_data_128_hi,
        there.user_data_128_lo,
        there.user_data_128_hi,
        p.user_data_128_lo,
        p.user_data_128_hi,
    ):
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if _differ(t.user_data_64, ZERO, there.user_data_64, ZERO, p.user_data_64, ZERO):
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if _differ(U64(t.user_data_32), ZERO, U64(there.user_data_32), ZERO, U64(p.user_data_32), ZERO):
        return TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if _differ(U64(t.ledger), ZERO, U64(there.ledger), ZERO, U64(p.ledger), ZERO):
        return TransferStatus.EXISTS_WITH_DIFFERENT_LEDGER
    if _differ(U64(t.code), ZERO, U64(there.code), ZERO, U64(p.code), ZERO):
        return TransferStatus.EXISTS_WITH_DIFFERENT_CODE
    return TransferStatus.EXISTS


@inlined
def _differ(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any, inherited_lo: Any, inherited_hi: Any) -> Any:
    """Whether two fields differ once zero stands for what is inherited."""
    if u128.is_zero(a_lo, a_hi):
        a_lo, a_hi = inherited_lo, inherited_hi
    if u128.is_zero(b_lo, b_hi):
        b_lo, b_hi = inherited_lo, inherited_hi
    return a_lo != b_lo or a_hi != b_hi


@outlined
def exists_beside_row(t: Any, there: Any, pending: Any, debit: Any, credit: Any) -> Any:
    """`check_existing_resolving` where the pending transfer was resolved in this very block: its row is here still."""
    return check_existing_resolving(
        t,
        there,
        debit.id_lo,
        debit.id_hi,
        credit.id_lo,
        credit.id_hi,
        pending.amount_lo,
        pending.amount_hi,
        pending,
    )


@outlined
def exists_beside_entry(t: Any, there: Any, p: Any) -> Any:
    """`check_existing_resolving` where the pending transfer has only its entry `p` any more."""
    return check_existing_resolving(
        t,
        there,
        p.debit_account_id_lo,
        p.debit_account_id_hi,
        p.credit_account_id_lo,
        p.credit_account_id_hi,
        p.moved_lo,
        p.moved_hi,
        p,
    )


@inlined
def resolve(
    debit: Any, credit: Any, of_debit: Any, of_credit: Any, pending: Any, posts: Any, lo: Any, hi: Any, seq: Any, d: Any
) -> Any:
    """Release what was pending and, if it `posts`, post the amount; reopen what a closing transfer closed.

    `of_debit` and `of_credit` are the accounts' rows in `touched`, `d` the details of the entry at `seq`.
    """
    amount_lo, amount_hi = pending.amount_lo, pending.amount_hi
    less_lo, less_hi = u128.subtract(debit.debits_pending_lo, debit.debits_pending_hi, amount_lo, amount_hi)
    debit.debits_pending_lo = less_lo
    debit.debits_pending_hi = less_hi
    less_lo, less_hi = u128.subtract(credit.credits_pending_lo, credit.credits_pending_hi, amount_lo, amount_hi)
    credit.credits_pending_lo = less_lo
    credit.credits_pending_hi = less_hi
    if posts:
        more_lo, more_hi, _ = u128.add(debit.debits_posted_lo, debit.debits_posted_hi, lo, hi)
        debit.debits_posted_lo = more_lo
        debit.debits_posted_hi = more_hi
        more_lo, more_hi, _ = u128.add(credit.credits_posted_lo, credit.credits_posted_hi, lo, hi)
        credit.credits_posted_lo = more_lo
        credit.credits_posted_hi = more_hi
    if pending.flag_bits & CLOSING_DEBIT != 0:
        debit.flag_bits = debit.flag_bits & _OPEN_AGAIN
        of_debit.barred_throughout = of_debit.barred_throughout & _CLOSED_NO_MORE
    if pending.flag_bits & CLOSING_CREDIT != 0:
        credit.flag_bits = credit.flag_bits & _OPEN_AGAIN
        of_credit.barred_throughout = of_credit.barred_throughout & _CLOSED_NO_MORE
    d.pending_seq = pending.seq
    number_both(debit, credit, seq, d)


@inlined
def end(heap: Any, heap_at: Any, counters: Any, resolved: Any, pending: Any, row: Any, ending: Any) -> Any:
    """Mark a pending transfer as resolved; its row is given away when the next block begins."""
    remove(heap, heap_at, counters, row)
    pending.ending = np.uint8(ending)
    place = counters[Counter.RESOLVED]
    resolved[place] = row
    counters[Counter.RESOLVED] = place + ONE


@outlined
def decide_review(
    c: Any,
    pending: Any,
    pending_row: Any,
    rows: Any,
    touched: Any,
    heap: Any,
    heap_at: Any,
    counters: Any,
    resolved: Any,
    seq: Any,
    d: Any,
) -> Any:
    """Approve or reject a pending transfer in review; returns the amount that was posted or released.

    Approved, what was asked as a plain transfer is posted; what was asked as a pending one is from now on just that.
    """
    debit, credit = rows[pending.debit_row], rows[pending.credit_row]
    amount_lo, amount_hi = pending.amount_lo, pending.amount_hi
    if c.opcode == APPROVE and pending.review == REVIEW_OF_PENDING:
        pending.review = NO_REVIEW
        d.pending_seq = pending.seq
        number_both(debit, credit, seq, d)
        return ZERO, ZERO
    of_debit, of_credit = touched[debit.touched - ONE], touched[credit.touched - ONE]
    posts = c.opcode == APPROVE
    resolve(debit, credit, of_debit, of_credit, pending, posts, amount_lo, amount_hi, seq, d)
    end(heap, heap_at, counters, resolved, pending, pending_row, POSTED if posts else VOIDED)
    return amount_lo, amount_hi
