"""`tally bench ledger`: the engine as a library, on block files or in PostgreSQL, every result durable.

Each case runs on a fresh ledger beside its reference: the bytes that it wrote, in as many blocks, appended raw with
fdatasync; in PostgreSQL, that server's own TPC-B, once a run.

Requests are made before the clock starts; packing them into command records, hashing, waiting and waking are inside.
Two requests are in flight in the batch cases, so that one block is decided while the last is written.
"""

import asyncio
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose.library import Ledger
from tallystick.errors import Invalid
from tallystick.lab import onserver
from tallystick.lab.onserver import on_server, tpc_b
from tallystick.lab.results import Result, median, percentiles_ms
from tallystick.records import objects
from tallystick.records.commands import ACCOUNT_EVENT, COMMANDS_MAX, TRANSFER_EVENT, TransferFlag
from tallystick.records.objects import Transfer
from tallystick.statuses import CREATED

ACCOUNTS = 10_000
IN_FLIGHT = 2
PLAIN = "8,190 a batch"
CALLERS = 256
U64_MAX = 0xFFFFFFFFFFFFFFFF
REFERENCE = "raw append + fdatasync of the same bytes"
Rows = npt.NDArray[np.void]
Say = Callable[[str], None]

_clock = SystemClock()


@dataclass(frozen=True)
class Timed:
    """One run of a case: wall and CPU time of all of it, and each request's latency, in ns."""

    wall: int
    cpu: int
    latencies: list[int]


@dataclass(frozen=True)
class Case:
    """What is measured: so many transfers in requests of one size."""

    name: str
    size: int
    transfers: int
    run: "Callable[[Ledger, Case, np.random.Generator], Timed]"
    ordered: bool = True
    shape: "Callable[[Rows], None] | None" = None
    """What makes other transfers of the plain ones of a request."""
    accounts: int = ACCOUNTS


