"""`tally bench intake`: single requests from many callers at once, packed as they wait, until each is acknowledged.

The packer is as the gateway's: what waits while one block is made durable becomes the next, so there is one in flight.
Each caller has one command of 256 bytes under way and sends the next when it is acknowledged. The reference is a bare
loop of 4 KiB writes with fdatasync, in the folder of the files, in the same run.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import logs
from tallystick.compose.gateway import Lanes
from tallystick.compose.intake import open_intake
from tallystick.errors import Invalid
from tallystick.intake.port import Lane
from tallystick.lab.own_intake import own_intake
from tallystick.lab.results import Result, median, percentiles_ms, ratio
from tallystick.records.commands import TRANSFER_EVENT, Kind, frame
from tallystick.settings import Settings

CALLERS = 256
WARM_S = 0.5
REFERENCE = "4 KiB written and synced with fdatasync, one after the other"
REFERENCE_BYTES = 4096

_clock = SystemClock()
Say = Callable[[str], None]


def run(
    runs: int, names: list[str], intakes: Mapping[str, str], folder: Path | None, say: Say, seconds: float = 3.0
) -> list[Result]:
    """Measure the cases named (none: all of `intakes`, each a `TALLY_INTAKE`). Raises `Invalid` for another."""
    if unknown := set(names) - set(intakes):
        raise Invalid("--case", f"{', '.join(sorted(unknown))}: there are {', '.join(intakes)}; name brokers by URL")
    logs.configure("bench")  # to standard error: what is measured goes to standard output
    chosen = [name for name in intakes if not names or name in names]
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    ratios: dict[str, list[float | None]] = {name: [] for name in chosen}
    references: list[float] = []
    latencies: dict[str, list[int]] = {name: [] for name in chosen}
    blocks: dict[str, list[float]] = {name: [] for name in chosen}
    cpu: dict[str, list[float]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(prefix="tally-intake-", dir=folder) as place:
        for number in range(runs):
            for name in chosen:
                say(f"run {number + 1} of {runs}: {name}")
                references.append(_reference(Path(place), seconds / 3))
                callers = _Callers(seconds)
                used_ns = _measure(Path(place, f"{name}-{number}"), intakes[name], callers)
                rates[name].append(callers.count / callers.took_s)
                ratios[name].append(ratio(rates[name][-1], references[-1]))
                latencies[name] += callers.latencies_ns
                blocks[name].append(callers.count / max(callers.blocks, 1))
                cpu[name].append(used_ns / 1000 / max(callers.count, 1))
    found = []
    for name in chosen:
        p50_ms, p95_ms, p99_ms = percentiles_ms(latencies[name])
        found.append(
            Result(
                case=name,
                rate=median(rates[name]),
                unit="acknowledged requests",
                cpu_us=median(cpu[name]),
                reference=REFERENCE,
                reference_rate=median(references),
                ratio=median([each for each in ratios[name] if each is not None]),
                p50_ms=p50_ms,
                p95_ms=p95_ms,
                p99_ms=p99_ms,
                extra={"callers": CALLERS, "requests_a_block": median(blocks[name]), "runs": runs},
            )
        )
    return found


def _measure(data: Path, intake: str, callers: "_Callers") -> int:
    """Returns the CPU time that this process used meanwhile, in nanoseconds."""
    data.mkdir()
    settings = Settings(data=data, intake=own_intake(intake, system_entropy))
    lanes = Lanes(open_intake(settings, SystemDisk(), _clock, system_entropy))
    lane = lanes.open(False)
    lanes.start()
    began_ns = _clock.cpu_ns()
    try:
        asyncio.run(callers.run(lane))
    finally:
        lane.close()
        lanes.close()
    return _clock.cpu_ns() - began_ns


class _Callers:
    """256 who ask and wait, and the packer between them and a lane."""

    def __init__(self, seconds: float) -> None:
        events = np.zeros(CALLERS, TRANSFER_EVENT)
        events["id_lo"] = np.arange(1, CALLERS + 1)
        rows = frame(events.tobytes(), Kind.TRANSFER, tenant=1, request_id=1, submitted_at=1)
        self.count = 0
        self.blocks = 0
        self.took_s = 0.0
        self.latencies_ns: list[int] = []
        self._seconds = seconds
        self._commands = rows.tobytes()
        self._size = len(self._commands) // CALLERS
        self._waiting: list[asyncio.Future[None]] = []
        self._stopped = False

    async def run(self, lane: Lane) -> None:
        """Ask for so long, after a moment that does not count."""
        packer = asyncio.create_task(self._pack(lane))
        callers = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        await asyncio.sleep(WARM_S)
        self.count, self.blocks = 0, 0
        self.latencies_ns.clear()
        began_ns = _clock.monotonic_ns()
        await asyncio.sleep(self._seconds)
        self.took_s = (_clock.monotonic_ns() - began_ns) / 1e9
        self._stopped = True
        await asyncio.gather(packer, *callers)

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            began_ns = _clock.monotonic_ns()
            acknowledged: asyncio.Future[None] = loop.create_future()
            self._waiting.append(acknowledged)
            await acknowledged
            if not self._stopped:
                self.count += 1
                self.latencies_ns.append(_clock.monotonic_ns() - began_ns)

    async def _pack(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped or self._waiting:
            await asyncio.sleep(0)  # who was just told asks again now
            taken, self._waiting = self._waiting, []
            if not taken:
                continue
            await loop.run_in_executor(None, lane.submit, self._commands[: len(taken) * self._size])
            self.blocks += not self._stopped
            for acknowledged in taken:
                acknowledged.set_result(None)


def _reference(folder: Path, seconds: float) -> float:
    """Synced writes a second."""
    path, data, count = folder / "reference", bytes(REFERENCE_BYTES), 0
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, bytes(64 * REFERENCE_BYTES))
        os.fdatasync(descriptor)
        began_ns = _clock.monotonic_ns()
        while (spent_ns := _clock.monotonic_ns() - began_ns) < seconds * 1e9:
            os.pwrite(descriptor, data, count % 64 * REFERENCE_BYTES)
            os.fdatasync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
        path.unlink()
    return count / (spent_ns / 1e9)
