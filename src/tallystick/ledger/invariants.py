"""What must hold of every block, checked in production before it is journaled.

`check` sums the block's entries apart from the rows that `decide` changed, and compares: it shares no arithmetic
with the ladder of checks, so that a fault there is found here. `python -O` cannot switch it off.
"""

from enum import IntEnum
from typing import Any

import numpy as np

from tallystick.errors import Violated
from tallystick.ledger import u128
from tallystick.ledger.accounts import CREDITS_MUST_NOT_EXCEED_DEBITS, DEBITS_MUST_NOT_EXCEED_CREDITS
from tallystick.ledger.accounts import IMPORTED as ACCOUNT_IMPORTED
from tallystick.ledger.batches import Outcome
from tallystick.ledger.books import BARRED_CLOSED, NO_ROW, Books, Counter
from tallystick.ledger.compiled import ONE, ZERO, compiled, inlined, outlined
from tallystick.ledger.pendings import Review
from tallystick.ledger.replaying import ACCOUNT, CONTROL, EXPIRY, TRANSFER
from tallystick.ledger.transfers import (
    CREATED_STORED,
    IMPORTED,
    PENDING,
    POST,
    RESOLVING,
    SIDE_CREDITS,
    SIDE_DEBITS,
    is_transient,
)
from tallystick.records.endings import Ending


class Violation(IntEnum):
    """Which promise a block breaks."""

    NONE = 0
    TIMESTAMPS_NOT_INCREASING = 1
    WRONG_ACCOUNT = 2
    LEDGERS_MIXED = 3
    BALANCE_IS_NOT_THE_SUM = 4
    DEBITS_EXCEED_CREDITS = 5
    CREDITS_EXCEED_DEBITS = 6
    FROZEN_ACCOUNT_MOVED = 7
    CLOSED_ACCOUNT_MOVED = 8
    IDS_NOT_NOTED = 9
    REFUSED_BUT_MOVED = 10
    WRONG_PENDING_TRANSFER = 11
    EXPIRED_TOO_SOON = 12
    POSTED_MORE_THAN_RESERVED = 13


# As plain integers: compiled code returns one type.
NONE = int(Violation.NONE)
TIMESTAMPS_NOT_INCREASING = int(Violation.TIMESTAMPS_NOT_INCREASING)
WRONG_ACCOUNT = int(Violation.WRONG_ACCOUNT)
LEDGERS_MIXED = int(Violation.LEDGERS_MIXED)
BALANCE_IS_NOT_THE_SUM = int(Violation.BALANCE_IS_NOT_THE_SUM)
DEBITS_EXCEED_CREDITS = int(Violation.DEBITS_EXCEED_CREDITS)
CREDITS_EXCEED_DEBITS = int(Violation.CREDITS_EXCEED_DEBITS)
FROZEN_ACCOUNT_MOVED = int(Violation.FROZEN_ACCOUNT_MOVED)
CLOSED_ACCOUNT_MOVED = int(Violation.CLOSED_ACCOUNT_MOVED)
IDS_NOT_NOTED = int(Violation.IDS_NOT_NOTED)
REFUSED_BUT_MOVED = int(Violation.REFUSED_BUT_MOVED)
WRONG_PENDING_TRANSFER = int(Violation.WRONG_PENDING_TRANSFER)
EXPIRED_TOO_SOON = int(Violation.EXPIRED_TOO_SOON)
POSTED_MORE_THAN_RESERVED = int(Violation.POSTED_MORE_THAN_RESERVED)
DRAWN_DEBITS = SIDE_DEBITS << 2
DRAWN_CREDITS = SIDE_CREDITS << 2
"""In `touched.moved_sides`: moved by something that must keep to limits. A post need not: its reservation did."""
NO_REVIEW = int(Review.NONE)
POSTED = int(Ending.POSTED)
VOIDED = int(Ending.VOIDED)
EXPIRED = int(Ending.EXPIRED)


def check(outcome: Outcome, books: Books, last_timestamp: Any, ids_before: Any) -> int:
    """The first `Violation` of a decided block; the rows' marks of this block are taken away on the way.

    `last_timestamp` is the entry's before this block, `ids_before` what `Counter.TRANSFER_IDS` said then; both uint64.
    """
    # Whole, the two would cost eight times as much to hand over as the six arrays that are read.
    violation = _check(
        outcome.transfers,
        outcome.rows,
        books.rows,
        books.touched,
        books.counters,
        books.pendings,
        last_timestamp,
        ids_before,
    )
    return int(violation)


