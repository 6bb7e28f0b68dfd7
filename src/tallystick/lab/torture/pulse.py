"""Whether the platform still decides anything: one that is hurt again before it has risen is hardly tried at all."""

import threading
from collections.abc import Callable

from tallystick.clock import SystemClock

OUTCOMES = 10
AT_MOST_S = 30.0
POLL_S = 0.05


class Pulse:
    """Told by the number of outcomes that clients have heard of."""

    def __init__(self, outcomes: Callable[[], int], clock: SystemClock) -> None:
        self._outcomes = outcomes
        self._clock = clock

    def wait(self, stopped: threading.Event) -> None:
        """Return once some outcomes more than now are known, or it has taken too long, or all is to stop."""
        enough = self._outcomes() + OUTCOMES
        until_ns = self._clock.monotonic_ns() + round(AT_MOST_S * 1e9)
        while self._outcomes() < enough and self._clock.monotonic_ns() < until_ns and not stopped.wait(POLL_S):
            pass
