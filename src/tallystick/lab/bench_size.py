"""`tally bench size`: does it stay as fast, and as small, with many entries behind it?

One ledger is filled in process, by requests of 8,190 transfers between 100,000 accounts, two in flight. While it
grows, CPU and memory are read every 50,000 transfers; then it is started again, rebuilt, and compared with itself,
each in a process of its own. The journal lies in a folder of its own; 10 M entries take about 3.6 GB there.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.clock import SystemClock
from tallystick.compose.library import Ledger
from tallystick.errors import Invalid, Unavailable
from tallystick.lab.procstat import memory
from tallystick.lab.results import Result, median
from tallystick.records.commands import ACCOUNT_EVENT, COMMANDS_MAX, TRANSFER_EVENT
from tallystick.statuses import CREATED

ACCOUNTS = 100_000
ENTRIES = 10_000_000
WINDOW = 50_000
"""Transfers between two readings."""
WINDOW_IDS = 1_000_000
"""As the engine's own setting: the library's smaller windows would make four times as many id runs."""
IN_FLIGHT = 2
CASES = ("late window", "memory", "start", "rebuild", "verify")
SETTLED_SHARE = 0.5
"""Memory is fitted over the second half, when windows and books have been touched."""

Rows = npt.NDArray[np.void]
Say = Callable[[str], None]

_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one stretch of `WINDOW` transfers cost."""

    transfers: int  # made when it ended
    cpu_us: float  # of this process, all threads, a transfer
    wall_us: float
    resident: int  # bytes, at its end


class Started(msgspec.Struct, frozen=True):
    """What a process of its own found."""

    seconds: float
    """From before the first import of ours to the first durable outcome, or to the end of the work."""
    entries: int
    resident: int
    difference: str | None = None


def run(entries: int, names: list[str], folder: Path | None, say: Say) -> list[Result]:
    """Fill once, then measure the cases named (none: all). Raises `Unavailable` if a child process fails."""
    if unknown := set(names) - set(CASES):
        raise Invalid("--case", f"no such case: {', '.join(unknown)}; there are {', '.join(map(repr, CASES))}")
    if entries % WINDOW or entries < 2 * WINDOW:
        raise Invalid("--entries", f"must be a multiple of {WINDOW:,}, at least two of them")
    chosen = [name for name in CASES if not names or name in names]
    with tempfile.TemporaryDirectory(prefix="tally-size-", dir=folder) as place:
        data = Path(place) / "ledger"
        say(f"filling: {entries:,} transfers between {ACCOUNTS:,} accounts")
        readings = fill(data, entries, say)
        results = []
        for name in chosen:
            say(name)
            results.append(_MEASURES[name](readings, data))
    return results


def fill(data: Path, transfers: int, say: Say) -> list[Reading]:
    """Make so many transfers; a reading after each `WINDOW` of them."""
    with Ledger.open(data, window_ids=WINDOW_IDS) as ledger:
        for rows in _accounts():
            _require_created(ledger.create_accounts(rows))
        return asyncio.run(_fill(ledger, transfers, say))


async def _fill(ledger: Ledger, transfers: int, say: Say) -> list[Reading]:
    readings: list[Reading] = []
    rng = np.random.default_rng(7)
    made = 0
    while made < transfers:
        requests = [_transfers(made + at, rng) for at in range(0, WINDOW, COMMANDS_MAX)]
        cpu, wall = _clock.cpu_ns(), _clock.monotonic_ns()
        await _in_flight(ledger, requests)
        cpu, wall = _clock.cpu_ns() - cpu, _clock.monotonic_ns() - wall
        made += WINDOW
        readings.append(Reading(made, cpu / 1e3 / WINDOW, wall / 1e3 / WINDOW, memory(_own_pid()).resident))
        if made % (20 * WINDOW) == 0:
            say(f"{made:,} transfers, {readings[-1].resident >> 20:,} MiB resident")
    return readings


async def _in_flight(ledger: Ledger, requests: list[Rows]) -> None:
    waiting = iter(requests)

    async def call() -> None:
        for rows in waiting:
            _require_created(await ledger.aio.create_transfers(rows))

    await asyncio.gather(*[call() for _ in range(IN_FLIGHT)])


def _require_created(results: Any) -> None:
    if not (results["status"] == CREATED).all():
        raise RuntimeError("a command of the bench was refused: its figure would say nothing")


def _accounts() -> Iterator[Rows]:
    for first in range(0, ACCOUNTS, COMMANDS_MAX):
        rows = np.zeros(min(COMMANDS_MAX, ACCOUNTS - first), ACCOUNT_EVENT)
        rows["id_lo"] = np.arange(first + 1, first + 1 + len(rows))
        rows["ledger"], rows["code"] = 1, 1
        yield rows


def _transfers(first: int, rng: np.random.Generator) -> Rows:
    """One request: random accounts and amounts, ids in the order of time."""
    count = min(COMMANDS_MAX, WINDOW - first % WINDOW)
    rows = np.zeros(count, TRANSFER_EVENT)
    debit = rng.integers(0, ACCOUNTS, count)
    rows["id_hi"] = 1 + first + np.arange(count)
    rows["id_lo"] = rng.integers(1, 1 << 63, count)
    rows["debit_account_id_lo"] = debit + 1
    rows["credit_account_id_lo"] = (debit + rng.integers(1, ACCOUNTS, count)) % ACCOUNTS + 1
    rows["amount_lo"] = rng.integers(1, 10_000, count)
    rows["ledger"], rows["code"] = 1, 1
    return rows


