"""What queries give besides accounts and transfers: past balances and change events. Names are TigerBeetle's."""

from enum import IntEnum

import msgspec

from tallystick.records.commands import AccountFlag, TransferFlag


class AccountBalance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's balances after the transfer with the same `timestamp` (ns). Amounts are minor units."""

    timestamp: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


class ChangeEventType(IntEnum):
    """How balances came to change. TigerBeetle's numbers."""

    SINGLE_PHASE = 0
    TWO_PHASE_PENDING = 1
    TWO_PHASE_POSTED = 2
    TWO_PHASE_VOIDED = 3
    TWO_PHASE_EXPIRED = 4


class ChangeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One change of balances: the transfer that made it, and both accounts as it left them.

    An expiry, an approval and a rejection are no transfers: they show the pending transfer that they resolve.
    Amounts are minor units. `timestamp` is when it was decided (ns): it strictly increases from one event to the
    next. `transfer_timestamp` is the transfer's own, which is earlier if that was imported, or is the pending one.
    """

    timestamp: int
    type: ChangeEventType
    ledger: int
    transfer_id: int
    transfer_amount: int
    transfer_pending_id: int
    transfer_user_data_128: int
    transfer_user_data_64: int
    transfer_user_data_32: int
    transfer_timeout: int
    transfer_code: int
    transfer_flags: TransferFlag
    transfer_timestamp: int
    debit_account_id: int
    debit_account_debits_pending: int
    debit_account_debits_posted: int
    debit_account_credits_pending: int
    debit_account_credits_posted: int
    debit_account_user_data_128: int
    debit_account_user_data_64: int
    debit_account_user_data_32: int
    debit_account_code: int
    debit_account_flags: AccountFlag
    debit_account_timestamp: int
    credit_account_id: int
    credit_account_debits_pending: int
    credit_account_debits_posted: int
    credit_account_credits_pending: int
    credit_account_credits_posted: int
    credit_account_user_data_128: int
    credit_account_user_data_64: int
    credit_account_user_data_32: int
    credit_account_code: int
    credit_account_flags: AccountFlag
    credit_account_timestamp: int
