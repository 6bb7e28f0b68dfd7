"""Counters, gauges and histograms as 64-bit words of one piece of memory. Pure: who owns the memory is not known here.

Made for a hot path: to count is one addition, about 70 ns, without lock or allocation. So each family is written by
one thread only; readers may see one word newer than another, which a scrape cannot tell from its own timing. Values
are whole numbers (nanoseconds, bytes, entries) and become seconds only where they are shown.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

import msgspec

Words = memoryview
"""Unsigned 64-bit words, writable."""
_MASK = (1 << 64) - 1  # what is measured wrongly must not end what is measured


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is counted, by its name in Prometheus (counters without their `_total`)."""

    name: str
    meaning: str
    kind: Literal["counter", "gauge", "histogram"]
    per_unit: int = 1
    """How many of what is counted make one of what is shown: 10⁹ where ns are counted and seconds shown."""
    bounds: tuple[int, ...] = ()
    """Of a histogram: the upper ends of its buckets, inclusive, ascending, as counted."""

    @property
    def words(self) -> int:
        """Words it takes: of a histogram a count for each bucket, one for what is beyond, and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


class Counted(msgspec.Struct, frozen=True):
    """A family and its words, as read."""

    family: Family
    values: tuple[int, ...]


class Counter:
    """Only ever grows. One thread adds."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: Words, at: int) -> None:
        self._words = words
        self._at = at

    def add(self, count: int) -> None:
        """So many more."""
        self._words[self._at] = (self._words[self._at] + count) & _MASK


class Gauge:
    """Says how something is now. One thread sets it."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: Words, at: int) -> None:
        self._words = words
        self._at = at

    def set(self, value: int) -> None:
        """It is so much, 0 to 2^64 − 1."""
        self._words[self._at] = value & _MASK


class Histogram:
    """How often each size of something was met. One thread notes."""

    __slots__ = ("_at", "_bounds", "_sum_at", "_words")

    def __init__(self, words: Words, at: int, bounds: tuple[int, ...]) -> None:
        self._words = words
        self._at = at
        self._bounds = bounds
        self._sum_at = at + len(bounds) + 1

    def note(self, value: int) -> None:
        """Met once more. Below zero counts as zero: two clocks may differ by a little."""
        words = self._words
        words[self._at + bisect_left(self._bounds, value)] += 1
        if value > 0:
            words[self._sum_at] = (words[self._sum_at] + value) & _MASK


class Measures:
    """The families of one process, in its memory. Raises `KeyError` for a name that is none."""

    def __init__(self, families: Sequence[Family], words: Words) -> None:
        if len(words) != size_of(families):
            raise ValueError(f"{size_of(families)} words are wanted, not {len(words)}")
        self._words = words
        self._places: dict[str, tuple[Family, int]] = {}
        at = 0
        for family in families:
            self._places[family.name] = (family, at)
            at += family.words

    def counter(self, name: str) -> Counter:
        """The counter of that name."""
        return Counter(self._words, self._place(name, "counter")[1])

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name."""
        return Gauge(self._words, self._place(name, "gauge")[1])

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name."""
        family, at = self._place(name, "histogram")
        return Histogram(self._words, at, family.bounds)

    def _place(self, name: str, kind: str) -> tuple[Family, int]:
        family, at = self._places[name]
        if family.kind != kind:
            raise KeyError(f"{name} is a {family.kind}, no {kind}")
        return family, at

    def read(self) -> list[Counted]:
        """All of it, as it is now."""
        return [Counted(family, tuple(self._words[at : at + family.words])) for family, at in self._places.values()]


def size_of(families: Sequence[Family]) -> int:
    """Words that so many families take."""
    return sum(family.words for family in families)


def in_memory(families: Sequence[Family]) -> Measures:
    """Measures that nobody else reads."""
    return Measures(families, memoryview(bytearray(8 * size_of(families))).cast("Q"))
