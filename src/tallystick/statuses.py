"""Every status a command can get: number, name, transient or not, HTTP.

Names and numbers are TigerBeetle's (its reference for create_accounts and create_transfers), so that its tables
and clients read ours; numbers from 1001 are our own. **The members stand in order of precedence: the first that
applies wins**, and that order is part of the contract. Never rename or reuse one.

An entry keeps the low 16 bits of a status (`CREATED` is 2^32 − 1, so 65,535 there). A *transient* refusal poisons
the transfer's id: a later transfer with it gets `ID_ALREADY_FAILED`, whatever changed meanwhile.
"""

from enum import IntEnum

CREATED = 0xFFFFFFFF
STORED_MASK = 0xFFFF
"""What of a status an entry holds."""


class AccountStatus(IntEnum):
    """What was decided about an account."""

    CREATED = 0xFFFFFFFF
    REQUEST_EXPIRED = 1003
    QUARANTINED = 1004
    LINKED_EVENT_FAILED = 1
    LINKED_EVENT_CHAIN_OPEN = 2
    IMPORTED_EVENT_EXPECTED = 22
    IMPORTED_EVENT_NOT_EXPECTED = 23
    TIMESTAMP_MUST_BE_ZERO = 3
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 24
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 25
    RESERVED_FIELD = 4
    RESERVED_FLAG = 5
    ID_MUST_NOT_BE_ZERO = 6
    ID_MUST_NOT_BE_INT_MAX = 7
    EXISTS_WITH_DIFFERENT_FLAGS = 15
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 16
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 17
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 18
    EXISTS_WITH_DIFFERENT_LEDGER = 19
    EXISTS_WITH_DIFFERENT_CODE = 20
    EXISTS = 21
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 8
    DEBITS_PENDING_MUST_BE_ZERO = 9
    DEBITS_POSTED_MUST_BE_ZERO = 10
    CREDITS_PENDING_MUST_BE_ZERO = 11
    CREDITS_POSTED_MUST_BE_ZERO = 12
    LEDGER_MUST_NOT_BE_ZERO = 13
    CODE_MUST_NOT_BE_ZERO = 14
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 26
    TOO_MANY_ACCOUNTS = 1006


class TransferStatus(IntEnum):
    """What was decided about a transfer."""

    CREATED = 0xFFFFFFFF
    REQUEST_EXPIRED = 1003
    QUARANTINED = 1004
    LINKED_EVENT_FAILED = 1
    LINKED_EVENT_CHAIN_OPEN = 2
    IMPORTED_EVENT_EXPECTED = 56
    IMPORTED_EVENT_NOT_EXPECTED = 57
    TIMESTAMP_MUST_BE_ZERO = 3
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 58
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 59
    RESERVED_FLAG = 4
    ID_MUST_NOT_BE_ZERO = 5
    ID_MUST_NOT_BE_INT_MAX = 6
    EXISTS_WITH_DIFFERENT_FLAGS = 36
    EXISTS_WITH_DIFFERENT_PENDING_ID = 40
    EXISTS_WITH_DIFFERENT_TIMEOUT = 44
    EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID = 37
    EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID = 38
    EXISTS_WITH_DIFFERENT_AMOUNT = 39
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 41
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 42
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 43
    EXISTS_WITH_DIFFERENT_LEDGER = 67
    EXISTS_WITH_DIFFERENT_CODE = 45
    EXISTS = 46
    ID_ALREADY_FAILED = 68
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 7
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 8
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 9
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 10
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 11
    ACCOUNTS_MUST_BE_DIFFERENT = 12
    PENDING_ID_MUST_BE_ZERO = 13
    PENDING_ID_MUST_NOT_BE_ZERO = 14
    PENDING_ID_MUST_NOT_BE_INT_MAX = 15
    PENDING_ID_MUST_BE_DIFFERENT = 16
    TIMEOUT_RESERVED_FOR_PENDING_TRANSFER = 17
    CLOSING_TRANSFER_MUST_BE_PENDING = 64
    LEDGER_MUST_NOT_BE_ZERO = 19
    CODE_MUST_NOT_BE_ZERO = 20
    DEBIT_ACCOUNT_NOT_FOUND = 21
    CREDIT_ACCOUNT_NOT_FOUND = 22
    ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER = 23
    TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS = 24
    PENDING_TRANSFER_NOT_FOUND = 25
    PENDING_TRANSFER_NOT_PENDING = 26
    PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID = 27
    PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID = 28
    PENDING_TRANSFER_HAS_DIFFERENT_LEDGER = 29
    PENDING_TRANSFER_HAS_DIFFERENT_CODE = 30
    EXCEEDS_PENDING_TRANSFER_AMOUNT = 31
    PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT = 32
    PENDING_TRANSFER_ALREADY_POSTED = 33
    PENDING_TRANSFER_ALREADY_VOIDED = 34
    PENDING_TRANSFER_EXPIRED = 35
    PENDING_TRANSFER_IN_REVIEW = 1007
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 60
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT = 61
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT = 62
    IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO = 63
    DEBIT_ACCOUNT_ALREADY_CLOSED = 65
    CREDIT_ACCOUNT_ALREADY_CLOSED = 66
    DEBIT_ACCOUNT_FROZEN = 1001
    CREDIT_ACCOUNT_FROZEN = 1002
    OVERFLOWS_DEBITS_PENDING = 47
    OVERFLOWS_CREDITS_PENDING = 48
    OVERFLOWS_DEBITS_POSTED = 49
    OVERFLOWS_CREDITS_POSTED = 50
    OVERFLOWS_DEBITS = 51
    OVERFLOWS_CREDITS = 52
    OVERFLOWS_TIMEOUT = 53
    EXCEEDS_CREDITS = 54
    EXCEEDS_DEBITS = 55
    REFUSED_BY_SCREENING = 1009
    TOO_MANY_PENDING_TRANSFERS = 1010


