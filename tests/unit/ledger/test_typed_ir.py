"""No kernel computes with a float, or with a uint64 and a signed integer together (DESIGN §4)."""

import os

import numba
import numpy as np
import pytest

from tallystick.compose.warm import warm
from tallystick.ledger import compiled as made
from tallystick.ledger.compiled import ONE, U64, compiled, inlined
from tests.unit.ledger.typed_ir import Walk

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="there are no types uncompiled")


@pytest.fixture(scope="module")
def walked():
    """Every kernel, with every signature that was warmed."""
    warm()
    walk = Walk()
    for kernel in made._called_from_python:
        walk.kernel(kernel)
    return walk


def faults(kernel, *arguments):
    walk = Walk()
    walk.function(kernel, [numba.typeof(argument) for argument in arguments])
    return walk.faults


def test_no_kernel_mixes_signed_and_unsigned_or_computes_with_floats(walked):
    assert walked.faults == []


def test_the_walk_reaches_every_helper_of_the_ledger(walked):
    for name in (
        "kernel.decide",
        "replaying.apply",
        "kernel._write_entry",
        "transfers.check_existing",
        "transfers.check_room",
        "transfers.check_special",
        "resolving.check_post_or_void",
        "resolving.exists_beside_entry",
        "resolving.resolve",
        "expiry.remove",
        "expiry.take_due",
        "chains.take_back",
        "imports.clashes_in_block",
        "pendings.leave",
        "accounts.check_account",
        "accounts.apply_control",
        "u128.add",
        "u128.less",
        "hashing.fold",
        "windows.find",
        "books.touch",
        "invariants._check_row",
    ):
        assert f"tallystick.ledger.{name}" in walked.functions


def helper(number):
    return number + 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda row, number: row[0].created_at + 1, "add of uint64"),
        (lambda row, number: U64(5) - number, "sub of uint64"),
        (lambda row, number: row[0].created_at < number, "lt of uint64"),
        (lambda row, number: row[0].created_at == 0, "eq of uint64"),
        (lambda row, number: row[0].created_at & 1, "and_ of uint64"),
        (lambda row, number: row[0].created_at >> 3, "rshift of uint64"),
        (lambda row, number: min(row[0].created_at, number), "min"),
        (lambda row, number: -row[0].created_at, "minus a uint64"),
        (lambda row, number: number / 2, "float64"),
        (lambda row, number: 0.5, "float64"),
        (lambda row, number: row[0].created_at if number > 5 else number, "float64"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_bad_kernel_is_found(body, said):
    from tallystick.ledger.books import ROW

    found = faults(compiled(body), np.zeros(1, ROW), 7)
    assert any(said in fault for fault in found), found


def test_a_bad_helper_of_a_good_kernel_is_found():
    bad = inlined(helper)

    @compiled
    def good(number):
        return bad(number)

    assert any("helper" in fault and "add of uint64" in fault for fault in faults(good, U64(5)))


def test_a_signed_number_stored_as_unsigned_is_found():
    from tallystick.ledger.books import ROW

    @compiled
    def into_field(rows, cells, number):
        rows[0].created_at = number
        cells[0] = number
        cells[1] = number + 1
        cells[2] = U64(number)
        cells[3] = cells[2] + ONE

    found = faults(into_field, np.zeros(1, ROW), np.zeros(4, "<u8"), 7)
    assert [fault.split(": ")[1] for fault in found] == ["a int64 is stored as uint64"] * 3


def test_a_float_in_a_record_or_a_tuple_is_found():
    @compiled
    def reads(rows, pair):
        return rows[0].amount, pair

    rows = np.zeros(1, [("amount", "<f8")])
    assert faults(reads, rows, (1, 2.0))


def test_plain_unsigned_arithmetic_is_let_through():
    @compiled
    def good(number, small):
        return U64(small) + number * ONE, np.int64(number) - 1, small + 5

    assert faults(good, U64(7), np.uint16(3)) == []
