"""Time and entropy: the only module that touches either. All else is handed a `Clock` or an `Entropy`."""

import mmap
import os
import time
from pathlib import Path
from typing import Protocol

from tallystick.errors import Invalid

OFFSET_BYTES = 8


class Clock(Protocol):
    """Instants in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, by the machine's clock; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds from some start; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks; the wall clock put off by what stands in a file, where a test wants it to jump."""

    def __init__(self, offset_file: Path | None = None) -> None:
        """`offset_file` holds nanoseconds as 8 bytes, little-endian, signed. Raises `Invalid` if it does not."""
        self._offset = None if offset_file is None else _mapped(offset_file)

    def wall_ns(self) -> int:
        offset = self._offset
        if offset is None:
            return time.time_ns()
        # Memory that the file's writer shares: a jump costs no system call to notice.
        return time.time_ns() + int.from_bytes(offset[:OFFSET_BYTES], "little", signed=True)

    monotonic_ns = staticmethod(time.monotonic_ns)

    def cpu_ns(self) -> int:
        """CPU time of this process, all threads."""
        return time.process_time_ns()


def _mapped(file: Path) -> mmap.mmap:
    try:
        with file.open("rb") as opened:
            return mmap.mmap(opened.fileno(), OFFSET_BYTES, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise Invalid("TALLY_CLOCK_OFFSET_FILE", f"{file} does not hold {OFFSET_BYTES} bytes: {error}") from error


def write_offset(file: Path, offset_ns: int) -> None:
    """Put the wall clock of every process that reads `file` off by so much, from now on; creates the file."""
    data = offset_ns.to_bytes(OFFSET_BYTES, "little", signed=True)
    with file.open("r+b" if file.exists() else "wb") as opened:
        opened.write(data)


class Entropy(Protocol):
    """Unpredictable bytes."""

    def __call__(self, count: int, /) -> bytes:
        """`count` bytes nobody can guess."""
        ...


def system_entropy(count: int, /) -> bytes:
    """From the kernel's generator."""
    return os.urandom(count)
