"""Rows as they are selected, and the objects that they become. What to select stands beside what reads it."""

from typing import Any

from tallystick.projector import columns
from tallystick.projector.searching import Wanted
from tallystick.records.changes import AccountBalance, ChangeEvent, ChangeEventType
from tallystick.records.commands import AccountFlag, Side, TransferFlag
from tallystick.records.objects import Account, Transfer

Row = tuple[Any, ...]

_OWN = "{0}.user_data_128, {0}.user_data_64, {0}.user_data_32"
_MOVED = (
    f"{{0}}.id, d.id, c.id, {{0}}.amount, p.id, {_OWN}, "
    "{0}.timeout, {0}.ledger, {0}.code, {0}.flags, {0}.timestamp"
)
_JOINS = (
    "CROSS JOIN accounts d ON d.seq = {0}.debit CROSS JOIN accounts c ON c.seq = {0}.credit "
    "LEFT JOIN transfers p ON p.seq = {0}.pending_seq"
)
_SIDES = ", ".join(f"{_OWN}, {{0}}.code, {{0}}.timestamp".format(side) for side in "dc")

TRANSFER = Wanted(_MOVED.format("t"), _JOINS.format("t"))
BALANCES = Wanted("t.timestamp, t.balances")
ACCOUNT = Wanted(
    "t.id, t.debits_pending, t.debits_posted, t.credits_pending, t.credits_posted, "
    f"{_OWN.format('t')}, t.ledger, t.code, t.flags, t.timestamp, t.credit_limit, t.frozen"
)
CHANGE = Wanted(
    f"t.seq, t.decided_at, NULL, t.debit_flags, t.credit_flags, t.balances, {_MOVED.format('t')}, {_SIDES}",
    _JOINS.format("t"),
)
RESOLUTION = Wanted(
    f"t.seq, t.decided_at, t.type, t.debit_flags, t.credit_flags, t.balances, {_MOVED.format('x')}, {_SIDES}",
    f"CROSS JOIN transfers x ON x.seq = t.pending_seq {_JOINS.format('x')}",
)


def transfer(row: Row) -> Transfer:
    """A row of `TRANSFER`."""
    number, debit, credit, amount, pending, own, u64, u32, timeout, ledger, code, flags, timestamp = row
    return Transfer(
        id=columns.whole(number),
        debit_account_id=columns.whole(debit),
        credit_account_id=columns.whole(credit),
        amount=columns.whole(amount),
        pending_id=columns.whole(pending),
        user_data_128=columns.whole(own),
        user_data_64=columns.unsigned(u64),
        user_data_32=columns.unsigned(u32),
        timeout=timeout,
        ledger=ledger,
        code=code,
        flags=TransferFlag(flags),
        timestamp=timestamp,
    )


def account(row: Row) -> Account:
    """A row of `ACCOUNT`."""
    number, dp, ds, cp, cs, own, u64, u32, ledger, code, flags, timestamp, limit, frozen = row
    return Account(
        id=columns.whole(number),
        debits_pending=columns.whole(dp),
        debits_posted=columns.whole(ds),
        credits_pending=columns.whole(cp),
        credits_posted=columns.whole(cs),
        user_data_128=columns.whole(own),
        user_data_64=columns.unsigned(u64),
        user_data_32=columns.unsigned(u32),
        ledger=ledger,
        code=code,
        flags=AccountFlag(flags),
        timestamp=timestamp,
        credit_limit=columns.whole(limit),
        frozen=Side(frozen),
    )


def _numbers(balances: bytes) -> list[int]:
    return [int.from_bytes(balances[at : at + 16], "big") for at in range(0, len(balances), 16)]


def balance(row: Row, credited: bool) -> AccountBalance:
    """A row of `BALANCES`: of the transfer's credit account, or of its debit account."""
    numbers = _numbers(row[1])[4 if credited else 0 :]
    return AccountBalance(
        timestamp=row[0],
        debits_pending=numbers[0],
        debits_posted=numbers[1],
        credits_pending=numbers[2],
        credits_posted=numbers[3],
    )


def _type(flags: int) -> ChangeEventType:
    """What a transfer with these flags does."""
    if flags & TransferFlag.PENDING:
        return ChangeEventType.TWO_PHASE_PENDING
    if flags & TransferFlag.POST_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_POSTED
    if flags & TransferFlag.VOID_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_VOIDED
    return ChangeEventType.SINGLE_PHASE


def change(row: Row) -> ChangeEvent:
    """A row of `CHANGE` or of `RESOLUTION`."""
    moved = transfer(row[6:19])
    numbers = _numbers(row[5])
    debit, credit = row[19:24], row[24:29]
    return ChangeEvent(
        timestamp=row[1],
        type=_type(moved.flags) if row[2] is None else ChangeEventType(row[2]),
        ledger=moved.ledger,
        transfer_id=moved.id,
        transfer_amount=moved.amount,
        transfer_pending_id=moved.pending_id,
        transfer_user_data_128=moved.user_data_128,
        transfer_user_data_64=moved.user_data_64,
        transfer_user_data_32=moved.user_data_32,
        transfer_timeout=moved.timeout,
        transfer_code=moved.code,
        transfer_flags=moved.flags,
        transfer_timestamp=moved.timestamp,
        debit_account_id=moved.debit_account_id,
        debit_account_debits_pending=numbers[0],
        debit_account_debits_posted=numbers[1],
        debit_account_credits_pending=numbers[2],
        debit_account_credits_posted=numbers[3],
        debit_account_user_data_128=columns.whole(debit[0]),
        debit_account_user_data_64=columns.unsigned(debit[1]),
        debit_account_user_data_32=columns.unsigned(debit[2]),
        debit_account_code=debit[3],
        debit_account_flags=AccountFlag(row[3]),
        debit_account_timestamp=debit[4],
        credit_account_id=moved.credit_account_id,
        credit_account_debits_pending=numbers[4],
        credit_account_debits_posted=numbers[5],
        credit_account_credits_pending=numbers[6],
        credit_account_credits_posted=numbers[7],
        credit_account_user_data_128=columns.whole(credit[0]),
        credit_account_user_data_64=columns.unsigned(credit[1]),
        credit_account_user_data_32=columns.unsigned(credit[2]),
        credit_account_code=credit[3],
        credit_account_flags=AccountFlag(row[4]),
        credit_account_timestamp=credit[4],
    )
