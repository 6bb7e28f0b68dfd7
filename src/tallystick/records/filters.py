"""What a query asks for: TigerBeetle's filters, field for field (its reference for AccountFilter and QueryFilter).

A filter that breaks a rule is `Invalid` here and names the field, where TigerBeetle answers with nothing. Fields
that are zero ask nothing. Timestamps are ns since the epoch, both bounds included.
"""

from enum import IntFlag

import msgspec

from tallystick.errors import Invalid

LIMIT_MAX = 8190
"""Results that one query gives at most, however high its limit is; page on by timestamp."""
_U128_MAX = (1 << 128) - 1
_TIMESTAMP_MAX = (1 << 63) - 1
_MOST = {
    "account_id": _U128_MAX - 1,
    "user_data_128": _U128_MAX,
    "user_data_64": (1 << 64) - 1,
    "user_data_32": (1 << 32) - 1,
    "ledger": (1 << 32) - 1,
    "code": (1 << 16) - 1,
    "timestamp_min": _TIMESTAMP_MAX,
    "timestamp_max": _TIMESTAMP_MAX,
    "limit": (1 << 32) - 1,
    "flags": (1 << 32) - 1,
}
_LEAST = {"account_id": 1, "limit": 1}


class AccountFilterFlag(IntFlag):
    """TigerBeetle's `AccountFilter.flags`."""

    DEBITS = 1 << 0
    """Transfers that debit the account."""
    CREDITS = 1 << 1
    """Transfers that credit the account."""
    REVERSED = 1 << 2
    """The newest first."""


class QueryFilterFlag(IntFlag):
    """TigerBeetle's `QueryFilter.flags`."""

    REVERSED = 1 << 0
    """The newest first."""


class AccountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which transfers, or balances, of one account."""

    account_id: int
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = LIMIT_MAX
    flags: AccountFilterFlag = AccountFilterFlag.DEBITS | AccountFilterFlag.CREDITS

    def check(self) -> None:
        """Raises `Invalid` for the first field that breaks a rule."""
        _check(self)
        _check_flags(self.flags, AccountFilterFlag)
        if not self.flags & (AccountFilterFlag.DEBITS | AccountFilterFlag.CREDITS):
            raise Invalid("flags", "must ask for debits, credits or both")


class QueryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts, or transfers, of a tenant."""

    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    ledger: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = LIMIT_MAX
    flags: QueryFilterFlag = QueryFilterFlag(0)

    def check(self) -> None:
        """Raises `Invalid` for the first field that breaks a rule."""
        _check(self)
        _check_flags(self.flags, QueryFilterFlag)


class ChangeEventsFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which change events of a tenant."""

    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = LIMIT_MAX

    def check(self) -> None:
        """Raises `Invalid` for the first field that breaks a rule."""
        _check(self)


Filter = AccountFilter | QueryFilter | ChangeEventsFilter


def _check(asked: Filter) -> None:
    for name in asked.__struct_fields__:
        value = getattr(asked, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Invalid(name, f"must be an integer, not {type(value).__name__}")
        least, most = _LEAST.get(name, 0), _MOST[name]
        if not least <= value <= most:
            raise Invalid(name, f"must be between {least} and {most}")
    if asked.timestamp_max and asked.timestamp_min > asked.timestamp_max:
        raise Invalid("timestamp_max", "must not be before timestamp_min")


def _check_flags(flags: int, known: type[IntFlag]) -> None:
    every = sum(int(flag) for flag in known)
    if int(flags) | every != every:
        raise Invalid("flags", "holds bits that mean nothing")