def slope_bytes(readings: list[Reading]) -> float:
    """Memory gained a transfer, by least squares over the second half of the readings; 0 for fewer than two."""
    late = readings[int(len(readings) * (1 - SETTLED_SHARE)) :]
    if len(late) < 2:
        return 0.0
    x = np.array([reading.transfers for reading in late], float)
    y = np.array([reading.resident for reading in late], float)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def _late_window(readings: list[Reading], data: Path) -> Result:
    """The last 50,000 transfers against those from 50,000 to 100,000."""
    early, late = readings[1], readings[-1]
    spread = [reading.cpu_us for reading in readings]
    return Result(
        case="late window",
        rate=1e6 / late.wall_us,
        unit="transfers",
        cpu_us=late.cpu_us,
        reference="transfers 50,000 to 100,000 of the same run",
        reference_rate=1e6 / early.wall_us,
        ratio=early.wall_us / late.wall_us,
        extra={
            "cpu_of_early": late.cpu_us / early.cpu_us,
            "cpu_us_early": early.cpu_us,
            "cpu_us_median_first_tenth": median(spread[1 : max(2, len(spread) // 10)]),
            "cpu_us_median_last_tenth": median(spread[-max(1, len(spread) // 10) :]),
            "transfers": late.transfers,
        },
    )


def _memory(readings: list[Reading], data: Path) -> Result:
    """How much memory each further transfer keeps."""
    slope = slope_bytes(readings)
    return Result(
        case="memory",
        rate=1e6 / median([reading.wall_us for reading in readings]),
        unit="transfers",
        cpu_us=median([reading.cpu_us for reading in readings]),
        reference="none: a size, not a rate",
        reference_rate=None,
        ratio=None,
        extra={
            "mb_a_100_000_transfers": round(slope * 100_000 / 1e6, 4),
            "resident_mb": round(readings[-1].resident / 1e6, 1),
            "resident_mb_half_way": round(readings[len(readings) // 2].resident / 1e6, 1),
        },
    )


def _start(readings: list[Reading], data: Path) -> Result:
    """A new process, from nothing to the first durable outcome."""
    done = _child("start", data)
    return _timed("start", done, {"start_s": round(done.seconds, 3), "resident_mb": round(done.resident / 1e6, 1)})


def _rebuild(readings: list[Reading], data: Path) -> Result:
    done = _child("rebuild", data)
    return _timed("rebuild", done, {"seconds": round(done.seconds, 3), "resident_mb": round(done.resident / 1e6, 1)})


def _verify(readings: list[Reading], data: Path) -> Result:
    done = _child("verify", data)
    extra: dict[str, Any] = {"seconds": round(done.seconds, 3), "difference": done.difference}
    return _timed("verify", done, extra)


def _timed(name: str, done: Started, extra: dict[str, Any]) -> Result:
    return Result(
        case=name,
        rate=done.entries / done.seconds,
        unit="entries",
        cpu_us=None,
        reference="none: once, in a process of its own",
        reference_rate=None,
        ratio=None,
        extra={"entries": done.entries, **extra},
    )


_MEASURES: dict[str, Callable[[list[Reading], Path], Result]] = {
    "late window": _late_window,
    "memory": _memory,
    "start": _start,
    "rebuild": _rebuild,
    "verify": _verify,
}


def _child(what: str, data: Path) -> Started:
    """Do it in a process of its own, and time that from outside."""
    begun = _clock.monotonic_ns()
    made = subprocess.run(
        [sys.executable, "-m", "tallystick.lab.bench_size", what, str(data)], capture_output=True, check=False
    )
    seconds = (_clock.monotonic_ns() - begun) / 1e9
    if made.returncode:
        raise Unavailable(f"{what} failed: {made.stderr.decode(errors='replace').strip()[-500:]}")
    done = msgspec.json.decode(made.stdout.splitlines()[-1], type=Started)
    return msgspec.structs.replace(done, seconds=seconds if what == "start" else done.seconds)


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


def _main(what: str, data: Path) -> None:
    """What a child process does."""
    difference = None
    if what == "start":
        with Ledger.open(data, window_ids=WINDOW_IDS) as ledger:
            rows = _transfers(1 << 40, np.random.default_rng(8))[:1]
            _require_created(ledger.create_transfers(rows))
            entries, seconds = ledger.statistics()["next_seq"], 0.0
            resident = memory(_own_pid()).resident
    else:
        from tallystick.compose import rebuild
        from tallystick.settings import Settings

        settings = Settings(data=data, window_ids=WINDOW_IDS)
        done = rebuild.verify(settings) if what == "verify" else rebuild.rebuild(settings)
        entries, seconds, difference = done.entries, done.seconds, done.difference
        resident = memory(_own_pid()).resident
    sys.stdout.write(msgspec.json.encode(Started(seconds, entries, resident, difference)).decode() + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
