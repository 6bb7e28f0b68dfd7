"""What processes cost: CPU time and memory, from proc(5). A process counts with its whole session group."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_us(groups: Collection[int]) -> int:
    """CPU time that the processes of these groups took so far, user and system, in microseconds.

    Counted in ticks of 10 ms, so measure over seconds. What processes took that have ended is in it as far as
    their parents waited for them.
    """
    total = 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        if int(fields[2]) in groups:
            total += sum(int(field) for field in fields[11:15])
    return total * _TICK_US


def is_stopped(pid: int) -> bool:
    """Whether no thread of process `pid` runs any more after a SIGSTOP: one after the other takes notice of it.

    Raises `FileNotFoundError` if it is gone.
    """
    for thread in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # this one has just ended
            stat = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
            if stat[stat.rindex(")") + 2] not in "TZX":
                return False
    return True


class Memory(msgspec.Struct, frozen=True):
    """Memory of one process, in bytes."""

    resident: int
    """All pages in memory, those of mapped and shared files included."""
    anonymous: int
    """What only this process holds: its heap. Files that the kernel may drop are not in it."""


def memory(pid: int) -> Memory:
    """Memory of process `pid` now. Raises `FileNotFoundError` if it is gone."""
    sizes = {"VmRSS": 0, "RssAnon": 0}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0]) * 1024
    return Memory(sizes["VmRSS"], sizes["RssAnon"])
