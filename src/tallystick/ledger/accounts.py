"""Accounts: the ladder of checks on opening one, and what freezing and limits do.

Statuses in TigerBeetle's order (its reference for create_accounts); the first that applies wins. Flags that nobody
knows are reserved: refused, never ignored.
"""

from typing import Any

import numpy as np

from tallystick.ledger import u128
from tallystick.ledger.books import CLOSED, NO_ROW, number
from tallystick.ledger.compiled import U64, ZERO, inlined
from tallystick.records.commands import AccountFlag, ControlFlag, Opcode, Side
from tallystick.statuses import AccountStatus, ControlStatus

DEBITS_MUST_NOT_EXCEED_CREDITS = int(AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS)
CREDITS_MUST_NOT_EXCEED_DEBITS = int(AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS)
BOTH_LIMITS = DEBITS_MUST_NOT_EXCEED_CREDITS | CREDITS_MUST_NOT_EXCEED_DEBITS
IMPORTED = int(AccountFlag.IMPORTED)
KNOWN = BOTH_LIMITS | IMPORTED | CLOSED | int(AccountFlag.LINKED) | int(AccountFlag.HISTORY)
CONTROL_KNOWN = int(ControlFlag.LINKED)
TIMESTAMP_MAX = U64(0x7FFFFFFFFFFFFFFF)
FREEZE = int(Opcode.FREEZE)
UNFREEZE = int(Opcode.UNFREEZE)
CREDIT_LIMIT = int(Opcode.CREDIT_LIMIT)
APPROVE = int(Opcode.APPROVE)
REJECT = int(Opcode.REJECT)
SIDE_BOTH = U64(Side.BOTH)
NOT_SIDES = np.uint32(0xFFFFFFFF ^ Side.BOTH)


@inlined
def check_account(
    a: Any, row: Any, rows: Any, importing: Any, first_timestamp: Any, last_account: Any, clashes: Any
) -> Any:
    """The status of opening account `a`; `row` is where one with its id stands, or NO_ROW.

    `importing` is what the first event of its request said, `first_timestamp` when that one was decided,
    `last_account` the tenant's highest timestamp of an account; `clashes`: one of its transfers has this import's.
    """
    if a.flag_bits & IMPORTED == 0:
        if importing:
            return AccountStatus.IMPORTED_EVENT_EXPECTED
        if a.timestamp != ZERO:
            return AccountStatus.TIMESTAMP_MUST_BE_ZERO
    else:
        if not importing:
            return AccountStatus.IMPORTED_EVENT_NOT_EXPECTED
        if a.timestamp == ZERO or a.timestamp > TIMESTAMP_MAX:
            return AccountStatus.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE
        if a.timestamp >= first_timestamp:
            return AccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE
    if a.reserved != 0:
        return AccountStatus.RESERVED_FIELD
    if a.flag_bits | KNOWN != KNOWN:
        return AccountStatus.RESERVED_FLAG
    if u128.is_zero(a.id_lo, a.id_hi):
        return AccountStatus.ID_MUST_NOT_BE_ZERO
    if u128.is_max(a.id_lo, a.id_hi):
        return AccountStatus.ID_MUST_NOT_BE_INT_MAX
    if row != NO_ROW:
        return _exists(a, rows[row])
    if a.flag_bits & BOTH_LIMITS == BOTH_LIMITS:
        return AccountStatus.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if not u128.is_zero(a.debits_pending_lo, a.debits_pending_hi):
        return AccountStatus.DEBITS_PENDING_MUST_BE_ZERO
    if not u128.is_zero(a.debits_posted_lo, a.debits_posted_hi):
        return AccountStatus.DEBITS_POSTED_MUST_BE_ZERO
    if not u128.is_zero(a.credits_pending_lo, a.credits_pending_hi):
        return AccountStatus.CREDITS_PENDING_MUST_BE_ZERO
    if not u128.is_zero(a.credits_posted_lo, a.credits_posted_hi):
        return AccountStatus.CREDITS_POSTED_MUST_BE_ZERO
    if a.ledger == 0:
        return AccountStatus.LEDGER_MUST_NOT_BE_ZERO
    if a.code == 0:
        return AccountStatus.CODE_MUST_NOT_BE_ZERO
    if a.flag_bits & IMPORTED != 0 and (a.timestamp <= last_account or clashes):
        return AccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    return AccountStatus.CREATED


@inlined
def _exists(a: Any, there: Any) -> Any:
    if a.flag_bits != there.flag_bits:
        return AccountStatus.EXISTS_WITH_DIFFERENT_FLAGS
    if a.user_data_128_lo != there.user_data_128_lo or a.user_data_128_hi != there.user_data_128_hi:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if a.user_data_64 != there.user_data_64:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if a.user_data_32 != there.user_data_32:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if a.ledger != there.ledger:
        return AccountStatus.EXISTS_WITH_DIFFERENT_LEDGER
    if a.code != there.code:
        return AccountStatus.EXISTS_WITH_DIFFERENT_CODE
    return AccountStatus.EXISTS


@inlined
def fill_account(account: Any, a: Any, seq: Any, timestamp: Any) -> Any:
    """Write what `a` asks into the fresh row of its account."""
    account.user_data_128_lo = a.user_data_128_lo
    account.user_data_128_hi = a.user_data_128_hi
    account.user_data_64 = a.user_data_64
    account.user_data_32 = a.user_data_32
    account.ledger = a.ledger
    account.code = a.code
    account.flag_bits = a.flag_bits
    account.created_at = timestamp
    account.created_seq = seq
    number(account, seq)


@inlined
def check_control(c: Any) -> Any:
    """What a control command alone tells; APPLIED if nothing speaks against it."""
    if c.flag_bits | CONTROL_KNOWN != CONTROL_KNOWN or c.opcode < FREEZE or c.opcode > REJECT:
        return ControlStatus.RESERVED_FIELD
    for word in c.reserved_64:
        if word != ZERO:
            return ControlStatus.RESERVED_FIELD
    if c.opcode <= UNFREEZE and (c.value_hi != ZERO or not _is_side(c.value_lo)):
        return ControlStatus.RESERVED_FIELD
    if c.opcode >= APPROVE and not u128.is_zero(c.account_id_lo, c.account_id_hi):
        return ControlStatus.RESERVED_FIELD
    return ControlStatus.APPLIED


@inlined
def _is_side(value: Any) -> Any:
    return value != ZERO and value <= SIDE_BOTH


@inlined
def apply_control(account: Any, before: Any, c: Any, seq: Any) -> Any:
    """Freeze, unfreeze, or set the credit limit; `before` is the account's row in `touched`."""
    if c.opcode == CREDIT_LIMIT:
        account.credit_limit_lo = c.value_lo
        account.credit_limit_hi = c.value_hi
        if u128.less(before.credit_limit_max_lo, before.credit_limit_max_hi, c.value_lo, c.value_hi):
            before.credit_limit_max_lo = c.value_lo
            before.credit_limit_max_hi = c.value_hi
    elif c.opcode == FREEZE:
        account.frozen = account.frozen | c.value_lo
    else:
        account.frozen = account.frozen & ~c.value_lo
        before.barred_throughout = before.barred_throughout & (account.frozen | NOT_SIDES)
    number(account, seq)
