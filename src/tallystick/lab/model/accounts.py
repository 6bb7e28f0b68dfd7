"""Opening accounts: the ladder of TigerBeetle's create_accounts, top to bottom."""

from tallystick.lab.model.books import ModelAccount, ModelBooks
from tallystick.lab.model.events import U128_MAX, Event, user_data
from tallystick.records.commands import AccountFlag, Kind
from tallystick.statuses import AccountStatus

_BOTH_LIMITS = int(AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS)
_KNOWN = sum(AccountFlag)


def account_status(books: ModelBooks, a: Event, accounts_max: int) -> AccountStatus:
    """What becomes of `a`, whose linked, imported and timestamp fields have passed."""
    if a["reserved"]:
        return AccountStatus.RESERVED_FIELD
    if a["flag_bits"] & ~_KNOWN:
        return AccountStatus.RESERVED_FLAG
    if a["id"] == 0:
        return AccountStatus.ID_MUST_NOT_BE_ZERO
    if a["id"] == U128_MAX:
        return AccountStatus.ID_MUST_NOT_BE_INT_MAX
    there = books.accounts.get((a["tenant"], a["id"]))
    if there is not None:
        return _exists(a, there)
    if a["flag_bits"] & _BOTH_LIMITS == _BOTH_LIMITS:
        return AccountStatus.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    for name, status in (
        ("debits_pending", AccountStatus.DEBITS_PENDING_MUST_BE_ZERO),
        ("debits_posted", AccountStatus.DEBITS_POSTED_MUST_BE_ZERO),
        ("credits_pending", AccountStatus.CREDITS_PENDING_MUST_BE_ZERO),
        ("credits_posted", AccountStatus.CREDITS_POSTED_MUST_BE_ZERO),
    ):
        if a[name] != 0:
            return status
    if a["ledger"] == 0:
        return AccountStatus.LEDGER_MUST_NOT_BE_ZERO
    if a["code"] == 0:
        return AccountStatus.CODE_MUST_NOT_BE_ZERO
    if a["flag_bits"] & AccountFlag.IMPORTED and books.regresses(a["tenant"], Kind.ACCOUNT, a["timestamp"]):
        return AccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    if len(books.accounts) >= accounts_max:
        return AccountStatus.TOO_MANY_ACCOUNTS
    return AccountStatus.CREATED


def _exists(a: Event, there: ModelAccount) -> AccountStatus:
    asked, kept = user_data(a), there.user_data
    for differs, status in (
        # An account that a transfer closed has other flags than it was opened with.
        (a["flag_bits"] != there.flags, AccountStatus.EXISTS_WITH_DIFFERENT_FLAGS),
        (asked[0] != kept[0], AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128),
        (asked[1] != kept[1], AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64),
        (asked[2] != kept[2], AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32),
        (a["ledger"] != there.ledger, AccountStatus.EXISTS_WITH_DIFFERENT_LEDGER),
        (a["code"] != there.code, AccountStatus.EXISTS_WITH_DIFFERENT_CODE),
    ):
        if differs:
            return status
    return AccountStatus.EXISTS


def open_account(books: ModelBooks, a: Event, timestamp: int, seq: int) -> int:
    """Enter the account. Returns the time it has: its own if it is imported."""
    created_at = a["timestamp"] if a["flag_bits"] & AccountFlag.IMPORTED else timestamp
    account = ModelAccount(created_at, a["ledger"], a["code"], a["flag_bits"], user_data(a), previous=seq)
    books.add_account((a["tenant"], a["id"]), account)
    return int(created_at)
