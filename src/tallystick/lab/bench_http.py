"""`tally bench http`: what a payment costs over HTTP, held against a route of the same server that does nothing.

An instance of its own is started as `tally up` starts it, but for the followers (what they cost payments:
`tally bench isolation`), loaded by wrk, and looked into after every case: what was acknowledged must stand in the
journal. Every run measures each case once with its reference just before it, so that both feel the same moods of the
machine; results are medians over the runs. The reference is the no-op route, sent the very bytes of a payment (head,
key, body): what is more than that is what the payment costs. The case `no-op route` is the same route asked with a bare
GET. CPU is that of engine, gateway and supervisor together, never the load generator's.

Constant arrivals cannot be had from Debian's native generators with ids of their own (wrk's delay() counts in
milliseconds and from the answer before, h2load repeats one body), so that case uses `lab.load`.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Invalid, Unavailable
from tallystick.lab import journal_check, limits, procstat, wrk
from tallystick.lab.generator import load_run
from tallystick.lab.instance import Instance, pause
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines, tpc_b
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median, percentiles_ms, ratio

ACCOUNTS = 1000
NO_OP = "no-op route"
NO_OPS = frozenset({"bare", "noop"})
DRAIN_S = 30.0
OPEN_LOOP_CONNECTIONS = 64
WARM_UP_S = 2.0
MANY = 5_000
LONGER = 3
"""So many connections take a second or two to open, which should not be much of the whole."""
WARM_UP_RUNS = 4
"""Of so many connections. Each leaves gaps between what stays in memory; the next runs use them. What is in use at rest
is the same after one run and after nine, to a few kB; what the process has from the system grows for some five runs."""
REST_S = 1.0
"""By then what a load left unanswered is decided. Memory is read only then: else its slope would be that of the luck
with which loads end."""

Say = Callable[[str], None]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to measure."""

    name: str
    mode: str
    """wrk.lua's modes, or `open` for constant arrivals."""
    connections: int
    batch: int = 1
    arrivals: int = 0
    """Payments a second, for `open`."""

    @property
    def unit(self) -> str:
        """What a rate counts."""
        return "requests" if self.mode in NO_OPS else "payments" if self.batch == 1 else "transfers"


CASES = (
    Case(name=NO_OP, mode="bare", connections=64),
    Case(name="64 connections", mode="single", connections=64),
    Case(name="256 connections", mode="single", connections=256),
    Case(name="1,000 connections", mode="single", connections=1_000),
    Case(name="10,000 connections", mode="single", connections=10_000),
    Case(name="5,000 arrivals/s", mode="open", connections=OPEN_LOOP_CONNECTIONS, arrivals=5_000),
    Case(name="json batch", mode="json", connections=8, batch=1_000),
    Case(name="binary batch", mode="binary", connections=8, batch=8_190),
    Case(name="binary batch of 1,000", mode="binary", connections=8, batch=1_000),
)
REFERENCE = Case(name=f"{NO_OP}, the same bytes", mode="noop", connections=64)


@dataclass(slots=True)
class Measure:
    """One run of one case."""

    units: int
    seconds: float
    cpu_us: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int = 0
    lost: int = 0
    doubled: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    """CPU by process, in microseconds."""

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds

    @property
    def unit_cpu_us(self) -> float:
        """CPU of a unit."""
        return self.cpu_us / max(1, self.units)


@dataclass(slots=True)
class _Series:
    """All runs of one case, each with its reference."""

    case: Case
    measures: list[Measure] = field(default_factory=list)
    references: list[Measure] = field(default_factory=list)
    memory: list[tuple[int, int, int]] = field(default_factory=list)
    """After each run: payments so far, anonymous bytes of the gateway, of the engine."""


