import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import money
from tallystick.errors import Invalid


@given(st.integers(0, money.AMOUNT_MAX))
def test_an_amount_is_the_same_as_a_string_and_as_an_integer(amount):
    assert money.parse(str(amount)) == money.parse(amount) == amount


@pytest.mark.parametrize("amount", [0, 1, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**127, money.AMOUNT_MAX])
def test_amounts_at_the_bounds_are_exact(amount):
    assert money.parse(str(amount)) == amount


@pytest.mark.parametrize(
    "value",
    [
        money.AMOUNT_MAX + 1,
        str(money.AMOUNT_MAX + 1),
        "9" * 39,
        "9" * 5000,
        "0" * 40,
        -1,
        "-1",
        "+1",
        "1.0",
        "1e3",
        "1,000",
        "1_000",
        " 1",
        "1\n",
        "",
        "0x10",
        "١٢",
        "NaN",
        1.0,
        float("nan"),
        True,
        None,
        b"1",
        [1],
        {"amount": 1},
    ],
)
def test_anything_else_is_refused_and_the_field_named(value):
    with pytest.raises(Invalid) as caught:
        money.parse(value, "transfers[3].amount")
    assert caught.value.field == "transfers[3].amount"


@given(st.floats())
def test_no_float_is_an_amount(value):
    with pytest.raises(Invalid):
        money.parse(value)
