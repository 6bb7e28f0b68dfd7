"""How a follower that is far behind leaves payments their processor: while some come in, it takes little at a time.

That it runs only when nothing else wants to is not enough on few processors (ADR 0015). So while payments come it takes
a small share of what it could, in short parts with rests between them; more where that would not gain on what comes in;
and when none come, or it is nearly level, all it can get.
"""

from tallystick.clock import Clock

PART_S = 0.02
"""How long a part takes, about: what a payment may find a processor busy for."""
GAIN = 2.0
"""Entries taken in for each that comes in, at least."""
NEAR_S = 1.0
"""With less work than this left a follower is not far behind: somebody may wait for it to be level."""
WINDOW_NS = 1_000_000_000
"""Over so long is counted what comes in."""
REST_S_MAX = 5.0
_SECOND = 1_000_000_000


class Pace:
    """One follower's. Not safe for concurrent calls."""

    def __init__(self, clock: Clock, speed: int, share: float) -> None:
        """`speed`: entries a second, about, when the follower has a processor to itself. `share`: what it takes of that
        while payments come, above 0; with 1 it never rests.
        """
        self._clock = clock
        self._speed = speed
        self._share = share
        self._is_held = False
        self._not_before_ns = 0
        self._since_ns = 0
        self._since_end: int | None = None
        self._arrivals = 0.0  # a second
        self._are_known = False

    def rest_s(self) -> float:
        """For how long nothing more is to be taken in; 0: go on."""
        return max(0.0, (self._not_before_ns - self._clock.monotonic_ns()) / _SECOND)

    def see(self, end: int) -> None:
        """The journal's end just now: who is told it while level knows at once whether payments come."""
        now_ns = self._clock.monotonic_ns()
        if self._since_end is None:
            self._since_ns, self._since_end = now_ns, end
        elif now_ns - self._since_ns >= WINDOW_NS:
            self._arrivals = (end - self._since_end) * _SECOND / (now_ns - self._since_ns)
            self._are_known = True
            self._since_ns, self._since_end = now_ns, end

    def part(self, left: int, end: int) -> int | None:
        """How many entries to take in at a time, of `left` up to the journal's `end`; None: as many as one likes."""
        self.see(end)
        come = not self._are_known or self._arrivals > 0 or end != self._since_end
        self._is_held = come and self._share < 1 and left > self._speed * NEAR_S
        return max(1, int(self._speed * PART_S)) if self._is_held else None

    def took(self, entries: int) -> None:
        """So many were taken in, as `part` said: begins the rest after them."""
        if self._is_held:
            a_second = max(self._share * self._speed, GAIN * self._arrivals)
            rest_s = min(entries / a_second, REST_S_MAX)
            self._not_before_ns = self._clock.monotonic_ns() + round(rest_s * _SECOND)
