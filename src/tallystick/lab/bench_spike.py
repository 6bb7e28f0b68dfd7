"""`tally bench spike`: thousands of payments at once against a steady rate: how long is the queue, and who feels it?

Two load generators, processes of their own, on one instance: one keeps a constant rate from begin to end, the other
opens its connections and then sends a payment over each of them in the same moment. Latencies count from when a
payment should have started, so whoever is held up by the spike is counted.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.clock import system_entropy
from tallystick.errors import Unavailable
from tallystick.lab import journal_check, limits
from tallystick.lab.generator import LoadRun, load_run
from tallystick.lab.instance import TENANT, Instance
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, percentiles_ms, ratio

ACCOUNTS = 1_000
STEADY_CONNECTIONS = 64
AT_ONCE = 1e7
"""Arrivals a second of the spike: ten thousand within a millisecond."""
SLICE_S = 0.5
CALM_MS = 2.0
"""A slice is calm again when its p99 is no more than this factor above what it was before the spike, or so many ms."""

Say = Callable[[str], None]


class Moment(msgspec.Struct, frozen=True):
    """One slice of the run."""

    s: float
    """Since the spike's first payment; negative before."""
    steady_p50_ms: float | None
    steady_p99_ms: float | None
    undecided: int | None
    """Commands in the queue, as a gateway's metrics say."""
    oldest_ms: float | None


def run(
    payments: int,
    rate: float,
    seconds: float,
    data: Path | None,
    say: Say,
    journal: str = "files",
    intake: str = "files",
) -> list[Result]:
    """The spike in the middle of so many seconds of the steady rate. Raises `Unavailable` if the instance breaks."""
    possible = limits.connections_possible(payments + STEADY_CONNECTIONS, limits.raise_open_files())
    if possible < payments + STEADY_CONNECTIONS:
        raise Unavailable(f"this machine allows {possible:,} connections only: raise `ulimit -n`, or use --payments")
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-spike-", dir=data) as name,
        engines(journal, intake) as settings,
        Instance(Path(name), settings=settings) as instance,
    ):
        steady = _plan(round(rate * seconds))
        spike = msgspec.structs.replace(_plan(payments), accounts_run=steady.run)
        instance.open_accounts([steady.account_id(number) for number in range(ACCOUNTS)], limited=False)
        say("a second for the caches")
        _load(instance, _config(instance, _plan(round(rate)), "warm", STEADY_CONNECTIONS, rate, steady.run))
        say(f"{rate:,.0f} payments a second for {seconds:.0f} s; then {payments:,} more at once")
        queue: list[tuple[int, int, float]] = []
        answers = _both(instance, steady, spike, rate, seconds, queue)
        say("comparing every answer with the journal")
        found = journal_check.read(instance.place).transfers
        verdicts = [journal_check.compare(plan, rows, found, TENANT) for plan, rows in answers]
    return _results(answers[0][1], answers[1][1], queue, rate, verdicts)


def _plan(payments: int) -> Plan:
    run = int.from_bytes(system_entropy(8), "big") >> 1
    return Plan(run=run, accounts=ACCOUNTS, payments=payments, refused_every=0)


def _config(
    instance: Instance, plan: Plan, name: str, connections: int, rate: float, accounts_run: int | None = None
) -> Config:
    if accounts_run is not None:
        plan = msgspec.structs.replace(plan, accounts_run=accounts_run)
    return Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=plan,
        connections=connections,
        answers=str(instance.folder / f"{name}.npy"),
        rate=rate,
        patience_s=120.0,
    )


def _load(instance: Instance, config: Config) -> npt.NDArray[np.void]:
    with load_run(config) as run:
        for _ in run.lines():
            pass
    return np.load(config.answers)  # type: ignore[no-any-return]


def _both(
    instance: Instance, steady: Plan, spike: Plan, rate: float, seconds: float, queue: list[tuple[int, int, float]]
) -> list[tuple[Plan, npt.NDArray[np.void]]]:
    """Run both; fills `queue` with monotonic time, undecided commands, and the age of the oldest in seconds."""
    calm = _config(instance, steady, "steady", STEADY_CONNECTIONS, rate)
    sudden = _config(instance, spike, "spike", spike.payments, AT_ONCE)
    api = instance.api()
    with ExitStack() as stack:
        first = stack.enter_context(load_run(calm))
        second: list[LoadRun] = []
        waiting: list[Thread] = []
        for _ in first.lines():
            if not second and first.progress.answered >= rate * seconds / 2:
                second.append(stack.enter_context(load_run(sudden)))
                waiting.append(Thread(target=lambda: [None for _ in second[0].lines()]))
                waiting[0].start()
            lines = api.ask("GET", "/metrics").body.decode().splitlines()
            shown = dict(line.rsplit(" ", 1) for line in lines if 'lane="payments"' in line)
            undecided = float(shown.get('tally_gateway_undecided{lane="payments"}', 0))
            oldest_s = float(shown.get('tally_gateway_oldest_undecided_seconds{lane="payments"}', 0))
            queue.append((instance.clock.monotonic_ns(), int(undecided), oldest_s))
        if not second:
            raise Unavailable("the steady load ended before the spike")
        waiting[0].join()
    api.close()
    return [(steady, np.load(calm.answers)), (spike, np.load(sudden.answers))]


