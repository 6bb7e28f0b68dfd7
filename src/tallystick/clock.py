"""Time and entropy: the only module that touches either. All else is handed a `Clock` or an `Entropy`."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Instants in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, by the machine's clock; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds from some start; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def cpu_ns(self) -> int:
        """CPU time of this process, all threads."""
        return time.process_time_ns()


class Entropy(Protocol):
    """Unpredictable bytes."""

    def __call__(self, count: int, /) -> bytes:
        """`count` bytes nobody can guess."""
        ...


def system_entropy(count: int, /) -> bytes:
    """From the kernel's generator."""
    return os.urandom(count)
