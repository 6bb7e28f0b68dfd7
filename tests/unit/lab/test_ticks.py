import os
import select

from tallystick.clock import SystemClock
from tallystick.lab.ticks import Ticks


def test_ticks_come_at_their_times_and_are_counted() -> None:
    clock = SystemClock()
    start_ns = clock.monotonic_ns() + 200_000_000  # far enough that a busy machine looks before it
    ticks = Ticks(start_ns, 1_000_000)
    try:
        assert ticks.read() == 0
        seen = 0
        while seen < 5:
            assert select.select([ticks.descriptor], [], [], 10)[0], "no tick within 10 s"
            seen += ticks.read()
            assert clock.monotonic_ns() >= start_ns + (seen - 1) * 1_000_000
    finally:
        ticks.close()


def test_a_closed_timer_holds_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Ticks(1, 1_000).close()
    assert len(os.listdir("/proc/self/fd")) == before
