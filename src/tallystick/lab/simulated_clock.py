"""The time of a simulation: it passes when it is told to."""

START_NS = 1_800_000_000_000_000_000


class SimulatedClock:
    """Wall and monotonic time of one machine, in ns."""

    def __init__(self) -> None:
        self._now_ns = START_NS
        self._jumped_ns = 0

    def wall_ns(self) -> int:
        return self._now_ns + self._jumped_ns

    def monotonic_ns(self) -> int:
        return self._now_ns - START_NS

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._now_ns += ns

    def jump(self, ns: int) -> None:
        """Set the wall clock forward, or back."""
        self._jumped_ns += ns
