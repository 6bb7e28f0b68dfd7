import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import ids
from tallystick.cli.payout_file import OPTIONAL, REQUIRED, Fault, Payout, read, request_id

HEADER = ",".join(REQUIRED)
A, B = "a" * 32, "b" * 32


def row(**changes: str) -> str:
    values = {
        "batch": "june",
        "reference": "1",
        "debit_account_id": A,
        "credit_account_id": B,
        "amount": "100",
        "ledger": "978",
        "code": "7",
    }
    return ",".join((values | changes).values())


def file(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def faults(data: bytes) -> list[str]:
    payouts, found = read(data)
    assert found, payouts
    return [str(fault) for fault in found]


def test_a_good_row_is_understood_whole() -> None:
    payouts, found = read(file(row()))
    assert found == []
    request = request_id("june", "1")
    assert payouts == [Payout(2, "june", "1", request, ids.derived(request, 0), int(A, 16), int(B, 16), 100, 978, 7)]


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_empty() -> None:
    header = ",".join([*OPTIONAL, *reversed(REQUIRED)])
    first = f"{'c' * 32},18446744073709551615,7,7,978,100,{B},{A},1,june"
    second = f",,,7,978,100,{B},{A},2,june"
    payouts, found = read(file(first, second, header=header))
    assert found == []
    assert [(p.user_data_128, p.user_data_64, p.user_data_32) for p in payouts] == [
        (int("c" * 32, 16), (1 << 64) - 1, 7),
        (0, 0, 0),
    ]


def test_spreadsheet_habits_are_understood() -> None:
    rows = [row(), "", " , , , , , , ", row(reference='"2"', amount=" 5 ")]
    data = b"\xef\xbb\xbf" + "\r\n".join([HEADER, *rows, ""]).encode()
    payouts, found = read(data)
    assert found == []
    assert [(p.line, p.amount) for p in payouts] == [(2, 100), (5, 5)]


@pytest.mark.parametrize(
    ("column", "text", "what"),
    [
        ("amount", "12.50", "must be a string of decimal digits"),
        ("amount", "-5", "must be a string of decimal digits"),
        ("amount", "1e3", "must be a string of decimal digits"),
        ("amount", "1 000", "must be a string of decimal digits"),
        ("amount", str(1 << 128), "must be between 0 and 2^128 - 1"),
        ("amount", "0", "must be above zero"),
        ("amount", "", "must be a string of decimal digits"),
        ("debit_account_id", "xyz", "must be 32 hex digits or a UUID"),
        ("debit_account_id", "0" * 32, "must not be zero or all ones"),
        ("credit_account_id", "f" * 32, "must not be zero or all ones"),
        ("credit_account_id", A, "money must go to another"),
        ("ledger", "0", "must be a whole number from 1 to 4294967295"),
        ("ledger", "EUR", "must be a whole number from 1"),
        ("ledger", "4294967296", "must be a whole number from 1"),
        ("code", "65536", "must be a whole number from 1 to 65535"),
        ("code", "٧", "must be a whole number"),
        ("code", "²", "must be a whole number"),
        ("batch", "", "is empty"),
        ("reference", "x" * 101, "has 101 characters"),
        ("reference", "a\tb", "cannot be printed"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(column: str, text: str, what: str) -> None:
    (told,) = faults(file(row(reference="0"), row(**{column: text})))
    assert told.startswith(f"line 3, {column}: ")
    assert what in told


@pytest.mark.parametrize(
    ("column", "text"),
    [("user_data_128", "x"), ("user_data_64", str(1 << 64)), ("user_data_32", str(1 << 32)), ("user_data_64", "-1")],
)
def test_a_bad_optional_cell_is_named_too(column: str, text: str) -> None:
    (told,) = faults(file(f"{row()},{text}", header=f"{HEADER},{column}"))
    assert told.startswith(f"line 2, {column}: ")


def test_every_fault_of_every_row_is_listed() -> None:
    told = faults(file(row(amount="x", code="0"), row(reference="2"), row(reference="3", ledger="-1")))
    assert [each.split(":")[0] for each in told] == ["line 2, amount", "line 2, code", "line 4, ledger"]


def test_the_same_payout_twice_is_a_fault_that_names_both_lines() -> None:
    (told,) = faults(file(row(), row(reference="2"), row(amount="5")))
    assert told.startswith("line 4, reference: ")
    assert "stands in line 2 already" in told


def test_lines_are_counted_in_the_file_even_if_a_cell_holds_line_breaks() -> None:
    told = faults(file(row(reference='"a\nb"'), row(amount="x")))
    assert told[0].startswith("line 2, reference: holds a line break")
    assert told[1].startswith("line 4, amount: ")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "line 1: the file is empty"),
        (b"\n\n", "line 1: the file is empty"),
        (file(), "no payouts below the column names"),
        (HEADER.replace(",", ";").encode() + b"\n", "line 1: columns must be separated by commas"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "save the file as UTF-8"),
        (file("caf\xe9").decode().encode("latin-1"), "line 2: not UTF-8"),
        (file("a\0b"), "line 2: holds a zero byte"),
        (file(row() + ",extra"), "line 2: has 8 cells, the first line names 7 columns"),
        (file("june,1"), "line 2: has 2 cells"),
        (file('june,"1,' + A), "line 2: cannot be read as CSV"),
        (file(row(), header=HEADER.replace("amount", "amout")), "line 1, amount: this column is missing"),
        (file(row(), header=HEADER.replace("amount", "amout")), "line 1, amout: unknown; there are batch"),
        (file(row() + ",1", header=HEADER + ",code"), "line 1, code: named twice"),
        (file(row() + ",1", header=HEADER + ","), "line 1, column 8: unknown"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_wrong(data: bytes, what: str) -> None:
    assert any(what in each for each in faults(data))


def test_a_file_with_any_fault_gives_every_fault_and_the_caller_sends_nothing() -> None:
    payouts, found = read(file(row(), row(reference="2", amount="?")))
    assert found == [Fault(3, "amount", found[0].what)]
    assert [p.reference for p in payouts] == ["1"]


def test_request_ids_stand_for_ever() -> None:
    assert ids.show(request_id("june", "1")) == "e49e9c2478b78386b19b305df2702a80"


@given(st.lists(st.tuples(st.text("ab1-/", min_size=1), st.text("ab1-/", min_size=1)), min_size=2, unique=True))
def test_no_two_pairs_of_batch_and_reference_share_a_request(pairs: list[tuple[str, str]]) -> None:
    assert len({request_id(batch, reference) for batch, reference in pairs}) == len(pairs)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    payouts, found = read(data)
    assert payouts or found


@given(st.text("abc019,;\"\n\r \t'", max_size=80))
def test_no_text_below_a_good_header_makes_it_crash(text: str) -> None:
    payouts, found = read(HEADER.encode() + b"\n" + text.encode())
    assert payouts or found
