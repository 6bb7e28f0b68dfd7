"""The machine: versions, limits, memory, clock, and the disk below the data folder.

Each check takes what it reads as a value, so that a test can hand it a machine that is ill; `compose/doctor.py` reads.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tallystick.doctor.finding import Finding, fine, look, to_fix

OPEN_FILES_FEW = 4_096
OPEN_FILES_MIN = 1_024
MEMORY_FREE_BYTES = 1 << 30
NO_OVERCOMMIT = 2
SYNCS = 40
SYNC_MS_LOOK = 20.0
SYNC_MS_FIX = 100.0
FORGETFUL = frozenset({"tmpfs", "ramfs", "overlay"})
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})
DAY_NS = 24 * 3600 * 1_000_000_000
SECOND_NS = 1_000_000_000
_UNSYNCHRONIZED = 0x40  # STA_UNSYNC of adjtimex(2)


def versions(python: Sequence[int], packages: Mapping[str, str]) -> Finding:
    """Python and the packages whose versions matter to stored or compiled bytes."""
    told = ", ".join(f"{name} {version}" for name, version in packages.items())
    here = ".".join(map(str, python[:3]))
    if tuple(python[:2]) < (3, 11):
        return to_fix("versions", f"Python {here}; {told}", "install Python 3.11 or newer, and Tallystick with it")
    return fine("versions", f"Python {here}, {told}, {sys.platform}")


def processors(count: int) -> Finding:
    """Engine and gateway want a core each."""
    if count < 2:
        return look("processors", "1 core for engine, gateway and followers", "give it two cores, at least")
    return fine("processors", f"{count} cores")


def open_files(hard: int) -> Finding:
    """A gateway raises its soft limit to the hard one; each connection takes a handle."""
    fix = "LimitNOFILE=65536 in the systemd unit, `ulimit -Hn 65536` in a shell, --ulimit nofile=65536 in Docker"
    if hard < OPEN_FILES_MIN:
        return to_fix("open files", f"at most {hard:,} open files a process", fix)
    if hard < OPEN_FILES_FEW:
        return look("open files", f"at most {hard:,} open files a process, so about as many connections", fix)
    return fine("open files", f"up to {hard:,} a process")


def memory(available: int, total: int, overcommit: int, reserved: int) -> list[Finding]:
    """Books are reserved as virtual memory and take real memory as accounts come; what is swapped is slow."""
    found = []
    told = f"{available / 1e9:,.1f} GB of {total / 1e9:,.1f} GB available"
    if available < MEMORY_FREE_BYTES:
        found.append(look("memory", told, "free some, or give it more: an engine that swaps is as good as down"))
    else:
        found.append(fine("memory", told))
    if overcommit == NO_OVERCOMMIT and reserved > available:
        found.append(
            to_fix(
                "overcommit",
                f"vm.overcommit_memory is 2, and the books reserve {reserved / 1e9:,.1f} GB ahead of use",
                "lower TALLY_ACCOUNTS_MAX and TALLY_PENDINGS_MAX, or `sysctl vm.overcommit_memory=0`",
            )
        )
    return found


def file_system(kind: str, mount: str) -> Finding:
    """What the data folder stands on."""
    if kind in FORGETFUL:
        level = to_fix if kind != "overlay" else look
        return level(
            "file system", f"{kind} at {mount}", "put the data folder on a disk: this one is gone at a restart"
        )
    if kind in REMOTE:
        fix = "use a local disk: locks and syncs over a network do not promise what a ledger needs"
        return look("file system", f"{kind} at {mount}", fix)
    return fine("file system", f"{kind} at {mount}")


def free_space(free_share: float, free_min: float, free_bytes: int) -> Finding:
    """Below a share, gateways take nothing more on."""
    told = f"{free_share:.0%} free, {free_bytes / 1e9:,.1f} GB"
    if free_share < free_min:
        return to_fix("disk space", f"{told}; below {free_min:.0%} gateways answer 503", "free space, or a larger disk")
    if free_share < 2 * free_min:
        return look("disk space", f"{told}; at {free_min:.0%} gateways begin to answer 503", "plan for a larger disk")
    return fine("disk space", told)


def syncs(latencies_ms: Sequence[float]) -> Finding:
    """How long fdatasync of 4 KiB takes where the journal stands: what each payment waits for, twice."""
    ordered = sorted(latencies_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    told = f"a sync takes {p50:.1f} ms, at worst {p99:.1f} ms of {len(ordered)}"
    fix = "use a disk with power-loss protection; see that nothing else writes to it"
    if p50 > SYNC_MS_FIX:
        return to_fix("disk sync", told, fix)
    if p99 > SYNC_MS_LOOK:
        return look("disk sync", told, fix)
    return fine("disk sync", told)


def clock(now_ns: int, last_entry_ns: int, synchronized: bool | None) -> list[Finding]:
    """The wall clock against the journal's last entry, and what the kernel says of NTP."""
    found = []
    ahead_s = (now_ns - last_entry_ns) / 1e9
    if last_entry_ns and now_ns < last_entry_ns - SECOND_NS:
        fix = "set the clock right before anything starts: entries go on from the journal's time, not from yours"
        found.append(to_fix("clock", f"{-ahead_s:,.0f} s behind the journal's last entry", fix))
    elif last_entry_ns and now_ns - last_entry_ns > DAY_NS:
        fix = "if the clock is right, start once with --accept-clock"
        found.append(look("clock", f"{ahead_s / 3600:,.0f} h ahead of the journal's last entry", fix))
    else:
        found.append(fine("clock", "fits the journal" if last_entry_ns else "no entry yet to compare it with"))
    if synchronized is None:
        found.append(fine("time service", "the kernel does not say whether NTP keeps the clock"))
    elif synchronized:
        found.append(fine("time service", "the kernel says that NTP keeps the clock"))
    else:
        fix = "run chrony or systemd-timesyncd (`timedatectl set-ntp true`)"
        found.append(look("time service", "the kernel says that nothing keeps the clock", fix))
    return found


def clock_is_kept() -> bool | None:
    """Whether the kernel's clock is synchronised, by adjtimex(2); None where it cannot be asked."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    # struct timex: modes, then offset, freq, maxerror, esterror as longs, then status; more follows that we skip.
    memory_of = ctypes.create_string_buffer(256)
    if ask(memory_of) < 0:
        return None
    status_at = ctypes.sizeof(ctypes.c_long) * 5
    return not int.from_bytes(memory_of.raw[status_at : status_at + 4], sys.byteorder) & _UNSYNCHRONIZED


def time_syncs(folder: Path, monotonic_ns: Callable[[], int]) -> list[float]:
    """Write and sync 4 KiB so often in `folder`; milliseconds of each. Raises `OSError` if it cannot be written."""
    path = folder / ".doctor"
    taken = []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for number in range(SYNCS):
            began_ns = monotonic_ns()
            os.pwrite(descriptor, b"\xff" * 4096, number * 4096)
            os.fdatasync(descriptor)
            taken.append((monotonic_ns() - began_ns) / 1e6)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return taken


def mounted(folder: Path, mounts: str) -> tuple[str, str]:
    """The file system of `folder` and where it is mounted, by the text of /proc/mounts."""
    best = ("unknown", "/")
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        place = Path(fields[1].replace("\\040", " "))
        if (place == folder or place in folder.parents) and len(str(place)) >= len(best[1]):
            best = (fields[2], str(place))
    return best