class ControlStatus(IntEnum):
    """What was decided about a control command. What it shares with a transfer's post has that one's numbers."""

    APPLIED = 0xFFFFFFFF
    REQUEST_EXPIRED = 1003
    QUARANTINED = 1004
    LINKED_EVENT_FAILED = 1
    LINKED_EVENT_CHAIN_OPEN = 2
    RESERVED_FIELD = 4
    ACCOUNT_NOT_FOUND = 1005
    PENDING_TRANSFER_NOT_FOUND = 25
    PENDING_TRANSFER_NOT_PENDING = 26
    PENDING_TRANSFER_ALREADY_POSTED = 33
    PENDING_TRANSFER_ALREADY_VOIDED = 34
    PENDING_TRANSFER_EXPIRED = 35
    PENDING_TRANSFER_NOT_IN_REVIEW = 1008
    DEBIT_ACCOUNT_ALREADY_CLOSED = 65
    CREDIT_ACCOUNT_ALREADY_CLOSED = 66
    DEBIT_ACCOUNT_FROZEN = 1001
    CREDIT_ACCOUNT_FROZEN = 1002


class RequestStatus(IntEnum):
    """What is said of a whole request that makes no entry (ADR 0003)."""

    IDEMPOTENCY_KEY_REUSED = 1100
    NOT_DECIDED = 1101
    TENANT_ELSEWHERE = 1102


Status = AccountStatus | TransferStatus | ControlStatus | RequestStatus

TRANSIENT = frozenset(
    {
        TransferStatus.DEBIT_ACCOUNT_NOT_FOUND,
        TransferStatus.CREDIT_ACCOUNT_NOT_FOUND,
        TransferStatus.PENDING_TRANSFER_NOT_FOUND,
        TransferStatus.EXCEEDS_CREDITS,
        TransferStatus.EXCEEDS_DEBITS,
        TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED,
        TransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED,
        TransferStatus.DEBIT_ACCOUNT_FROZEN,
        TransferStatus.CREDIT_ACCOUNT_FROZEN,
        TransferStatus.PENDING_TRANSFER_IN_REVIEW,
        TransferStatus.REFUSED_BY_SCREENING,
        TransferStatus.TOO_MANY_PENDING_TRANSFERS,
    }
)
"""Refusals that another moment might not have given. They poison the transfer's id.

Ask `transient()`: numbers mean different things in different tables (21 is `EXISTS` of an account), and `in` would
compare only numbers.
"""


def transient(status: Status) -> bool:
    """Whether another moment might have decided otherwise."""
    return isinstance(status, TransferStatus) and status in TRANSIENT


def name(status: Status) -> str:
    """The status as the API spells it."""
    return status.name.lower()


def http(status: Status) -> int:
    """The HTTP status of an answer about one command: 201 created, 200 already so, 422 refused, 202 not yet known."""
    if status == CREATED:
        return 201
    if status is RequestStatus.NOT_DECIDED:
        return 202
    if status is RequestStatus.TENANT_ELSEWHERE:
        return 503
    if status in (AccountStatus.EXISTS, TransferStatus.EXISTS) and status.name == "EXISTS":
        return 200
    return 422


def stored(status: Status) -> int:
    """The 16 bits that an entry keeps."""
    return status & STORED_MASK
