"""Accounts, transfers and results as objects, for the edges: the library, the command line, scenario tables.

Inside, money travels as records (`commands`); here is the one place that turns one into the other. Names are
TigerBeetle's.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.errors import Invalid
from tallystick.records.commands import AccountFlag, ControlFlag, Opcode, Side, TransferFlag
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

_LOW = 0xFFFFFFFFFFFFFFFF
_U128 = (1 << 128) - 1
_EVENT = struct.Struct("<13QIIIHHQ")

_CONTROL = struct.Struct("<6QIHH9Q")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account. Amounts are minor units; `timestamp` is ns, and assigned by the ledger."""

    id: int
    ledger: int
    code: int
    flags: AccountFlag = AccountFlag(0)
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    timestamp: int = 0
    credit_limit: int = 0
    """How far debits may pass credits; set by a control command, never by opening."""
    frozen: Side = Side(0)


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A movement between two accounts. `amount` is minor units; `timestamp` is ns, and assigned by the ledger."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    ledger: int
    code: int
    flags: TransferFlag = TransferFlag(0)
    pending_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    timeout: int = 0
    timestamp: int = 0


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A control command: freeze, unfreeze or credit limit of one account; approve or reject (`value`: its id, account
    zero) of one pending transfer in review."""

    account_id: int
    opcode: Opcode
    value: int
    reason: int = 0
    actor: int = 0
    flags: ControlFlag = ControlFlag(0)


class CreateAccountResult(msgspec.Struct, frozen=True):
    """What was decided about an account, and when (ns)."""

    timestamp: int
    status: AccountStatus


class CreateTransferResult(msgspec.Struct, frozen=True):
    """What was decided about a transfer, and when (ns)."""

    timestamp: int
    status: TransferStatus


class ControlResult(msgspec.Struct, frozen=True):
    """What was decided about a control command, and when (ns)."""

    timestamp: int
    status: ControlStatus


def pack_transfer(t: Transfer) -> bytes:
    """The 128-byte event. Raises `Invalid` naming a field that does not fit."""
    try:
        return _EVENT.pack(
            t.id & _LOW,
            t.id >> 64,
            t.debit_account_id & _LOW,
            t.debit_account_id >> 64,
            t.credit_account_id & _LOW,
            t.credit_account_id >> 64,
            t.amount & _LOW,
            t.amount >> 64,
            t.pending_id & _LOW,
            t.pending_id >> 64,
            t.user_data_128 & _LOW,
            t.user_data_128 >> 64,
            t.user_data_64,
            t.user_data_32,
            t.timeout,
            t.ledger,
            t.code,
            t.flags,
            t.timestamp,
        )
    except (struct.error, TypeError) as error:
        raise _culprit(t, _TRANSFER_MAX) from error


def pack_account(a: Account) -> bytes:
    """The 128-byte event. Raises `Invalid` naming a field that does not fit."""
    try:
        return _EVENT.pack(
            a.id & _LOW,
            a.id >> 64,
            a.debits_pending & _LOW,
            a.debits_pending >> 64,
            a.debits_posted & _LOW,
            a.debits_posted >> 64,
            a.credits_pending & _LOW,
            a.credits_pending >> 64,
            a.credits_posted & _LOW,
            a.credits_posted >> 64,
            a.user_data_128 & _LOW,
            a.user_data_128 >> 64,
            a.user_data_64,
            a.user_data_32,
            0,
            a.ledger,
            a.code,
            a.flags,
            a.timestamp,
        )
    except (struct.error, TypeError) as error:
        raise _culprit(a, _ACCOUNT_MAX) from error


def pack_control(c: Control) -> bytes:
    """The 128-byte event. Raises `Invalid` naming a field that does not fit."""
    try:
        return _CONTROL.pack(
            c.account_id & _LOW,
            c.account_id >> 64,
            c.value & _LOW,
            c.value >> 64,
            c.actor & _LOW,
            c.actor >> 64,
            c.reason,
            c.opcode,
            c.flags,
            *([0] * 9),
        )
    except (struct.error, TypeError) as error:
        raise _culprit(c, _CONTROL_MAX) from error


_COMMON_MAX = {"user_data_128": _U128, "user_data_64": _LOW, "user_data_32": (1 << 32) - 1, "timestamp": _LOW}
_TRANSFER_MAX = {
    **dict.fromkeys(("id", "debit_account_id", "credit_account_id", "amount", "pending_id"), _U128),
    **dict.fromkeys(("timeout", "ledger"), (1 << 32) - 1),
    **dict.fromkeys(("code", "flags"), (1 << 16) - 1),
    **_COMMON_MAX,
}
_ACCOUNT_MAX = {
    **dict.fromkeys(("id", "debits_pending", "debits_posted", "credits_pending", "credits_posted"), _U128),
    "ledger": (1 << 32) - 1,
    **dict.fromkeys(("code", "flags"), (1 << 16) - 1),
    **_COMMON_MAX,
}
_CONTROL_MAX = {
    **dict.fromkeys(("account_id", "value", "actor"), _U128),
    "reason": (1 << 32) - 1,
    "opcode": (1 << 16) - 1,
    "flags": (1 << 16) - 1,
}


def _culprit(event: msgspec.Struct, bounds: dict[str, int]) -> Invalid:
    for field, most in bounds.items():
        value = getattr(event, field)
        if not isinstance(value, int) or isinstance(value, bool):
            return Invalid(field, f"must be an integer, not {type(value).__name__}")
        if not 0 <= value <= most:
            return Invalid(field, f"must be between 0 and {most}")
    return Invalid("", "the event does not fit its record")


_Event = TypeVar("_Event", Account, Transfer, Control)


def pack_all(events: Sequence[_Event], pack: Callable[[_Event], bytes]) -> bytes:
    """n × 128 bytes. Raises `Invalid` naming index and field."""
    packed = []
    for index, event in enumerate(events):
        try:
            packed.append(pack(event))
        except Invalid as invalid:
            raise Invalid(f"[{index}].{invalid.field}", invalid.message) from invalid
    return b"".join(packed)


def _whole(row: Any, name: str) -> int:
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def account(row: npt.NDArray[np.void], extra: npt.NDArray[np.void]) -> Account:
    """An `ACCOUNT_EVENT` row and what we keep beyond it (`answers.port.FOUND_ACCOUNT_EXTRA`) as an object."""
    return Account(
        id=_whole(row, "id"),
        ledger=int(row["ledger"]),
        code=int(row["code"]),
        flags=AccountFlag(int(row["flag_bits"])),
        debits_pending=_whole(row, "debits_pending"),
        debits_posted=_whole(row, "debits_posted"),
        credits_pending=_whole(row, "credits_pending"),
        credits_posted=_whole(row, "credits_posted"),
        user_data_128=_whole(row, "user_data_128"),
        user_data_64=int(row["user_data_64"]),
        user_data_32=int(row["user_data_32"]),
        timestamp=int(row["timestamp"]),
        credit_limit=_whole(extra, "credit_limit"),
        frozen=Side(int(extra["frozen"])),
    )


def transfer(row: npt.NDArray[np.void]) -> Transfer:
    """A `TRANSFER_EVENT` row as an object."""
    return Transfer(
        id=_whole(row, "id"),
        debit_account_id=_whole(row, "debit_account_id"),
        credit_account_id=_whole(row, "credit_account_id"),
        amount=_whole(row, "amount"),
        ledger=int(row["ledger"]),
        code=int(row["code"]),
        flags=TransferFlag(int(row["flag_bits"])),
        pending_id=_whole(row, "pending_id"),
        user_data_128=_whole(row, "user_data_128"),
        user_data_64=int(row["user_data_64"]),
        user_data_32=int(row["user_data_32"]),
        timeout=int(row["timeout"]),
        timestamp=int(row["timestamp"]),
    )
