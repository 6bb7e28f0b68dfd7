"""`tally bench shards`: what more shards on one machine cost, and bring: CPU a transfer, transfers a second, cores.

Platforms of their own with 1, 2 and 4 shards, a tenant in each shard, loaded over HTTP with binary batches by so many
connections in all, whatever the number of shards. Each run measures all of them one after the other, and holds each
against the one with one shard of the same run. On a machine with fewer cores than shards the rate cannot grow with
them: what must not grow there is the CPU a transfer. It is that of engines, gateway and supervisor, not of the load.
What was acknowledged must stand in the journal of the tenant's shard.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import directing, shards
from tallystick.compose.journals import Place
from tallystick.errors import Invalid, Unavailable
from tallystick.gateway import auth
from tallystick.lab import journal_check, procstat, wrk
from tallystick.lab.instance import TENANT, Instance, pause
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median, ratio
from tallystick.settings import Settings

SHARDS = (1, 2, 4)
CONNECTIONS = 8
ACCOUNTS = 1_000
BATCH = 8_190
WARM_UP_S = 2.0
DRAIN_S = 30.0
ACCOUNTS_MAX = 1_000_000

Say = Callable[[str], None]


@dataclass(slots=True)
class _Measure:
    """One run with so many shards."""

    transfers: int
    seconds: float
    cpu_us: int
    errors: int
    lost: int
    doubled: int

    @property
    def rate(self) -> float:
        """Transfers a second."""
        return self.transfers / self.seconds

    @property
    def transfer_cpu_us(self) -> float:
        """CPU of a transfer."""
        return self.cpu_us / max(1, self.transfers)

    @property
    def cores(self) -> float:
        """Cores used."""
        return self.cpu_us / 1e6 / self.seconds


@dataclass(slots=True)
class _Platform:
    """An instance with a tenant in each shard."""

    instance: Instance
    keys: list[str]
    """By shard, a key of the tenant that lives there."""
    places: list[Place]
    plan: Plan = field(default_factory=lambda: Plan(run=_random_run(), accounts=ACCOUNTS, payments=0))


def run(runs: int, seconds: float, names: Sequence[str], data: Path | None, say: Say) -> list[Result]:
    """Measure the cases; `say` gets a line on progress. Raises `Unavailable` if wrk or an instance is missing."""
    counts = _chosen(names)
    wrk.find()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-bench-", dir=data)))
        platforms = {}
        for count in counts:
            say(f"starting {_case(count)}")
            platforms[count] = stack.enter_context(_platform(folder / str(count), count))
            _load(platforms[count], WARM_UP_S)
        measured: dict[int, list[_Measure]] = {count: [] for count in counts}
        for number in range(runs):
            for count in counts:
                say(f"run {number + 1} of {runs}: {_case(count)}")
                measured[count].append(_load(platforms[count], seconds))
    return [_result(count, measured[count], measured[counts[0]], _case(counts[0])) for count in counts]


def _chosen(names: Sequence[str]) -> list[int]:
    known = {_case(count): count for count in SHARDS}
    for name in names:
        if name not in known:
            raise Invalid("--case", f"{name!r} is none; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(SHARDS)


def _case(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


@contextmanager
def _platform(folder: Path, count: int) -> Iterator[_Platform]:
    settings = Settings(data=folder, shards=count)
    with Instance(
        folder, settings={"followers": "", "shards": count, "accounts_max": ACCOUNTS_MAX}, own_session=True
    ) as instance:
        keys = [instance.key]
        for number in range(1, count):
            keys.append(auth.make_key(system_entropy))
            tenant = TENANT + number
            directing.add(settings, tenant, number)
            auth.add_key(folder / "keys.json", keys[-1], tenant, f"bench-{number}", list(auth.SCOPES), 1)
        platform = _Platform(instance, keys, [Place.of(shards.of(settings, number)) for number in range(count)])
        pause(2 * auth.RECHECK_S)  # gateways read keys so often
        for key in keys:
            tenants = copy.copy(instance)
            tenants.key = key
            tenants.open_accounts([platform.plan.account_id(number) for number in range(ACCOUNTS)], limited=False)
        yield platform


def _load(platform: _Platform, seconds: float) -> _Measure:
    """All shards at once, each by its own generator; then what became of it."""
    count = len(platform.keys)
    runs = [_random_run() for _ in range(count)]
    seqs = [journal_check.end(place) for place in platform.places]
    before = _cpu(platform)

    def of_one(number: int) -> wrk.WrkRun:
        return wrk.run(
            platform.instance.url,
            platform.keys[number],
            platform.plan,
            "binary",
            CONNECTIONS // count,
            seconds,
            ids_run=runs[number],
            batch=BATCH,
        )

    with ThreadPoolExecutor(count) as pool:
        told = list(pool.map(of_one, range(count)))
    _drained(platform)
    cpu_us = _cpu(platform) - before
    found = [journal_check.count(*each) for each in zip(platform.places, seqs, runs, strict=True)]
    return _Measure(
        sum(each.answered for each in told) * BATCH,
        max(each.duration_us for each in told) / 1e6,
        cpu_us,
        sum(each.errors for each in told),
        sum(max(0, each.answered * BATCH - stands.created) for each, stands in zip(told, found, strict=True)),
        sum(stands.doubled for stands in found),
    )


def _drained(platform: _Platform) -> None:
    """Wait until what was in flight when the generators stopped is decided: no journal grows."""
    clock = SystemClock()
    until_ns = clock.monotonic_ns() + round(DRAIN_S * 1e9)
    ends: list[int] = []
    while (now := [journal_check.end(place) for place in platform.places]) != ends:
        if clock.monotonic_ns() > until_ns:
            raise Unavailable(f"the journals still grow {DRAIN_S:.0f} s after the load has ended")
        ends = now
        pause(0.25)


def _cpu(platform: _Platform) -> int:
    """CPU time of the platform so far, in microseconds."""
    return sum(procstat.cpu_us({pid}) for pid in platform.instance.groups().values())


def _random_run() -> int:
    return int.from_bytes(system_entropy(8), "big") >> 1


def _result(count: int, measures: Sequence[_Measure], references: Sequence[_Measure], reference: str) -> Result:
    pairs = list(zip(measures, references, strict=True))
    rate, reference_rate = median(m.rate for m in measures), median(m.rate for m in references)
    return Result(
        case=_case(count),
        rate=rate,
        unit="transfers",
        cpu_us=median(m.transfer_cpu_us for m in measures),
        reference=reference,
        reference_rate=reference_rate,
        ratio=ratio(rate, reference_rate),
        extra={
            "runs": len(measures),
            "cores_used": round(median(m.cores for m in measures), 2),
            "cpu_ratio": round(median(m.transfer_cpu_us / r.transfer_cpu_us for m, r in pairs), 3),
            "errors": sum(m.errors for m in measures),
            "acknowledged": sum(m.transfers for m in measures),
            "lost": sum(m.lost for m in measures),
            "doubled": sum(m.doubled for m in measures),
        },
    )