@compiled
def _check(
    entries: Any,
    moved_rows: Any,
    rows: Any,
    touched: Any,
    counters: Any,
    pendings: Any,
    last_timestamp: Any,
    ids_before: Any,
) -> Any:
    ids = ZERO
    violation = NONE
    for k in range(moved_rows.shape[0]):
        entry = entries[k]
        if entry.timestamp <= last_timestamp and violation == NONE:
            violation = TIMESTAMPS_NOT_INCREASING
        last_timestamp = entry.timestamp
        if entry.status != CREATED_STORED:
            if entry.kind == TRANSFER and is_transient(entry.status):
                ids += ONE
            moved = moved_rows[k, 0] != NO_ROW or moved_rows[k, 1] != NO_ROW or moved_rows[k, 2] != NO_ROW
            if (moved or entry.moved_lo != ZERO or entry.moved_hi != ZERO) and violation == NONE:
                violation = REFUSED_BUT_MOVED
            continue
        found = NONE
        if entry.kind == TRANSFER:
            ids += ONE
            if entry.flag_bits & IMPORTED != 0:
                ids += ONE
            if entry.flag_bits_effective & (PENDING | RESOLVING) == 0:
                found = _sum_up_plain(entry, moved_rows[k, 0], moved_rows[k, 1], rows, touched)
            else:
                found = _sum_up_pending(
                    entry, moved_rows[k, 0], moved_rows[k, 1], moved_rows[k, 2], rows, touched, pendings
                )
        elif entry.kind == EXPIRY or moved_rows[k, 2] != NO_ROW:
            found = _sum_up_pending(
                entry, moved_rows[k, 0], moved_rows[k, 1], moved_rows[k, 2], rows, touched, pendings
            )
        elif entry.kind == ACCOUNT and entry.flag_bits & ACCOUNT_IMPORTED != 0:
            ids += ONE
        if violation == NONE:
            violation = found
    for place in range(counters[Counter.TOUCHED]):
        before = touched[place]
        row = rows[before.row]
        row.touched = ZERO
        found = _check_row(before, row)
        if violation == NONE:
            violation = found
    if violation == NONE and counters[Counter.TRANSFER_IDS] - ids_before != ids:
        violation = IDS_NOT_NOTED
    return violation


@inlined
def _sum_up_plain(entry: Any, debit_row: Any, credit_row: Any, rows: Any, touched: Any) -> Any:
    if debit_row in (NO_ROW, credit_row) or credit_row == NO_ROW:
        return WRONG_ACCOUNT
    debit, credit = rows[debit_row], rows[credit_row]
    if debit.id_lo != entry.debit_account_id_lo or debit.id_hi != entry.debit_account_id_hi:
        return WRONG_ACCOUNT
    if credit.id_lo != entry.credit_account_id_lo or credit.id_hi != entry.credit_account_id_hi:
        return WRONG_ACCOUNT
    if debit.tenant != entry.tenant or credit.tenant != entry.tenant:
        return WRONG_ACCOUNT
    if debit.ledger != entry.ledger or credit.ledger != entry.ledger:
        return LEDGERS_MIXED
    if debit.touched == ZERO or credit.touched == ZERO:
        return BALANCE_IS_NOT_THE_SUM
    of_debit, of_credit = touched[debit.touched - ONE], touched[credit.touched - ONE]
    _mark_moved(
        of_debit, of_credit, entry.moved_lo, entry.moved_hi, SIDE_DEBITS | DRAWN_DEBITS, SIDE_CREDITS | DRAWN_CREDITS
    )
    return _add_posted(of_debit, of_credit, entry.moved_lo, entry.moved_hi)


@inlined
def _add_posted(of_debit: Any, of_credit: Any, moved_lo: Any, moved_hi: Any) -> Any:
    lo, hi, over = u128.add(of_debit.debits_posted_lo, of_debit.debits_posted_hi, moved_lo, moved_hi)
    of_debit.debits_posted_lo = lo
    of_debit.debits_posted_hi = hi
    lo, hi, other = u128.add(of_credit.credits_posted_lo, of_credit.credits_posted_hi, moved_lo, moved_hi)
    of_credit.credits_posted_lo = lo
    of_credit.credits_posted_hi = hi
    return BALANCE_IS_NOT_THE_SUM if over or other else NONE