def _results(
    steady: npt.NDArray[np.void],
    spike: npt.NDArray[np.void],
    queue: list[tuple[int, int, float]],
    rate: float,
    verdicts: list[journal_check.Verdict],
) -> list[Result]:
    zero_ns = int(spike["sent_ns"].min())
    end_ns = int(spike["answered_ns"].max())
    before = steady[steady["sent_ns"] < zero_ns - int(1e9)]
    during = steady[(steady["answered_ns"] >= zero_ns) & (steady["sent_ns"] <= end_ns)]
    after = steady[steady["sent_ns"] > end_ns]
    moments = _moments(steady, queue, zero_ns)
    quiet_ms = percentiles_ms(_latencies(before))[2]
    hurt = [each.s for each in moments if each.s >= 0 and (each.steady_p99_ms or 0) > CALM_MS * quiet_ms + CALM_MS]
    results = []
    for name, rows, unit_s in (
        ("steady, before", before, None),
        ("the spike", spike, (end_ns - zero_ns) / 1e9),
        ("steady, during it", during, (end_ns - zero_ns) / 1e9),
        ("steady, after", after, None),
    ):
        if not len(rows):
            continue
        span_s = unit_s or float(rows["sent_ns"].max() - rows["sent_ns"].min()) / 1e9 or 1.0
        p50, p95, p99 = percentiles_ms(_latencies(rows))
        achieved = len(rows) / span_s
        results.append(
            Result(
                case=name,
                rate=achieved,
                unit="payments",
                cpu_us=None,
                reference="the steady rate asked for",
                reference_rate=rate,
                ratio=ratio(achieved, rate),
                p50_ms=p50,
                p95_ms=p95,
                p99_ms=p99,
            )
        )
    spike_result = next(result for result in results if result.case == "the spike")
    spike_result.extra.update(
        payments=len(spike),
        answered_s=round((end_ns - zero_ns) / 1e9, 3),
        queue_max=max((count for at_ns, count, _ in queue if at_ns >= zero_ns), default=0),
        oldest_ms_max=round(1e3 * max((age for at_ns, _, age in queue if at_ns >= zero_ns), default=0.0), 1),
        steady_felt_it_s=round(max(hurt) + SLICE_S, 1) if hurt else 0.0,
        lost=sum(verdict.lost for verdict in verdicts),
        doubled=sum(verdict.doubled for verdict in verdicts),
        unknown=sum(verdict.unknown for verdict in verdicts),
        over_time=[msgspec.structs.asdict(each) for each in moments],
    )
    return results


def _latencies(rows: npt.NDArray[np.void]) -> list[int]:
    known = rows["answered_ns"] != 0
    return (rows["answered_ns"] - rows["sent_ns"])[known].tolist()  # type: ignore[no-any-return]


def _moments(steady: npt.NDArray[np.void], queue: list[tuple[int, int, float]], zero_ns: int) -> list[Moment]:
    """Slices of the steady run, with the longest queue that was seen in each."""
    slices = np.floor((steady["sent_ns"] - zero_ns) / (SLICE_S * 1e9)).astype(int)
    moments = []
    for number in range(int(slices.min()), int(slices.max()) + 1):
        latencies = _latencies(steady[slices == number])
        seen = [(count, age) for at_ns, count, age in queue if (at_ns - zero_ns) // round(SLICE_S * 1e9) == number]
        p50, _, p99 = percentiles_ms(latencies) if latencies else (None, None, None)
        moments.append(
            Moment(
                s=round(number * SLICE_S, 1),
                steady_p50_ms=p50,
                steady_p99_ms=p99,
                undecided=max((count for count, _ in seen), default=None),
                oldest_ms=round(1e3 * max(age for _, age in seen), 1) if seen else None,
            )
        )
    return moments
