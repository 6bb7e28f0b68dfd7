"""Filters: TigerBeetle's rules, each named by its field when it is broken."""

import pytest

from tallystick.errors import Invalid
from tallystick.records.filters import (
    AccountFilter,
    AccountFilterFlag,
    ChangeEventsFilter,
    QueryFilter,
    QueryFilterFlag,
)

U128, U64, U32, U16, TIME = 2**128 - 1, 2**64 - 1, 2**32 - 1, 2**16 - 1, 2**63 - 1


def an_account_filter(**fields):
    return AccountFilter(**{"account_id": 1, **fields})


@pytest.mark.parametrize("kind", [an_account_filter, QueryFilter, ChangeEventsFilter])
@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": U32 + 1}, "limit"),
        ({"timestamp_min": -1}, "timestamp_min"),
        ({"timestamp_min": TIME + 1}, "timestamp_min"),
        ({"timestamp_max": TIME + 1}, "timestamp_max"),
        ({"timestamp_min": 6, "timestamp_max": 5}, "timestamp_max"),
        ({"timestamp_min": 1.0}, "timestamp_min"),
        ({"limit": True}, "limit"),
        ({"limit": "7"}, "limit"),
    ],
)
def test_times_and_limits_have_the_same_rules_in_every_filter(kind, fields, culprit):
    with pytest.raises(Invalid) as raised:
        kind(**fields).check()
    assert raised.value.field == culprit


@pytest.mark.parametrize(
    ("asked", "culprit"),
    [
        (AccountFilter(account_id=0), "account_id"),
        (AccountFilter(account_id=U128), "account_id"),
        (an_account_filter(flags=AccountFilterFlag(0)), "flags"),
        (an_account_filter(flags=AccountFilterFlag.REVERSED), "flags"),
        (an_account_filter(flags=8 | 1), "flags"),
        (an_account_filter(flags=U32 + 1), "flags"),
        (an_account_filter(code=U16 + 1), "code"),
        (an_account_filter(user_data_128=U128 + 1), "user_data_128"),
        (QueryFilter(flags=2), "flags"),
        (QueryFilter(ledger=U32 + 1), "ledger"),
        (QueryFilter(code=-1), "code"),
        (QueryFilter(user_data_64=U64 + 1), "user_data_64"),
        (QueryFilter(user_data_32=U32 + 1), "user_data_32"),
    ],
)
def test_a_filter_that_breaks_a_rule_names_the_field(asked, culprit):
    with pytest.raises(Invalid) as raised:
        asked.check()
    assert raised.value.field == culprit


def test_the_largest_values_are_legal():
    most = {"user_data_128": U128, "user_data_64": U64, "user_data_32": U32, "code": U16}
    times = {"timestamp_min": TIME, "timestamp_max": TIME, "limit": U32}
    AccountFilter(account_id=U128 - 1, flags=AccountFilterFlag(7), **most, **times).check()
    QueryFilter(ledger=U32, flags=QueryFilterFlag.REVERSED, **most, **times).check()
    ChangeEventsFilter(**times).check()
    ChangeEventsFilter(timestamp_min=9).check()  # an open end is not before it
