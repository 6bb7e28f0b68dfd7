import bisect

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba.core import ir, types

from tallystick.engine import bloom, idprobes, idsorting
from tallystick.engine.idruns import everything, nothing
from tallystick.ledger import compiled
from tallystick.ledger.compiled import U64
from tests.unit.engine.id_model import digest

MAX = (1 << 64) - 1
EDGES = [0, 1, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, MAX]
WORDS = st.one_of(st.sampled_from(EDGES), st.integers(0, MAX))
IDS = st.tuples(WORDS, WORDS)


def number(lo, hi):
    return hi << 64 | lo


def columns(ids):
    return np.array([lo for lo, _ in ids], "<u8"), np.array([hi for _, hi in ids], "<u8")


def rows_of(hashes):
    rows = np.zeros((len(hashes), 2), "<u8")
    rows[:, 0] = hashes
    rows.setflags(write=False)
    return rows


@given(st.lists(WORDS, max_size=300), st.lists(WORDS, min_size=1, max_size=20))
@example([], [0])
@example([MAX] * 50, [MAX, MAX - 1, 0])
@example([0] * 50 + [MAX], [0, 1, MAX])
@example(list(range(300)), [0, 150, 299, 300, MAX])
def test_the_first_row_of_a_hash_is_found_however_hashes_are_spread(hashes, wanted):
    hashes = sorted(hashes)
    rows = rows_of(hashes)
    for hashed in [*wanted, *hashes[:20]]:
        assert idprobes.first_at(rows, U64(hashed)) == bisect.bisect_left(hashes, hashed)


def test_the_first_row_is_found_in_a_run_of_a_million():
    hashes = np.sort(np.random.default_rng(3).integers(1, MAX, 1_000_000, dtype="<u8"))
    rows = rows_of(hashes)
    for at in (0, 1, 499_999, 999_998, 999_999):
        assert idprobes.first_at(rows, hashes[at]) == at
        assert idprobes.first_at(rows, hashes[at] + U64(1)) == at + 1


@given(st.lists(st.tuples(IDS, st.booleans()), max_size=20), IDS)
def test_a_range_holds_what_lies_between_its_smallest_and_largest_marked_id(marked, asked):
    bounds = nothing()
    ids = [one for one, _ in marked]
    mask = np.array([is_marked for _, is_marked in marked], bool)
    assert idprobes.widen(bounds, *columns(ids), mask) == mask.sum()
    numbers = [number(*one) for one, is_marked in marked if is_marked]
    holds = bool(numbers) and min(numbers) <= number(*asked) <= max(numbers)
    assert bool(idprobes.in_range(bounds, U64(asked[0]), U64(asked[1]))) == holds


@given(IDS)
def test_everything_holds_every_id_and_nothing_none(asked):
    lo, hi = U64(asked[0]), U64(asked[1])
    assert idprobes.in_range(everything(), lo, hi)
    # (all ones, all ones) to (0, 0): empty, since the smallest is the larger
    assert not idprobes.in_range(nothing(), lo, hi)


@given(st.lists(st.lists(IDS, min_size=1, max_size=3), max_size=6), st.lists(IDS, max_size=5))
@example([[(0, 0), (2**64 - 1, 2**64 - 1)]], [])
def test_a_run_is_reached_if_its_range_meets_the_batchs(runs, asked):
    bounds = np.empty((len(runs), 4), "<u8")
    for place, ids in enumerate(runs):
        bounds[place] = nothing()
        idprobes.widen(bounds[place], *columns(ids), np.ones(len(ids), bool))
    reached = np.zeros(len(runs), bool)
    count = idprobes.reach(bounds, *columns(asked), np.ones(len(asked), bool), reached)
    numbers = [number(*one) for one in asked]
    expected = []
    for ids in runs:
        of_run = [number(*one) for one in ids]
        expected.append(bool(numbers) and min(numbers) <= max(of_run) and min(of_run) <= max(numbers))
    assert reached.tolist() == expected
    assert count == sum(expected)


def _functions():
    return [
        value
        for module in (bloom, idprobes, idsorting)
        for value in vars(module).values()
        if hasattr(value, "signatures") and value.py_func.__module__ == module.__name__
    ]


def _faults(function, signature):
    """Floats, and operations on signed and unsigned 64-bit numbers together, in the typed code of a function."""
    # Compiled anew: what comes from the cache has forgotten its types.
    fresh = numba.njit(nogil=True, error_model="numpy")(function)
    fresh.compile(signature)
    typed = fresh.overloads[signature].type_annotation
    faults = [name for name, kind in typed.typemap.items() if isinstance(kind, types.Float)]
    for expression, call in typed.calltypes.items():
        if isinstance(expression, ir.Expr) and expression.op in ("binop", "inplace_binop"):
            signs = {arg.signed for arg in call.args if isinstance(arg, types.Integer) and arg.bitwidth == 64}
            if len(signs) == 2:
                faults.append(str(expression))
    return faults


needs_compiler = pytest.mark.skipif(bool(compiled.config.DISABLE_JIT), reason="nothing is compiled")


@needs_compiler
def test_the_next_test_would_see_a_float_and_a_mix_of_signs():
    assert _faults(lambda x: x + 1, (types.uint64,))
    assert _faults(lambda x: x / 2, (types.int64,))
    assert not _faults(lambda x: x + x, (types.uint64,))


@needs_compiler
def test_no_compiled_function_has_a_float_or_mixes_signed_and_unsigned_64_bit_numbers():
    digest()  # calls them all
    idprobes.first_at(rows_of([1]), U64(1))
    idprobes.in_range(everything(), U64(1), U64(1))
    bloom.perhaps(bloom.empty(1), U64(1))
    checked = 0
    for function in _functions():
        for signature in function.signatures:
            assert _faults(function.py_func, signature) == [], function
            checked += 1
    assert checked >= 10
