"""A timer that event loops can watch like a socket, exact to microseconds where their own count in milliseconds.

It is Linux's timerfd (timerfd_create(2)), which Python offers from 3.13 on; until then by way of the C library.
"""

import ctypes
import os

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
_SECOND_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timespec(nanoseconds: int) -> _Timespec:
    return _Timespec(*divmod(nanoseconds, _SECOND_NS))


class Ticks:
    """Becomes readable at `start_ns` (monotonic) and every `gap_ns` after. Raises `OSError` if the system has none."""

    def __init__(self, start_ns: int, gap_ns: int) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self.descriptor = int(library.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        wanted = _Itimerspec(_timespec(gap_ns), _timespec(start_ns))
        if library.timerfd_settime(self.descriptor, TFD_TIMER_ABSTIME, ctypes.byref(wanted), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def read(self) -> int:
        """How many ticks there were since the last call; it is readable again at the next."""
        try:
            return int.from_bytes(os.read(self.descriptor, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """No more ticks."""
        os.close(self.descriptor)
