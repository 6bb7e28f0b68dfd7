"""`tally bench statement`: pages of a statement, and searches, over HTTP, with many entries behind them.

The journal is filled in process, every tenth transfer to one account. Then the platform is started on it as `tally up`
does, the projector takes all of it in, and one client asks, one question at a time: pages of 100 lines that begin
anywhere in that account, and searches of several kinds. The reference is the no-op route of the same gateway.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tallystick import ids
from tallystick.client.http import Api
from tallystick.clock import SystemClock
from tallystick.errors import Invalid, Unavailable
from tallystick.lab import bench_follow, journal_check
from tallystick.lab.instance import Instance, pause
from tallystick.lab.results import Result, percentiles_ms, ratio

HOT = 10
ACCOUNTS = 100_000
PAGES = 2_000
SEARCHES = 1_000
LEVEL_S = 3_600.0
CASES = ("statement page", "search")
Say = Callable[[str], None]
_clock = SystemClock()


def run(entries: int, names: list[str], folder: Path | None, say: Say) -> list[Result]:
    """Fill, start, take in, ask. Raises `Unavailable` if an answer is not as it must be."""
    if unknown := set(names) - set(CASES):
        raise Invalid("--case", f"no such case: {', '.join(unknown)}; there are {', '.join(map(repr, CASES))}")
    with tempfile.TemporaryDirectory(prefix="tally-statement-", dir=folder) as place:
        data = Path(place) / "bank"
        say(f"filling: {entries:,} transfers, every {HOT}th to one of {ACCOUNTS:,} accounts")
        bench_follow.fill(data, entries, say, ACCOUNTS, HOT)
        with Instance(data) as instance:
            api = instance.api()
            _level(api, journal_check.end(data), say)
            noop = _ask(api, ("/health" for _ in range(PAGES)))
            results = []
            if not names or CASES[0] in names:
                results.append(
                    _result(
                        CASES[0], _ask(api, _pages(api, entries // HOT)), noop, lines=entries // HOT, entries=entries
                    )
                )
            if not names or CASES[1] in names:
                kinds = {}
                every: list[int] = []
                for kind, questions in _searches().items():
                    took = _ask(api, questions)
                    kinds[f"p99_ms_{kind}"] = round(percentiles_ms(took)[2], 2)
                    every += took
                results.append(_result(CASES[1], every, noop, entries=entries, **kinds))
            api.close()
        return results


def _level(api: Api, end: int, say: Say) -> None:
    """Wait until the projector has taken in all of the journal."""
    started = _clock.monotonic_ns()
    until = started + round(LEVEL_S * 1e9)
    told = 0
    while _clock.monotonic_ns() < until:
        answer = api.ask("GET", "/v1/trial-balance")
        reached = int(answer.headers.get("tally-position", "0"))
        if reached >= end:
            seconds = (_clock.monotonic_ns() - started) / 1e9
            say(f"the projector took {seconds:.0f} s for {end:,} entries, {end / seconds:,.0f} a second")
            return
        if reached // 1_000_000 > told:
            told = reached // 1_000_000
            say(f"the projector is at {reached:,} of {end:,}")
        pause(0.25)
    raise Unavailable(f"the projector does not reach entry {end:,}")


def _pages(api: Api, lines: int) -> Iterator[str]:
    """Statement pages of account 1, of so many lines, that begin anywhere: at random instants of its life."""
    account = ids.show(1)
    first = api.ask("GET", f"/v1/accounts/{account}/statement?limit=2").json()["lines"][-1]
    newest = api.ask("GET", f"/v1/transfers?account_id={account}&limit=1").json()["transfers"][0]
    since, until = int(first["timestamp"]), int(newest["timestamp"])
    rng = np.random.default_rng(11)
    # Not in its last pages, so that each is full.
    for share in (rng.random(PAGES) * max(0.5, 1 - 500 / lines)).tolist():
        yield f"/v1/accounts/{account}/statement?limit=100&from={since + int((until - since) * share)}"


def _searches() -> dict[str, Iterator[str]]:
    """Questions of each kind; how many rows they have differs from none to all."""
    rng = np.random.default_rng(12)

    def many(make: Callable[[np.random.Generator], str]) -> Iterator[str]:
        return (f"/v1/transfers?limit=100&{make(rng)}" for _ in range(SEARCHES))

    def amounts(rng: np.random.Generator) -> str:
        low = int(rng.integers(1, 1_000_000))
        return f"amount_min={low}&amount_max={low + int(rng.choice((0, 10, 1_000, 500_000)))}"

    def account(rng: np.random.Generator) -> str:
        return f"account_id={ids.show(int(rng.integers(1, ACCOUNTS)))}"

    return {
        "amount": many(amounts),
        "account": many(account),
        "code_and_amount": many(lambda rng: f"code={rng.integers(1, 50)}&{amounts(rng)}"),
        "user_data": many(lambda rng: f"user_data_64={rng.integers(1, 100_000)}"),
        "account_and_amount": many(lambda rng: f"account_id={ids.show(1)}&{amounts(rng)}"),
        "none": many(lambda rng: f"user_data_64={rng.integers(200_000, 300_000)}&code={rng.integers(1, 50)}"),
    }


def _ask(api: Api, paths: Iterator[str]) -> list[int]:
    """How long each answer took, ns."""
    took = []
    for path in paths:
        began = _clock.monotonic_ns()
        answer = api.ask("GET", path)
        took.append(_clock.monotonic_ns() - began)
        if answer.status != 200:
            raise Unavailable(f"{path}: HTTP {answer.status} {answer.body[:300]!r}")
        if "/statement" in path and len(answer.json()["lines"]) != 100:
            raise Unavailable(f"{path}: {len(answer.json()['lines'])} lines")
    return took


def _result(case: str, took: list[int], noop: list[int], **extra: object) -> Result:
    rate, reference = (len(each) / (sum(each) / 1e9) for each in (took, noop))
    p50, p95, p99 = percentiles_ms(took)
    return Result(
        case=case,
        rate=rate,
        unit="answers",
        cpu_us=None,
        reference="no-op route, one connection",
        reference_rate=reference,
        ratio=ratio(rate, reference),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        extra={"asked": len(took), **extra},
    )