@inlined
def _mark_moved(of_debit: Any, of_credit: Any, moved_lo: Any, moved_hi: Any, debits: Any, credits: Any) -> Any:
    if moved_lo != ZERO or moved_hi != ZERO:
        of_debit.moved_sides = of_debit.moved_sides | debits
        of_credit.moved_sides = of_credit.moved_sides | credits


@outlined
def _sum_up_pending(
    entry: Any, debit_row: Any, credit_row: Any, pending_row: Any, rows: Any, touched: Any, pendings: Any
) -> Any:
    """An entry that opens, resolves or approves a pending transfer, held against that one's row."""
    if pending_row == NO_ROW:
        return WRONG_PENDING_TRANSFER
    if debit_row in (NO_ROW, credit_row) or credit_row == NO_ROW:
        return WRONG_ACCOUNT
    pending = pendings[pending_row]
    debit, credit = rows[debit_row], rows[credit_row]
    if np.int64(pending.debit_row) != debit_row or np.int64(pending.credit_row) != credit_row:
        return WRONG_ACCOUNT
    if pending.tenant != entry.tenant or debit.tenant != entry.tenant or credit.tenant != entry.tenant:
        return WRONG_ACCOUNT
    if debit.ledger != pending.ledger or credit.ledger != pending.ledger:
        return LEDGERS_MIXED
    if debit.touched == ZERO or credit.touched == ZERO:
        return BALANCE_IS_NOT_THE_SUM
    of_debit, of_credit = touched[debit.touched - ONE], touched[credit.touched - ONE]
    amount_lo, amount_hi = pending.amount_lo, pending.amount_hi
    if entry.kind == TRANSFER and entry.flag_bits_effective & PENDING != 0:
        if pending.id_lo != entry.id_lo or pending.id_hi != entry.id_hi or pending.seq != entry.seq:
            return WRONG_PENDING_TRANSFER
        if debit.id_lo != entry.debit_account_id_lo or debit.id_hi != entry.debit_account_id_hi:
            return WRONG_ACCOUNT
        if credit.id_lo != entry.credit_account_id_lo or credit.id_hi != entry.credit_account_id_hi:
            return WRONG_ACCOUNT
        if entry.ledger != pending.ledger:
            return LEDGERS_MIXED
        if entry.moved_lo != amount_lo or entry.moved_hi != amount_hi:
            return BALANCE_IS_NOT_THE_SUM
        _mark_moved(of_debit, of_credit, amount_lo, amount_hi, SIDE_DEBITS | DRAWN_DEBITS, SIDE_CREDITS | DRAWN_CREDITS)
        return _add_pending(of_debit, of_credit, amount_lo, amount_hi)
    posts = entry.kind == TRANSFER and entry.flag_bits_effective & POST != 0
    if entry.kind == CONTROL:
        if pending.review == NO_REVIEW:  # approved to be as pending as it was asked, whatever came of it after that
            return NONE if entry.moved_lo == ZERO and entry.moved_hi == ZERO else REFUSED_BUT_MOVED
        posts = pending.ending == POSTED
    elif pending.id_lo != entry.pending_id_lo or pending.id_hi != entry.pending_id_hi:
        return WRONG_PENDING_TRANSFER
    if entry.kind == EXPIRY:
        if pending.expires_at == ZERO or pending.expires_at > entry.timestamp:
            return EXPIRED_TOO_SOON
        if pending.ending != EXPIRED:
            return WRONG_PENDING_TRANSFER
    elif (posts and pending.ending != POSTED) or (not posts and pending.ending != VOIDED):
        return WRONG_PENDING_TRANSFER
    if posts:
        if u128.less(amount_lo, amount_hi, entry.moved_lo, entry.moved_hi):
            return POSTED_MORE_THAN_RESERVED
        _mark_moved(of_debit, of_credit, entry.moved_lo, entry.moved_hi, SIDE_DEBITS, SIDE_CREDITS)
        over = _add_posted(of_debit, of_credit, entry.moved_lo, entry.moved_hi)
        if over != NONE:
            return over
    elif entry.moved_lo != amount_lo or entry.moved_hi != amount_hi:
        return BALANCE_IS_NOT_THE_SUM
    return _take_pending(of_debit, of_credit, amount_lo, amount_hi)


