"""The same row is the same payment in every run, and money is never rounded away."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tallystick.errors import Invalid
from tallystick.lab.replay import mapping, payments
from tallystick.lab.replay.mapping import Currency, Nanoseconds
from tallystick.lab.replay.payments import Reader, instant, minor_units
from tallystick.lab.replay.progress import Watermark

EUR, JPY = Currency(978, 2), Currency(392, 0)
ROW = {"id": "7", "payer": "ada", "payee": "shop", "amount": "12.34", "time": "2026-01-01T00:00:00"}


def read(row, text="", history="h"):
    return Reader(mapping.read(text), history).payment(3, row)


def test_a_row_is_the_same_payment_wherever_it_stands_and_another_history_s_is_not():
    first = read(ROW)
    assert (first.amount, first.ledger, first.currency, first.code) == (1234, 978, "EUR", 1)
    again = Reader(mapping.read(""), "h").payment(99, dict(reversed(ROW.items())))
    assert again.transfer_id == first.transfer_id
    assert read(ROW, history="i").transfer_id != first.transfer_id
    assert read(ROW | {"id": "8"}).transfer_id != first.transfer_id
    assert payments.request_id("h", [first]) != payments.request_id("h", [first, again])


def test_without_an_id_column_the_row_s_number_is_its_name():
    row = {name: value for name, value in ROW.items() if name != "id"}
    assert read(row).name == "3"


def test_ids_are_pinned_for_changing_them_would_pay_twice():
    found = read(ROW)
    assert f"{found.transfer_id:032x}" == PINNED[0]
    assert f"{found.debit_account_id:032x}" == PINNED[1]
    assert f"{payments.request_id('h', [found]):032x}" == PINNED[2]


PINNED = (
    "6147134e41f9d746b167d0ad10bcc0c3",
    "0dd956bb2e25f1a08160f4257c08275b",
    "58e2c814aea490375a14c8cf8156749b",
)


def test_one_number_is_one_account_or_two_as_the_mapping_says():
    row = ROW | {"payer": "1", "payee": "1"}
    assert read(row).debit_account_id != read(row).credit_account_id
    with pytest.raises(Invalid, match="pays itself"):
        read(row, "[accounts]\npayer = 'x'\npayee = 'x'")


@pytest.mark.parametrize(
    ("value", "currency", "unit", "minor"),
    [
        ("12.34", EUR, "major", 1234),
        ("12", EUR, "major", 1200),
        ("1234", EUR, "minor", 1234),
        ("500", JPY, "major", 500),
        (57.16, EUR, "major", 5716),
        (1108.8500000000001, EUR, "major", 110885),
        (0.29, EUR, "major", 29),
        (146.0, EUR, "major", 14600),
        (12, EUR, "major", 1200),
        ("1e2", EUR, "major", 10000),
        ("170141183460469231731687303715884.10", EUR, "major", 17014118346046923173168730371588410),
    ],
)
def test_amounts_become_minor_units_exactly(value, currency, unit, minor):
    assert minor_units(value, currency, unit, "amount") == minor


@pytest.mark.parametrize(
    "value",
    [
        "12.345",
        12.345,
        "-1",
        -1.0,
        "",
        None,
        "abc",
        "1,000",
        "NaN",
        float("inf"),
        True,
        "0.5e-2",
        "1e99",
        "1e999999999",
    ],
)
def test_what_is_no_exact_amount_is_refused_and_named(value):
    with pytest.raises(Invalid, match="amount"):
        minor_units(value, EUR, "major", "amount")


@pytest.mark.parametrize(
    "value",
    [
        1767225600,
        "1767225600",
        "1767225600000",
        "1767225600000000",
        1767225600000000000,
        Nanoseconds(1767225600000000000),
        "2026-01-01T00:00:00Z",
        "2026-01-01 00:00:00",
        "2026-01-01T01:00:00+01:00",
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_instants_are_understood_in_their_usual_spellings(value):
    assert instant(value, "time") == 1767225600 * 10**9


def test_nanoseconds_of_early_years_are_not_taken_for_another_unit():
    assert instant(Nanoseconds(5), "time") == 5


@pytest.mark.parametrize("value", ["", None, "yesterday", "1e99", "nan"])
def test_what_is_no_instant_is_refused(value):
    with pytest.raises(Invalid, match="time"):
        instant(value, "time")


def test_the_watermark_passes_no_row_that_is_not_done():
    mark = Watermark(10)
    for row in (12, 10, 14):
        mark.done(row)
    assert mark.at == 11
    mark.done(11)
    assert mark.at == 13
