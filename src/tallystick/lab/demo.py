"""The demo: start everything, live a bank's day with each process stopped and killed on cue, then keep thousands of
payments in flight, kill the engine in their middle, and prove that nothing is lost or doubled.

The proof is made by parts that trust each other little: the load generator (another process) wrote down what it was
told, `journal_check` reads the journal without the ledger's code, and balances are asked over HTTP.
"""

import csv
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from tallystick import ids
from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Unavailable
from tallystick.lab import demo_day, journal_check, limits
from tallystick.lab.demo_day import DayReport, Lags, balances_match, started_once_more
from tallystick.lab.demo_display import Display, Scene, closing_report
from tallystick.lab.generator import load_run
from tallystick.lab.instance import TENANT, Instance, tally
from tallystick.lab.kills import first_outcomes_s
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines
from tallystick.lab.plan import CODE, LEDGER, Plan
from tallystick.lab.results import percentiles_ms

ACCOUNTS = 1000
FUNDS = 10_000_000
"""Minor units that the payout file gives each account."""
KILL_AT = 0.5
"""Share of the payments answered when the engine is killed."""
AFTER_KILL = 0.05
"""Share of the payments that are sent only after the kill, however quick the others were."""
PATIENCE_S = 90.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo showed; `tally demo --json` ends with it. What the day showed stands in `day`."""

    acknowledged: int
    by_status: dict[str, int]
    lost: int
    doubled: int
    balanced: bool
    """Whether the fold of the journal is every account's balance, and all debits are all credits."""
    requests: int
    unknown: int
    altered: int
    sums_match: bool
    connections: int
    connection_errors: int
    retried: int
    throughput: float
    """Payments answered a second, from the first sent to the last answered, the kill included."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    kill_to_first_outcome_s: float
    entries: int
    payouts: int
    day: DayReport | None
    ok: bool
    seconds: float


def run(
    data: Path | None,
    connections: int,
    payments: int,
    seed: int | None,
    as_json: bool,
    journal: str = "files",
    intake: str = "files",
) -> bool:
    """Run the demo and print its report; True if all holds. Raises `Unavailable` if it could not be run.

    `seed` is that of the bank's day; None: without one. `journal` and `intake` are as those of `torture.run`.
    """
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    display = Display(sys.stderr)
    possible = limits.connections_possible(connections, limits.raise_open_files())
    if possible < connections:
        display.say(f"this machine allows fewer open files: {possible:,} connections instead of {connections:,}")
    with _folder(data) as folder, engines(journal, intake) as settings:
        if journal != "files" and (folder / "engine").exists():
            raise Unavailable(f"{folder} is of another journal: what is derived there is not of a new one. Use another")
        display.say(f"starting engine and gateway in {folder}; the first start compiles the kernel")
        with Instance(folder, clock, settings=settings) as instance:
            day = None if seed is None else demo_day.run(instance, _run_id(), seed, display)
            report = _walk(instance, possible, payments, display, started_ns, day)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
    else:
        closing_report(report)
    return report.ok


def _run_id() -> int:
    return int.from_bytes(system_entropy(8), "big") >> 1


def _walk(
    instance: Instance, connections: int, payments: int, display: Display, started_ns: int, day: DayReport | None
) -> Report:
    earlier = len(journal_check.read(instance.place).transfers)  # of a folder kept from an earlier run
    run_id = _run_id()
    plan = Plan(run=run_id, accounts=ACCOUNTS, payments=payments)
    accounts = [plan.account_id(number) for number in range(ACCOUNTS)]
    source = plan.account_id(ACCOUNTS)
    display.say(f"opening {ACCOUNTS:,} accounts, and one that the money comes from")
    instance.open_accounts([source], limited=False)
    instance.open_accounts(accounts, limited=True)
    display.say(f"paying {ACCOUNTS:,} payouts: tally pay payouts.csv, twice, since the second must change nothing")
    payouts = _payouts(instance, source, accounts, run_id)
    before = {row.name: row.starts for row in instance.processes()}
    display.say(f"{payments:,} payments, {connections:,} in flight at once; at half of them the engine gets a SIGKILL")
    answers_file = instance.folder / "answers.npy"
    config = Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=plan,
        connections=connections,
        answers=str(answers_file),
        patience_s=PATIENCE_S,
        kept_back=math.ceil(payments * AFTER_KILL),
    )
    killed_ns, errors, retried = _load(instance, config, display)
    answers = np.load(answers_file)
    display.say("reading the journal and comparing it with every answer and every balance")
    started_once_more(instance, "engine", before)
    found = journal_check.read(instance.place)
    verdict = journal_check.compare(plan, answers, found.transfers, TENANT)
    balanced = balances_match(instance, [source, *accounts], journal_check.fold_phases(found.transfers))
    others = len(found.transfers) - earlier - sum(verdict.by_status.values())
    known = answers["answered_ns"] != 0
    p50, p95, p99 = percentiles_ms((answers["answered_ns"] - answers["sent_ns"])[known].tolist())
    wall_s = float(answers["answered_ns"].max() - answers["sent_ns"][answers["sent_ns"] > 0].min()) / 1e9
    ok = (
        (verdict.lost, verdict.doubled, verdict.unknown, verdict.altered) == (0, 0, 0, 0)
        and verdict.acknowledged == payments
        and verdict.sums_match
        and balanced
        and others == payouts
        and (day is None or day.ok)
    )
    return Report(
        acknowledged=verdict.acknowledged,
        by_status=verdict.by_status,
        lost=verdict.lost,
        doubled=verdict.doubled,
        balanced=balanced,
        requests=payments,
        unknown=verdict.unknown,
        altered=verdict.altered,
        sums_match=verdict.sums_match,
        connections=connections,
        connection_errors=errors,
        retried=retried,
        throughput=round(int(known.sum()) / wall_s, 1),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        kill_to_first_outcome_s=round(first_outcomes_s(instance.clock, answers, [killed_ns])[0], 3),
        entries=found.entries,
        payouts=payouts,
        day=day,
        ok=ok,
        seconds=round((instance.clock.monotonic_ns() - started_ns) / 1e9, 1),
    )


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """The folder to use: the one given, kept; else a temporary one that goes."""
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        yield data.absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="tallystick-demo-") as name:
            yield Path(name)


def _payouts(instance: Instance, source: int, accounts: list[int], run_id: int) -> int:
    """Fund the accounts with `tally pay`, twice; returns how many payouts there are. Raises `Unavailable`."""
    file = instance.folder / "payouts.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["batch", "reference", "debit_account_id", "credit_account_id", "amount", "ledger", "code"])
        for number, account in enumerate(accounts):
            row = [ids.show(source), ids.show(account), FUNDS, LEDGER, CODE]
            writer.writerow([f"demo-{run_id:x}", f"salary-{number}", *row])
    command = [*tally("pay"), str(file), "--url", instance.url, "--key-file", str(instance.key_file), "--json"]
    for replayed in (0, len(accounts)):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        told = msgspec.json.decode(done.stdout or b"{}")
        if done.returncode != 0 or (told["created"], told["replayed"]) != (len(accounts), replayed):
            raise Unavailable(f"tally pay ended with code {done.returncode}: {told}")
    return len(accounts)


def _load(instance: Instance, config: Config, display: Display) -> tuple[int, int, int]:
    """Run the load and kill the engine in its middle: wall time of the kill, connection errors, payments sent again."""
    killed_ns = 0
    lags = Lags(instance)
    with load_run(config) as run, display.live() as show:
        for _ in run.lines():
            if not killed_ns and run.progress.answered >= config.plan.payments * KILL_AT:
                killed_ns = instance.kill("engine")
                run.keep_back_no_more()
            ago_s = (instance.clock.wall_ns() - killed_ns) / 1e9
            doing = f"SIGKILL engine, {ago_s:.1f} s ago" if killed_ns else "the engine gets a SIGKILL at half of them"
            show(Scene(run.progress, config.plan.payments, instance.processes(), lags.now(), doing))
    lags.close()
    if not killed_ns:
        raise Unavailable("the load ended before the engine could be killed")
    return killed_ns, run.progress.errors, run.progress.retried
