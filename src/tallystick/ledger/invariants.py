"""What must hold of every block, checked in production before it is journaled.

`check` sums the block's entries apart from the rows that `decide` changed, and compares: it shares no arithmetic
with the ladder of checks, so that a fault there is found here. `python -O` cannot switch it off.
"""

from enum import IntEnum
from typing import Any

from tallystick.errors import Violated
from tallystick.ledger import u128
from tallystick.ledger.accounts import CREDITS_MUST_NOT_EXCEED_DEBITS, DEBITS_MUST_NOT_EXCEED_CREDITS
from tallystick.ledger.books import BARRED_CLOSED, NO_ROW, Counter
from tallystick.ledger.compiled import ONE, ZERO, compiled, inlined
from tallystick.ledger.kernel import TRANSFER
from tallystick.ledger.transfers import CREATED_STORED, SIDE_CREDITS, SIDE_DEBITS, is_transient


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


@compiled
def check(outcome: Any, books: Any, last_timestamp: Any, ids_before: Any) -> Any:
    """The first `Violation` of a decided block; the rows' marks of this block are taken away on the way.

    `last_timestamp` is the entry's before this block, `ids_before` what `Counter.TRANSFER_IDS` said then.
    """
    entries, moved_rows = outcome.transfers, outcome.rows
    rows, touched, counters = books.rows, books.touched, books.counters
    ids = ZERO
    violation = NONE
    for k in range(outcome.results.shape[0]):
        entry = entries[k]
        if entry.timestamp <= last_timestamp and violation == NONE:
            violation = TIMESTAMPS_NOT_INCREASING
        last_timestamp = entry.timestamp
        if entry.kind != TRANSFER:
            continue
        if entry.status == CREATED_STORED:
            ids += ONE
            found = _sum_up(entry, moved_rows[k, 0], moved_rows[k, 1], rows, touched)
            if violation == NONE:
                violation = found
        elif is_transient(entry.status):
            ids += ONE
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
def _sum_up(entry: Any, debit_row: Any, credit_row: Any, rows: Any, touched: Any) -> Any:
    if debit_row in (NO_ROW, credit_row) or credit_row == NO_ROW:
        return WRONG_ACCOUNT
    debit = rows[debit_row]
    credit = rows[credit_row]
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
    of_debit = touched[debit.touched - ONE]
    lo, hi, over = u128.add(of_debit.debits_posted_lo, of_debit.debits_posted_hi, entry.moved_lo, entry.moved_hi)
    of_debit.debits_posted_lo = lo
    of_debit.debits_posted_hi = hi
    of_credit = touched[credit.touched - ONE]
    lo, hi, other = u128.add(of_credit.credits_posted_lo, of_credit.credits_posted_hi, entry.moved_lo, entry.moved_hi)
    of_credit.credits_posted_lo = lo
    of_credit.credits_posted_hi = hi
    if not u128.is_zero(entry.moved_lo, entry.moved_hi):
        of_debit.moved_sides = of_debit.moved_sides | SIDE_DEBITS
        of_credit.moved_sides = of_credit.moved_sides | SIDE_CREDITS
    return BALANCE_IS_NOT_THE_SUM if over or other else NONE


@inlined
def _check_row(before: Any, row: Any) -> Any:
    if before.debits_posted_lo != row.debits_posted_lo or before.debits_posted_hi != row.debits_posted_hi:
        return BALANCE_IS_NOT_THE_SUM
    if before.credits_posted_lo != row.credits_posted_lo or before.credits_posted_hi != row.credits_posted_hi:
        return BALANCE_IS_NOT_THE_SUM
    debited = before.moved_sides & SIDE_DEBITS != 0
    credited = before.moved_sides & SIDE_CREDITS != 0
    if debited and row.flag_bits & DEBITS_MUST_NOT_EXCEED_CREDITS != 0:
        may_lo, may_hi = u128.add_saturated(
            row.credits_posted_lo, row.credits_posted_hi, before.credit_limit_max_lo, before.credit_limit_max_hi
        )
        if u128.less(may_lo, may_hi, row.debits_posted_lo, row.debits_posted_hi):
            return DEBITS_EXCEED_CREDITS
    if (
        credited
        and row.flag_bits & CREDITS_MUST_NOT_EXCEED_DEBITS != 0
        and u128.less(row.debits_posted_lo, row.debits_posted_hi, row.credits_posted_lo, row.credits_posted_hi)
    ):
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
