"""128-bit numbers as pairs, against Python's integers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.ledger import u128

MAX = 2**128 - 1
EDGES = [0, 1, 2**32 - 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, 2**64 + 1, 2**127 - 1, 2**127, MAX - 1, MAX]
NUMBERS = st.sampled_from(EDGES) | st.integers(0, MAX)


def pair(number):
    return np.uint64(number & 0xFFFFFFFFFFFFFFFF), np.uint64(number >> 64)


def whole(lo, hi):
    return int(lo) | int(hi) << 64


def agree(a, b):
    with np.errstate(over="ignore"):
        lo, hi, overflowed = u128.add(*pair(a), *pair(b))
        saturated = u128.add_saturated(*pair(a), *pair(b))
        less = u128.less(*pair(a), *pair(b))
    assert whole(lo, hi) == (a + b) & MAX
    assert bool(overflowed) == (a + b > MAX)
    assert whole(*saturated) == min(a + b, MAX)
    assert bool(less) == (a < b)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(EDGES, EDGES)))
def test_sums_and_order_at_the_edges(a, b):
    agree(a, b)


@given(NUMBERS, NUMBERS)
def test_sums_and_order(a, b):
    agree(a, b)


@pytest.mark.parametrize("number", EDGES)
def test_zero_and_the_maximum_are_known(number):
    assert bool(u128.is_zero(*pair(number))) == (number == 0)
    assert bool(u128.is_max(*pair(number))) == (number == MAX)
