"""Unsigned 128-bit numbers as (lo, hi) pairs of uint64. Overflow is reported, never wrapped silently.

Every operand must be uint64: Numba makes int64 of `uint64 + 1`, and compares wrongly past 2^63 (DESIGN §4).
"""

from typing import Any

from tallystick.ledger.compiled import ONE, U64_MAX, ZERO, inlined


@inlined
def add(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`a + b` as (lo, hi, overflowed). Overflowed, the pair is the sum modulo 2^128."""
    lo = a_lo + b_lo
    carry = ONE if lo < a_lo else ZERO
    hi = a_hi + b_hi
    overflowed = hi < a_hi
    total = hi + carry
    if total < hi:
        overflowed = True
    return lo, total, overflowed


@inlined
def subtract(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`a − b` as (lo, hi), modulo 2^128: the caller knows that b ≤ a."""
    borrow = ONE if a_lo < b_lo else ZERO
    return a_lo - b_lo, a_hi - b_hi - borrow


@inlined
def subtract_saturated(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`max(a − b, 0)` as (lo, hi)."""
    if less(a_lo, a_hi, b_lo, b_hi):
        return ZERO, ZERO
    return subtract(a_lo, a_hi, b_lo, b_hi)


@inlined
def smaller(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`min(a, b)` as (lo, hi)."""
    if less(a_lo, a_hi, b_lo, b_hi):
        return a_lo, a_hi
    return b_lo, b_hi


@inlined
def add_saturated(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`min(a + b, 2^128 − 1)` as (lo, hi)."""
    lo, hi, overflowed = add(a_lo, a_hi, b_lo, b_hi)
    if overflowed:
        return U64_MAX, U64_MAX
    return lo, hi


@inlined
def less(a_lo: Any, a_hi: Any, b_lo: Any, b_hi: Any) -> Any:
    """`a < b`."""
    return a_hi < b_hi or (a_hi == b_hi and a_lo < b_lo)


@inlined
def is_zero(lo: Any, hi: Any) -> Any:
    """`a == 0`."""
    return lo == ZERO and hi == ZERO


@inlined
def is_max(lo: Any, hi: Any) -> Any:
    """`a == 2^128 − 1`."""
    return lo == U64_MAX and hi == U64_MAX