@inlined
def _add_pending(of_debit: Any, of_credit: Any, amount_lo: Any, amount_hi: Any) -> Any:
    lo, hi, over = u128.add(of_debit.debits_pending_lo, of_debit.debits_pending_hi, amount_lo, amount_hi)
    of_debit.debits_pending_lo = lo
    of_debit.debits_pending_hi = hi
    lo, hi, other = u128.add(of_credit.credits_pending_lo, of_credit.credits_pending_hi, amount_lo, amount_hi)
    of_credit.credits_pending_lo = lo
    of_credit.credits_pending_hi = hi
    return BALANCE_IS_NOT_THE_SUM if over or other else NONE


@inlined
def _take_pending(of_debit: Any, of_credit: Any, amount_lo: Any, amount_hi: Any) -> Any:
    if u128.less(of_debit.debits_pending_lo, of_debit.debits_pending_hi, amount_lo, amount_hi):
        return BALANCE_IS_NOT_THE_SUM
    if u128.less(of_credit.credits_pending_lo, of_credit.credits_pending_hi, amount_lo, amount_hi):
        return BALANCE_IS_NOT_THE_SUM
    lo, hi = u128.subtract(of_debit.debits_pending_lo, of_debit.debits_pending_hi, amount_lo, amount_hi)
    of_debit.debits_pending_lo = lo
    of_debit.debits_pending_hi = hi
    lo, hi = u128.subtract(of_credit.credits_pending_lo, of_credit.credits_pending_hi, amount_lo, amount_hi)
    of_credit.credits_pending_lo = lo
    of_credit.credits_pending_hi = hi
    return NONE


@inlined
def _check_row(before: Any, row: Any) -> Any:
    """`before` has been brought up to what the entries say."""
    if before.debits_posted_lo != row.debits_posted_lo or before.debits_posted_hi != row.debits_posted_hi:
        return BALANCE_IS_NOT_THE_SUM
    if before.credits_posted_lo != row.credits_posted_lo or before.credits_posted_hi != row.credits_posted_hi:
        return BALANCE_IS_NOT_THE_SUM
    if before.debits_pending_lo != row.debits_pending_lo or before.debits_pending_hi != row.debits_pending_hi:
        return BALANCE_IS_NOT_THE_SUM
    if before.credits_pending_lo != row.credits_pending_lo or before.credits_pending_hi != row.credits_pending_hi:
        return BALANCE_IS_NOT_THE_SUM
    debited = before.moved_sides & SIDE_DEBITS != 0
    credited = before.moved_sides & SIDE_CREDITS != 0
    if before.moved_sides & DRAWN_DEBITS != 0 and row.flag_bits & DEBITS_MUST_NOT_EXCEED_CREDITS != 0:
        lo, hi, over = u128.add(
            row.debits_posted_lo, row.debits_posted_hi, row.debits_pending_lo, row.debits_pending_hi
        )
        may_lo, may_hi = u128.add_saturated(
            row.credits_posted_lo, row.credits_posted_hi, before.credit_limit_max_lo, before.credit_limit_max_hi
        )
        if over or u128.less(may_lo, may_hi, lo, hi):
            return DEBITS_EXCEED_CREDITS
    if before.moved_sides & DRAWN_CREDITS != 0 and row.flag_bits & CREDITS_MUST_NOT_EXCEED_DEBITS != 0:
        lo, hi, over = u128.add(
            row.credits_posted_lo, row.credits_posted_hi, row.credits_pending_lo, row.credits_pending_hi
        )
        if over or u128.less(row.debits_posted_lo, row.debits_posted_hi, lo, hi):
            return CREDITS_EXCEED_DEBITS
    if debited and before.barred_throughout & SIDE_DEBITS != 0:
        return FROZEN_ACCOUNT_MOVED
    if credited and before.barred_throughout & SIDE_CREDITS != 0:
        return FROZEN_ACCOUNT_MOVED
    if (debited or credited) and before.barred_throughout & BARRED_CLOSED != 0:
        return CLOSED_ACCOUNT_MOVED
    return NONE


def require(violation: int, first_seq: int) -> None:
    """Raise `Violated` for a violated invariant: nothing of the block may be journaled, the process must end."""
    if violation != Violation.NONE:
        name = Violation(violation).name.lower()
        raise Violated(f"invariant violated while deciding from seq {first_seq}: {name}; the block was not journaled")
