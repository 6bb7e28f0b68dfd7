"""The engine's time: runs with the monotonic clock, drawn gently towards the wall clock (DESIGN §4).

Timestamps of entries must strictly increase, whatever the machine's clock does. A jump of the wall clock of more
than a second is not followed, and is told.
"""

from tallystick.clock import Clock
from tallystick.errors import Unavailable

JUMP_NS = 1_000_000_000
SLEW_DIVISOR = 2_000
"""Time drifts towards the wall clock by at most 1/2,000 of what passed."""
AHEAD_NS_MAX = 24 * 3600 * 1_000_000_000


class Timekeeper:
    """Gives the `now` of each batch."""

    def __init__(self, clock: Clock, last_timestamp: int, accept_clock: bool = False) -> None:
        """`last_timestamp` is the journal's newest (0: none). Raises `Unavailable` for a clock far ahead of it."""
        self._clock = clock
        self._now = clock.wall_ns()
        self._seen_at = clock.monotonic_ns()
        self.jumped = False
        """Whether the wall clock is more than a second away from our time: an alarm."""
        if last_timestamp and self._now - last_timestamp > AHEAD_NS_MAX and not accept_clock:
            hours = (self._now - last_timestamp) // 3_600_000_000_000
            raise Unavailable(
                f"the clock is {hours} hours ahead of the journal's last entry; "
                "if the clock is right, start once with --accept-clock (TALLY_ACCEPT_CLOCK=1)"
            )

    def now(self) -> int:
        """Nanoseconds since the epoch, by our time; never goes back."""
        seen_at = self._clock.monotonic_ns()
        passed = max(0, seen_at - self._seen_at)
        self._seen_at = seen_at
        self._now += passed
        away = self._clock.wall_ns() - self._now
        self.jumped = not -JUMP_NS <= away <= JUMP_NS
        if not self.jumped:
            slew = passed // SLEW_DIVISOR
            self._now += max(-slew, min(slew, away))
        return self._now

    def after(self, last_timestamp: int) -> int:
        """The `now` of a batch: greater than every timestamp before it."""
        return max(last_timestamp + 1, self.now())
