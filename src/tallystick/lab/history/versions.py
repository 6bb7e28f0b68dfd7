"""What one account or transfer looked like, and while which positions of the journal it did.

A position is a number of blocks: at position p the first p blocks are decided, and nothing else. Look-ups see the
books between two blocks, never in the middle of one.
"""

from dataclasses import dataclass, field

NOT_THERE = b""
"""How that looks which does not exist yet."""
FOR_EVER = 1 << 62

Span = tuple[int, int]
"""First and last position."""


@dataclass(slots=True)
class Versions:
    """All that it ever looked like."""

    _current: bytes = NOT_THERE
    _since: int = 0
    _past: dict[bytes, list[Span]] = field(default_factory=dict)

    def change(self, row: bytes, position: int) -> None:
        """From `position` on it looks like this."""
        if row != self._current:
            if self._since < position:
                self._past.setdefault(self._current, []).append((self._since, position - 1))
            self._current, self._since = row, position

    def spans(self, row: bytes) -> list[Span]:
        """When it looked like `row`, in order; empty if it never did."""
        found = list(self._past.get(row, ()))
        if row == self._current:
            found.append((self._since, FOR_EVER))
        return found


NEVER_THERE = Versions()
"""Of what the journal does not know."""


def common(spans: list[Span], others: list[Span]) -> list[Span]:
    """The positions that are in both; both lists are in order and without overlap."""
    found = []
    at = 0
    for low, high in spans:
        while at < len(others) and others[at][1] < low:
            at += 1
        number = at
        while number < len(others) and others[number][0] <= high:
            found.append((max(low, others[number][0]), min(high, others[number][1])))
            number += 1
    return found


def earliest(spans: list[Span], low: int, high: int) -> int | None:
    """The first position from `low` to `high` that is in one of them."""
    return next((max(low, start) for start, end in spans if end >= low and start <= high), None)