@dataclass
class _Measured:
    """What the runs of a case gave."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    per_sync: list[float] = field(default_factory=list)
    latencies: list[int] = field(default_factory=list)


def run(runs: int, names: list[str], folder: Path | None, say: Say, journal: str = "files") -> list[Result]:
    """The medians of `runs` runs of each case. Raises `RuntimeError` if a transfer was not created.

    With `journal` the URL of a PostgreSQL server, each case has a database of its own there, dropped afterwards.
    """
    chosen = [case for case in CASES if not names or case.name in names]
    if len(chosen) < len(set(names)):
        raise Invalid("--case", f"no such case; there are {', '.join(repr(case.name) for case in CASES)}")
    measured = {case.name: _Measured() for case in chosen}
    for number in range(runs):
        tpc_b_s = tpc_b(journal, say) if journal != "files" else 0.0
        for case in chosen:
            say(f"run {number + 1} of {runs}: {case.name}")
            with tempfile.TemporaryDirectory(prefix="tally-bench-", dir=folder) as place:
                _measure(case, Path(place), np.random.default_rng(number), measured[case.name], journal, tpc_b_s)
    return [_result(case, measured, REFERENCE if journal == "files" else onserver.REFERENCE) for case in chosen]


def _measure(case: Case, place: Path, rng: np.random.Generator, into: _Measured, journal: str, tpc_b_s: float) -> None:
    with on_server(journal) as url, Ledger.open(place / "ledger", journal=url) as ledger:
        for accounts in _accounts(case.accounts):
            ledger.create_accounts(accounts)
        in_batches(ledger, Case("warm-up", COMMANDS_MAX, 4 * COMMANDS_MAX, in_batches, accounts=case.accounts), rng)
        before = ledger.statistics()
        timed = case.run(ledger, case, rng)
        after = ledger.statistics()
    blocks, written = after["blocks"] - before["blocks"], after["bytes"] - before["bytes"]
    into.rates.append(case.transfers / (timed.wall / 1e9))
    into.cpu_us.append(timed.cpu / 1e3 / case.transfers)
    if journal == "files":
        into.references.append(case.transfers / (_append_raw(place / "raw", blocks, written // blocks) / 1e9))
    else:
        into.references.append(tpc_b_s)
    into.per_sync.append(case.transfers / blocks)
    into.latencies += timed.latencies


def in_batches(ledger: Ledger, case: Case, rng: np.random.Generator) -> Timed:
    """Requests of `case.size`, two in flight."""
    requests = [_transfers(case, start, rng) for start in range(0, case.transfers, case.size)]
    return asyncio.run(_in_flight(ledger, requests, IN_FLIGHT))


def from_coroutines(ledger: Ledger, case: Case, rng: np.random.Generator) -> Timed:
    """Singles from 256 coroutines, each waiting for its outcome before it asks again."""
    return asyncio.run(_in_flight(ledger, _singles(case, rng), CALLERS))


async def _in_flight(ledger: Ledger, requests: list[Any], callers: int) -> Timed:
    waiting = iter(requests)
    latencies: list[int] = []

    async def call() -> None:
        for request in waiting:
            asked = _clock.monotonic_ns()
            results = await ledger.aio.create_transfers(request)
            latencies.append(_clock.monotonic_ns() - asked)
            _require_created(results)

    cpu, start = _clock.cpu_ns(), _clock.monotonic_ns()
    await asyncio.gather(*[call() for _ in range(callers)])
    return Timed(_clock.monotonic_ns() - start, _clock.cpu_ns() - cpu, latencies)


def from_threads(ledger: Ledger, case: Case, rng: np.random.Generator) -> Timed:
    """Singles from 256 threads, each waiting for its outcome before it asks again."""
    requests = _singles(case, rng)
    latencies: list[int] = []

    def call(mine: list[list[Transfer]]) -> None:
        for request in mine:
            asked = _clock.monotonic_ns()
            results = ledger.create_transfers(request)
            latencies.append(_clock.monotonic_ns() - asked)
            _require_created(results)

    threads = [threading.Thread(target=call, args=(requests[k::CALLERS],)) for k in range(CALLERS)]
    cpu, start = _clock.cpu_ns(), _clock.monotonic_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(latencies) != case.transfers:
        raise RuntimeError("a thread did not finish: see the exception above")
    return Timed(_clock.monotonic_ns() - start, _clock.cpu_ns() - cpu, latencies)


def _require_created(results: Any) -> None:
    if isinstance(results, np.ndarray):
        created = bool((results["status"] == CREATED).all())
    else:
        created = all(result.status == CREATED for result in results)
    if not created:
        raise RuntimeError("a transfer of the bench was not created: its figure would say nothing")


def _accounts(count: int) -> list[Rows]:
    rows = np.zeros(count, ACCOUNT_EVENT)
    rows["id_lo"], rows["ledger"], rows["code"] = np.arange(1, count + 1), 1, 1
    return [rows[start : start + COMMANDS_MAX] for start in range(0, count, COMMANDS_MAX)]


def _transfers(case: Case, start: int, rng: np.random.Generator) -> Rows:
    """Random accounts and amounts; ids ordered by time as UUIDv7 are, or random."""
    count = min(case.size, case.transfers - start)
    rows = np.zeros(count, TRANSFER_EVENT)
    debit = rng.integers(0, case.accounts, count)
    rows["id_lo"] = rng.integers(1, 1 << 63, count)
    rows["id_hi"] = _clock.wall_ns() + np.arange(count) if case.ordered else rng.integers(1, 1 << 63, count)
    rows["debit_account_id_lo"] = debit + 1
    rows["credit_account_id_lo"] = (debit + rng.integers(1, case.accounts, count)) % case.accounts + 1
    rows["amount_lo"] = rng.integers(1, 10_000, count)
    rows["ledger"], rows["code"] = 1, 1
    if case.shape is not None:
        case.shape(rows)
    return rows


def two_phase(rows: Rows) -> None:
    """Of ten transfers one reserves, with a time-out, and another posts that."""
    pending, post = rows[0 : len(rows) - 5 : 10], rows[5::10]
    pending["flag_bits"], pending["timeout"] = TransferFlag.PENDING, 3_600
    post["flag_bits"] = TransferFlag.POST_PENDING_TRANSFER
    post["pending_id_lo"], post["pending_id_hi"] = pending["id_lo"], pending["id_hi"]
    post["amount_lo"] = post["amount_hi"] = U64_MAX
    for name in ("debit_account_id_lo", "credit_account_id_lo", "ledger", "code"):
        post[name] = 0


def chains_of_three(rows: Rows) -> None:
    """Of fifteen transfers three stand or fall together."""
    for at in (0, 1):
        rows["flag_bits"][at : len(rows) - 2 + at : 15] = TransferFlag.LINKED


def hot_account(rows: Rows) -> None:
    """Three of ten transfers are paid by one account."""
    hot = np.arange(len(rows)) % 10 < 3
    rows["debit_account_id_lo"][hot & (rows["credit_account_id_lo"] != 1)] = 1


def _singles(case: Case, rng: np.random.Generator) -> list[list[Transfer]]:
    rows = _transfers(Case("", case.transfers, case.transfers, in_batches), 0, rng)
    return [[objects.transfer(row)] for row in rows]


def _append_raw(path: Path, blocks: int, size: int) -> int:
    """Nanoseconds that it takes to append so many blocks of so many bytes, each synced."""
    data = system_entropy(size)
    file = SystemDisk().create(path)
    try:
        start = _clock.monotonic_ns()
        for block in range(blocks):
            file.write(block * size, [data])
            file.sync()
        return _clock.monotonic_ns() - start
    finally:
        file.close()


def _result(case: Case, measured: dict[str, _Measured], against: str) -> Result:
    mine = measured[case.name]
    p50, p95, p99 = percentiles_ms(mine.latencies)
    extra: dict[str, Any] = {"per_sync": round(median(mine.per_sync), 1), "runs": len(mine.rates)}
    if case.shape is not None or case.accounts != ACCOUNTS:
        plain = measured.get(PLAIN)
        if plain is not None:
            extra["of_plain"] = median(mine.rates) / median(plain.rates)
    for name, other in (("of_batches_of_100", "100 a batch"), ("cpu_of_ordered", PLAIN)):
        if other not in measured or case.name == other:
            continue
        if name == "of_batches_of_100" and case.size == 1:
            extra[name] = median(mine.rates) / median(measured[other].rates)
        if name == "cpu_of_ordered" and not case.ordered:
            extra[name] = median(mine.cpu_us) / median(measured[other].cpu_us)
    return Result(
        case=case.name,
        rate=median(mine.rates),
        unit="transfers",
        cpu_us=median(mine.cpu_us),
        reference=against,
        reference_rate=median(mine.references),
        ratio=median([rate / reference for rate, reference in zip(mine.rates, mine.references, strict=True)]),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        extra=extra,
    )


CASES = (
    Case(PLAIN, COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches),
    Case("8,190 a batch, random ids", COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches, ordered=False),
    Case("20 % two-phase", COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches, shape=two_phase),
    Case("20 % in chains of 3", COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches, shape=chains_of_three),
    Case("hot account", COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches, shape=hot_account),
    Case("1,000,000 accounts", COMMANDS_MAX, 100 * COMMANDS_MAX, in_batches, accounts=1_000_000),
    Case("1,000 a batch", 1_000, 400_000, in_batches),
    Case("100 a batch", 100, 100_000, in_batches),
    Case("1 a batch", 1, 3_000, in_batches),
    Case("256 coroutines", 1, 60_000, from_coroutines),
    Case("256 threads", 1, 20_000, from_threads),
)
