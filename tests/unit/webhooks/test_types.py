"""The table of types, and the patterns that a subscription asks with."""

import pytest

from tallystick.errors import Invalid
from tallystick.webhooks.types import TABLE, TOLD, Type, asked


def test_every_type_stands_in_the_table_once():
    assert sorted(row.type for row in TABLE) == sorted(Type)


def test_a_star_asks_for_everything_but_tests():
    assert asked(["*"]) == set(TOLD) == set(Type) - {Type.WEBHOOK_TEST}


def test_a_group_asks_for_its_types_only():
    assert asked(["review.*"]) == {Type.REVIEW_APPROVED, Type.REVIEW_REJECTED}
    assert asked(["account.frozen", "review.*", "account.frozen"]) == asked(["review.*"]) | {Type.ACCOUNT_FROZEN}


@pytest.mark.parametrize("pattern", ["", ".*", "transfer", "transfer.", "transfer.cre*", "*.created", "webhook.test"])
def test_what_fits_no_type_is_refused_by_its_place(pattern):
    with pytest.raises(Invalid, match=r"types\[1\]"):
        asked(["transfer.created", pattern])


@pytest.mark.parametrize("patterns", [[], ["*"] * 65])
def test_a_subscription_asks_for_something_in_bounds(patterns):
    with pytest.raises(Invalid, match="types"):
        asked(patterns)
