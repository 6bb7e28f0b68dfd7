"""Transfers: the ladder of checks, and what posting one does.

Statuses in TigerBeetle's order (its reference for create_transfers); the first that applies wins. This version
decides plain transfers; every flag is reserved until it is acted on: refused, never ignored.
"""

from typing import Any

from tallystick.ledger import u128
from tallystick.ledger.accounts import CLOSED, CREDITS_MUST_NOT_EXCEED_DEBITS, DEBITS_MUST_NOT_EXCEED_CREDITS
from tallystick.ledger.books import NO_ROW, number
from tallystick.ledger.compiled import ZERO, inlined
from tallystick.records.commands import Side
from tallystick.statuses import STORED_MASK, TRANSIENT, TransferStatus

KNOWN = 0
SIDE_DEBITS = int(Side.DEBITS)
SIDE_CREDITS = int(Side.CREDITS)
_TRANSIENT = tuple(sorted(int(status) for status in TRANSIENT))
CREATED_STORED = int(TransferStatus.CREATED) & STORED_MASK


@inlined
def is_transient(status: Any) -> Any:
    """Whether this refusal poisons the transfer's id."""
    for transient in _TRANSIENT:  # noqa: SIM110 - Numba knows no generator expressions here
        if status == transient:
            return True
    return False


@inlined
def check_fields(t: Any) -> Any:
    """What the transfer alone tells, up to its id; CREATED if nothing speaks against it."""
    if t.timestamp != ZERO:
        return TransferStatus.TIMESTAMP_MUST_BE_ZERO
    if t.flag_bits | KNOWN != KNOWN:
        return TransferStatus.RESERVED_FLAG
    if u128.is_zero(t.id_lo, t.id_hi):
        return TransferStatus.ID_MUST_NOT_BE_ZERO
    if u128.is_max(t.id_lo, t.id_hi):
        return TransferStatus.ID_MUST_NOT_BE_INT_MAX
    return TransferStatus.CREATED


@inlined
def check_existing(t: Any, there: Any) -> Any:
    """The status where an entry `there` has this transfer's id already: a created transfer, or a poisoned id."""
    if there.status != CREATED_STORED:
        return TransferStatus.ID_ALREADY_FAILED
    if t.flag_bits != there.flag_bits:
        return TransferStatus.EXISTS_WITH_DIFFERENT_FLAGS
    if t.pending_id_lo != there.pending_id_lo or t.pending_id_hi != there.pending_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_PENDING_ID
    if t.timeout != there.timeout:
        return TransferStatus.EXISTS_WITH_DIFFERENT_TIMEOUT
    if t.debit_account_id_lo != there.debit_account_id_lo or t.debit_account_id_hi != there.debit_account_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if t.credit_account_id_lo != there.credit_account_id_lo or t.credit_account_id_hi != there.credit_account_id_hi:
        return TransferStatus.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    if t.amount_lo != there.amount_lo or t.amount_hi != there.amount_hi:
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
    if t.timeout != 0:
        return TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
    if t.ledger == 0:
        return TransferStatus.LEDGER_MUST_NOT_BE_ZERO
    if t.code == 0:
        return TransferStatus.CODE_MUST_NOT_BE_ZERO
    return TransferStatus.CREATED


@inlined
def check_accounts(t: Any, rows: Any, debit_row: Any, credit_row: Any) -> Any:
    """What the accounts tell: found, same ledger, open, not frozen, room for the amount, within their limits."""
    if debit_row == NO_ROW:
        return TransferStatus.DEBIT_ACCOUNT_NOT_FOUND
    if credit_row == NO_ROW:
        return TransferStatus.CREDIT_ACCOUNT_NOT_FOUND
    debit = rows[debit_row]
    credit = rows[credit_row]
    if debit.ledger != credit.ledger:
        return TransferStatus.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
    if t.ledger != debit.ledger:
        return TransferStatus.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
    if debit.flag_bits & CLOSED != 0:
        return TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED
    if credit.flag_bits & CLOSED != 0:
        return TransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED
    if debit.frozen & SIDE_DEBITS != 0:
        return TransferStatus.DEBIT_ACCOUNT_FROZEN
    if credit.frozen & SIDE_CREDITS != 0:
        return TransferStatus.CREDIT_ACCOUNT_FROZEN
    return _check_room(t, debit, credit)


@inlined
def _check_room(t: Any, debit: Any, credit: Any) -> Any:
    debits_lo, debits_hi, over = u128.add(debit.debits_posted_lo, debit.debits_posted_hi, t.amount_lo, t.amount_hi)
    if over:
        return TransferStatus.OVERFLOWS_DEBITS_POSTED
    credits_lo, credits_hi, over = u128.add(
        credit.credits_posted_lo, credit.credits_posted_hi, t.amount_lo, t.amount_hi
    )
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
    if debit.flag_bits & DEBITS_MUST_NOT_EXCEED_CREDITS != 0:
        may_lo, may_hi = u128.add_saturated(
            debit.credits_posted_lo, debit.credits_posted_hi, debit.credit_limit_lo, debit.credit_limit_hi
        )
        if u128.less(may_lo, may_hi, debits_lo, debits_hi):
            return TransferStatus.EXCEEDS_CREDITS
    if credit.flag_bits & CREDITS_MUST_NOT_EXCEED_DEBITS != 0 and u128.less(
        credit.debits_posted_lo, credit.debits_posted_hi, credits_lo, credits_hi
    ):
        return TransferStatus.EXCEEDS_DEBITS
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
    details.debit_sequence, details.debit_previous = number(debit, seq)
    details.credit_sequence, details.credit_previous = number(credit, seq)