def choose(names: Sequence[str]) -> list[Case]:
    """The cases of these names, all if there are none. Raises `Invalid` for a name that is no case."""
    known = {case.name: case for case in CASES}
    for name in names:
        if name not in known:
            raise Invalid("--case", f"{name!r} is none; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(CASES)


def run(
    runs: int,
    seconds: float,
    names: Sequence[str],
    data: Path | None,
    say: Say,
    journal: str = "files",
    intake: str = "files",
) -> list[Result]:
    """Measure the cases; `say` gets a line on progress. Raises `Unavailable` if wrk or the instance is missing.

    With `journal` the URL of a PostgreSQL server, journals are in databases there, and its own TPC-B runs beside. With
    `intake` a broker's, requests wait there.
    """
    cases = choose(names)
    wrk.find()
    open_files = limits.raise_open_files()
    measured: dict[str, Result] = {}
    # Singles and batches on instances of their own: a batch case stores millions of transfers, which would drown
    # what a single payment leaves in memory.
    for group in ([case for case in cases if case.batch == 1], [case for case in cases if case.batch > 1]):
        if not group:
            continue
        with (
            tempfile.TemporaryDirectory(prefix="tallystick-bench-", dir=data) as name,
            engines(journal, intake) as settings,
            Instance(Path(name), settings={"followers": "", **settings}) as instance,
        ):
            bench = _Bench(instance, seconds, open_files, say)
            bench.prepare()
            series = [_Series(case) for case in group]
            tpc_b_s = []
            for number in range(runs):
                if journal != "files":
                    tpc_b_s.append(tpc_b(journal, say))
                for each in series:
                    say(f"run {number + 1} of {runs}: {each.case.name}")
                    bench.measure(each)
        measured.update((each.case.name, _result(each, tpc_b_s)) for each in series)
    return [measured[case.name] for case in cases]


class _Bench:
    def __init__(self, instance: Instance, seconds: float, open_files: int, say: Say) -> None:
        self.instance = instance
        self.seconds = seconds
        self.open_files = open_files
        self.say = say
        self.clock = SystemClock()
        self.accounts = Plan(run=_random_run(), accounts=ACCOUNTS, payments=0)
        self.payments = 0

    def prepare(self) -> None:
        """Open the accounts, none with a limit so that no payment is refused, and let everything warm up."""
        self.instance.open_accounts([self.accounts.account_id(number) for number in range(ACCOUNTS)], limited=False)
        for case in (CASES[0], CASES[1]):
            self._wrk(case, WARM_UP_S)

    def measure(self, series: _Series) -> None:
        """One run of the case, its reference first."""
        case = series.case
        connections = limits.connections_possible(case.connections, self.open_files)
        if connections < case.connections:
            self.say(f"this machine allows fewer open files: {connections:,} connections for {case.name}")
            case = msgspec.structs.replace(case, connections=connections)
        reference = msgspec.structs.replace(REFERENCE, connections=case.connections)
        seconds = self.seconds
        if case.connections >= MANY:
            if not series.measures:
                for each in (reference, case) * WARM_UP_RUNS:
                    self._wrk(each, seconds)
            seconds *= LONGER
        series.references.append(self._wrk(reference, seconds))
        done = self._arrivals(case) if case.mode == "open" else self._wrk(case, seconds)
        series.measures.append(done)
        if case.mode in NO_OPS:
            return
        self.payments += done.units
        pause(REST_S)
        sizes = [procstat.memory(self.instance.pid(name)).anonymous for name in ("gateway", "engine")]
        series.memory.append((self.payments, sizes[0], sizes[1]))

    def _wrk(self, case: Case, seconds: float) -> Measure:
        run = _random_run()
        seq = journal_check.end(self.instance.place)
        before = self._cpu()
        told = wrk.run(
            self.instance.url,
            self.instance.key,
            self.accounts,
            case.mode,
            case.connections,
            seconds,
            ids_run=run,
            batch=case.batch,
        )
        if case.mode not in NO_OPS:
            self._drained()
        parts = {name: now - before.get(name, 0) for name, now in self._cpu().items()}
        measure = Measure(
            units=told.answered * case.batch,
            seconds=told.duration_us / 1e6,
            cpu_us=sum(parts.values()),
            p50_ms=told.p50_us / 1e3,
            p95_ms=told.p95_us / 1e3,
            p99_ms=told.p99_us / 1e3,
            errors=told.errors,
            parts=parts,
        )
        if case.mode not in NO_OPS:
            self._account_for(measure, seq, run)
        return measure

    def _arrivals(self, case: Case) -> Measure:
        """Payments at a constant rate, whatever happens to those before; latencies count from the intended start."""
        plan = msgspec.structs.replace(self.accounts, payments=round(case.arrivals * self.seconds), refused_every=0)
        plan = msgspec.structs.replace(plan, run=_random_run(), accounts_run=self.accounts.run)
        seq = journal_check.end(self.instance.place)
        answers_file = self.instance.folder / "answers.npy"
        config = Config(
            host="127.0.0.1",
            port=self.instance.port,
            key=self.instance.key,
            plan=plan,
            connections=case.connections,
            answers=str(answers_file),
            rate=float(case.arrivals),
            patience_s=self.seconds + DRAIN_S,
        )
        before = self._cpu()
        with load_run(config) as generator:
            for _ in generator.lines():
                pass
            errors = generator.progress.errors + generator.progress.refused
            generator_us = generator.cpu_us()
        parts = {name: now - before.get(name, 0) for name, now in self._cpu().items()}
        cpu_us = sum(parts.values())
        answers = np.load(answers_file)
        known = answers[answers["answered_ns"] != 0]
        latencies = (known["answered_ns"] - known["sent_ns"]).tolist()
        seconds = float(known["answered_ns"].max() - answers["sent_ns"].min()) / 1e9
        unknown = len(answers) - len(known)
        measure = Measure(len(known), seconds, cpu_us, *percentiles_ms(latencies), errors=errors + unknown, parts=parts)
        measure.parts["generator"] = generator_us
        self._account_for(measure, seq, plan.run)
        return measure

    def _cpu(self) -> dict[str, int]:
        """CPU time so far, by process, in microseconds."""
        return {name: procstat.cpu_us({pid}) for name, pid in self.instance.groups().items()}

    def _drained(self) -> None:
        """Wait until what was in flight when wrk stopped is decided: the journal has stopped growing."""
        until_ns = self.clock.monotonic_ns() + round(DRAIN_S * 1e9)
        end = -1
        while (now := journal_check.end(self.instance.place)) != end:
            if self.clock.monotonic_ns() > until_ns:
                raise Unavailable(f"the journal still grows {DRAIN_S:.0f} s after the load has ended")
            end = now
            pause(0.25)

    def _account_for(self, measure: Measure, seq: int, run: int) -> None:
        """Hold what was acknowledged against the journal. More entries than answers are fine: wrk had to stop."""
        count = journal_check.count(self.instance.place, seq, run)
        measure.lost = max(0, measure.units - count.created)
        measure.doubled = count.doubled


def _random_run() -> int:
    return int.from_bytes(system_entropy(8), "big") >> 1


def _result(series: _Series, tpc_b_s: Sequence[float] = ()) -> Result:
    case, measures, references = series.case, series.measures, series.references
    rate, cpu_us = median(m.rate for m in measures), median(m.unit_cpu_us for m in measures)
    reference_rate = median(m.rate for m in references)
    reference_cpu_us = median(m.unit_cpu_us for m in references)
    extra: dict[str, object] = {
        "runs": len(measures),
        "errors": sum(m.errors for m in measures),
        "cpu_ratio": round(cpu_us / reference_cpu_us, 3) if reference_cpu_us else None,
        "rate_min": round(min(m.rate for m in measures), 1),
        "rate_max": round(max(m.rate for m in measures), 1),
    }
    if tpc_b_s:
        extra["pgbench_tps"] = round(median(tpc_b_s), 1)
        extra["of_pgbench"] = round(median([m.rate / tps for m, tps in zip(measures, tpc_b_s, strict=True)]), 2)
    if case.mode not in NO_OPS:
        extra["acknowledged"] = sum(m.units for m in measures)
        extra["lost"] = sum(m.lost for m in measures)
        extra["doubled"] = sum(m.doubled for m in measures)
        for name in measures[0].parts:
            extra[f"cpu_us_{name}"] = round(median(m.parts.get(name, 0) / max(1, m.units) for m in measures), 2)
        extra.update(rss_slopes(series.memory))
    return Result(
        case=case.name,
        rate=rate,
        unit=case.unit,
        cpu_us=cpu_us,
        reference=f"{REFERENCE.name}, {case.connections:,} connections",
        reference_rate=reference_rate,
        ratio=ratio(rate, reference_rate),
        p50_ms=median(m.p50_ms for m in measures),
        p95_ms=median(m.p95_ms for m in measures),
        p99_ms=median(m.p99_ms for m in measures),
        extra=extra,
    )


def rss_slopes(memory: Sequence[tuple[int, int, int]]) -> dict[str, float | None]:
    """Growth of gateway and engine in bytes per 100,000 payments, by least squares; the first run is warm-up."""
    names = ("gateway_rss_slope_bytes_per_100k", "engine_rss_slope_bytes_per_100k")
    steady = memory[1:]
    if len(steady) < 2:
        return dict.fromkeys(names)
    payments = np.array([row[0] for row in steady], np.float64)
    return {
        name: round(float(np.polyfit(payments, np.array([row[at] for row in steady], np.float64), 1)[0]) * 1e5, 1)
        for at, name in enumerate(names, 1)
    }
