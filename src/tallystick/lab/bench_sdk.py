"""`tally bench sdk`: what the Python SDK makes of many callers at once, and of a gateway that is killed under them.

An instance of its own, as `tally up` starts it; the clients are coroutines of this process. Each run measures the
payments that travel in bundles, and just before them the same calls with a request each. Afterwards every call's
outcome is held against the journal.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick import ids
from tallystick.client import AsyncClient, NewAccount, Outcome, StillUnknown
from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Invalid, Unavailable
from tallystick.lab import journal_check, procstat
from tallystick.lab.instance import Instance
from tallystick.lab.onserver import engines
from tallystick.lab.plan import CODE, LEDGER
from tallystick.lab.results import Result, median, percentiles_ms, ratio
from tallystick.statuses import CREATED, STORED_MASK, TransferStatus

COROUTINES = 1_000
CONNECTIONS = 64
"""For a request each: more of them made it slower."""
REFUSED_EVERY = 50
"""One payment in so many comes from an account that has nothing, so that there are refusals too."""
BETWEEN_KILLS_S = (0.3, 1.5)
AFTER_A_KILL = 2 * COROUTINES
"""Outcomes that show that a new gateway serves: more than were under way at the kill."""
PATIENCE_S = 120.0

AT_ONCE, KILLED = "1,000 coroutines", "gateway killed"
CASES = (AT_ONCE, KILLED)
SHOP, WORLD, POOR = (f"{number:032x}" for number in (1, 2, 3))

Say = Callable[[str], None]


@dataclass(slots=True)
class Told:
    """What the callers were told."""

    seconds: float = 0.0
    cpu_us: int = 0
    kills: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Request ids of calls that ended without an outcome."""
    latencies_ns: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Outcomes a second."""
        return len(self.outcomes) / self.seconds


class Verdict(msgspec.Struct, frozen=True):
    """What comparing the outcomes with the journal showed."""

    lost: int
    """Outcomes without an entry, or whose entry says something else."""
    doubled: int
    """Entries of a request beyond its first, and those of requests that nobody made."""
    unknown: int
    """Calls that ended without an outcome."""


def choose(names: Sequence[str]) -> list[str]:
    """The cases of these names, all if there are none. Raises `Invalid` for a name that is no case."""
    for name in names:
        if name not in CASES:
            raise Invalid("--case", f"{name!r} is none; there are {', '.join(CASES)}")
    return [case for case in CASES if case in names or not names]


def run(
    runs: int,
    seconds: float,
    kills: int,
    names: Sequence[str],
    data: Path | None,
    say: Say,
    journal: str = "files",
    intake: str = "files",
) -> list[Result]:
    """Measure the cases. Raises `Unavailable` if the instance breaks down."""
    cases = choose(names)
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-sdk-", dir=data) as name,
        engines(journal, intake) as settings,
        Instance(Path(name), settings=settings) as instance,
    ):
        asyncio.run(open_accounts(instance))
        at_once, alone = [], []
        killed = Told()
        if AT_ONCE in cases:
            for number in range(runs):
                say(f"run {number + 1} of {runs}: a request each")
                alone.append(asyncio.run(load(instance, seconds, bundles=False)))
                say(f"run {number + 1} of {runs}: {AT_ONCE}")
                at_once.append(asyncio.run(load(instance, seconds)))
        if KILLED in cases:
            say(f"killing the gateway {kills} times under {COROUTINES:,} coroutines")
            killed = asyncio.run(load(instance, 0.0, kills=kills))
        say("comparing every outcome with the journal")
        transfers = journal_check.read(instance.place).transfers
    results = []
    if AT_ONCE in cases:
        results.append(_at_once(at_once, alone, judge([*alone, *at_once], transfers, [killed])))
    if KILLED in cases:
        results.append(_killed(killed, judge([killed], transfers, [*alone, *at_once])))
    return results


async def open_accounts(instance: Instance) -> None:
    """Open those that the payments are between."""
    async with AsyncClient(instance.url, instance.key) as client:
        opened = await client.open_accounts(
            [
                NewAccount(id=SHOP, ledger=LEDGER, code=CODE),
                NewAccount(id=WORLD, ledger=LEDGER, code=CODE),
                NewAccount(id=POOR, ledger=LEDGER, code=CODE, flags=["debits_must_not_exceed_credits"]),
            ]
        )
    if not all(each.done for each in opened):
        raise Unavailable(f"accounts were refused: {', '.join(each.status for each in opened)}")


async def load(
    instance: Instance, seconds: float, *, bundles: bool = True, kills: int = 0, coroutines: int = COROUTINES
) -> Told:
    """Let so many coroutines pay, one payment after the other, for so long, or until so many kills of the gateway."""
    clock = SystemClock()
    told = Told()
    stop = asyncio.Event()
    async with AsyncClient(
        instance.url, instance.key, bundles=bundles, connections=CONNECTIONS, patience_s=PATIENCE_S
    ) as client:

        async def caller(number: int) -> None:
            count = number
            while not stop.is_set():
                count += 1
                began_ns = clock.monotonic_ns()
                debit = POOR if count % REFUSED_EVERY == 0 else WORLD
                try:
                    outcome = await client.pay(debit, SHOP, 1, ledger=LEDGER, code=CODE)
                except StillUnknown as error:
                    told.unknown.append(str(error.request_id))
                else:
                    told.outcomes.append(outcome)
                    told.latencies_ns.append(clock.monotonic_ns() - began_ns)

        before_us, began_ns = procstat.cpu_us(instance.groups().values()), clock.monotonic_ns()
        callers = [asyncio.create_task(caller(number)) for number in range(coroutines)]
        if kills:
            await _kill(instance, kills, told)
        else:
            await asyncio.sleep(seconds)
        stop.set()
        await asyncio.gather(*callers)
        told.seconds = (clock.monotonic_ns() - began_ns) / 1e9
        told.cpu_us = procstat.cpu_us(instance.groups().values()) - before_us
    return told


async def _kill(instance: Instance, kills: int, told: Told) -> None:
    """SIGKILL the gateway at random moments, wherever it is just then; its supervisor starts it again."""
    least_s, most_s = BETWEEN_KILLS_S
    while told.kills < kills:
        share = int.from_bytes(system_entropy(4), "big") / 2**32
        await asyncio.sleep(least_s + share * (most_s - least_s))
        answered = len(told.outcomes)
        try:
            instance.kill("gateway")
        except Unavailable:
            continue  # it has not been started again yet
        told.kills += 1
        while len(told.outcomes) < answered + AFTER_A_KILL and not told.unknown:
            await asyncio.sleep(0.01)  # until it serves again, lest it be killed before it ever does


def judge(told: Sequence[Told], transfers: npt.NDArray[np.void], others: Sequence[Told] = ()) -> Verdict:
    """Hold what callers were told against the entries of the journal; `others` made payments there, too."""
    entries: dict[int, list[tuple[int, int]]] = {}
    transfers = transfers[
        (transfers["credit_account_id_lo"] == int(SHOP, 16)) & (transfers["credit_account_id_hi"] == 0)
    ]
    columns = ("request_id_lo", "request_id_hi", "status", "timestamp")
    for low, high, status, timestamp in zip(*(transfers[name].tolist() for name in columns), strict=True):
        entries.setdefault(high << 64 | low, []).append((status, timestamp))
    made = {
        ids.parse(request_id)
        for each in (*told, *others)
        for request_id in (*each.unknown, *(outcome.request_id for outcome in each.outcomes))
    }
    lost, doubled = 0, len(entries.keys() - made)
    for each in told:
        for outcome in each.outcomes:
            found = entries.get(ids.parse(outcome.request_id), [])
            doubled += max(0, len(found) - 1)
            lost += found[:1] != [(_stored(outcome.status), outcome.timestamp)]
    return Verdict(lost, doubled, sum(len(each.unknown) for each in told))


def _stored(status: str) -> int:
    return (CREATED if status == "created" else TransferStatus[status.upper()]) & STORED_MASK


def _at_once(measures: list[Told], references: list[Told], verdict: Verdict) -> Result:
    rate, reference_rate = median(each.rate for each in measures), median(each.rate for each in references)
    p50, p95, p99 = percentiles_ms([latency for each in measures for latency in each.latencies_ns])
    return Result(
        case=AT_ONCE,
        rate=rate,
        unit="payments",
        cpu_us=median(each.cpu_us / len(each.outcomes) for each in measures),
        reference=f"a request each, {CONNECTIONS} connections",
        reference_rate=reference_rate,
        ratio=median(ratio(a.rate, b.rate) or 0.0 for a, b in zip(measures, references, strict=True)),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        extra={"lost": verdict.lost, "doubled": verdict.doubled, "unknown": verdict.unknown},
    )


def _killed(told: Told, verdict: Verdict) -> Result:
    p50, p95, p99 = percentiles_ms(told.latencies_ns)
    return Result(
        case=KILLED,
        rate=told.rate,
        unit="payments",
        cpu_us=None,
        reference="none: what counts is that every call ends in an outcome",
        reference_rate=None,
        ratio=None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        extra={
            "kills": told.kills,
            "calls": len(told.outcomes) + len(told.unknown),
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "unknown": verdict.unknown,
            "longest_call_s": round(max(told.latencies_ns) / 1e9, 3),
        },
    )
