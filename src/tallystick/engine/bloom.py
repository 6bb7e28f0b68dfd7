"""The filter before an id run: "surely not there", or "perhaps", for one cache miss (DESIGN §5).

A blocked Bloom filter: all bits of an id stand in one line of the cache, three in each of two words of it. The line
follows from the upper half of the id's hash, so that a run, which is sorted by hash, fills its filter from front to
back. `test_bloom.py` measures how often it says "perhaps" of an id that is not there.

Source: Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters" (2007).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.ledger.compiled import ONE, U64, compiled, inlined

BITS_AN_ID = 12
LINE_WORDS = 8

_LINE_BITS = 64 * LINE_WORDS
_LINE_SHIFT = U64(3)
_32 = U64(32)
_MIX = U64(0x9E3779B97F4A7C15)  # odd, its bits in no order: spreads the hash's lower half over all 64 bits
_FIRST_WORD = U64(61)
_SECOND_WORD = U64(58)
_IN_LINE = U64(7)
_IN_WORD = U64(63)
_FIRST_BITS = (U64(52), U64(46), U64(40))
_SECOND_BITS = (U64(34), U64(28), U64(22))


def empty(ids: int) -> npt.NDArray[np.uint64]:
    """A filter with room for so many ids: whole cache lines, at least one."""
    lines = max(1, -(-ids * BITS_AN_ID // _LINE_BITS))
    return np.zeros(lines * LINE_WORDS, "<u8")


@inlined
def _places(words: Any, hashed: Any) -> Any:
    """Two words of the filter, and the bits of this hash in each."""
    line = ((hashed >> _32) * (words >> _LINE_SHIFT)) >> _32
    mixed = hashed * _MIX
    first = (line << _LINE_SHIFT) | (mixed >> _FIRST_WORD)
    second = (line << _LINE_SHIFT) | ((mixed >> _SECOND_WORD) & _IN_LINE)
    first_bits = (
        (ONE << ((mixed >> _FIRST_BITS[0]) & _IN_WORD))
        | (ONE << ((mixed >> _FIRST_BITS[1]) & _IN_WORD))
        | (ONE << ((mixed >> _FIRST_BITS[2]) & _IN_WORD))
    )
    second_bits = (
        (ONE << ((mixed >> _SECOND_BITS[0]) & _IN_WORD))
        | (ONE << ((mixed >> _SECOND_BITS[1]) & _IN_WORD))
        | (ONE << ((mixed >> _SECOND_BITS[2]) & _IN_WORD))
    )
    return first, first_bits, second, second_bits


@compiled
def add(words: Any, rows: Any) -> Any:
    """Let the filter know the hashes in column 0 of `rows`."""
    size = U64(words.shape[0])
    for k in range(rows.shape[0]):
        first, first_bits, second, second_bits = _places(size, rows[k, 0])
        words[first] |= first_bits
        words[second] |= second_bits


@inlined
def perhaps(words: Any, hashed: Any) -> Any:
    """False: no id with this hash was added. True: perhaps one was."""
    first, first_bits, second, second_bits = _places(U64(words.shape[0]), hashed)
    return ((words[first] & first_bits) ^ first_bits) | ((words[second] & second_bits) ^ second_bits) == U64(0)
