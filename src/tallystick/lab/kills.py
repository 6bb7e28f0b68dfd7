"""`tally bench restart`: the engine is killed again and again under load, with a long journal behind it.

What counts is the time from the SIGKILL to the first answer about a payment that was decided after it, as a client
sees it: noticing the death, starting Python, loading the books, replaying the tail, taking up the intake.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick import ids
from tallystick.client.requests import Patience, settle
from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Unavailable
from tallystick.lab import journal_check
from tallystick.lab.generator import load_run
from tallystick.lab.instance import TENANT, Instance, never_stopped
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines
from tallystick.lab.plan import CODE, LEDGER, Plan
from tallystick.lab.results import Result
from tallystick.records.commands import COMMANDS_MAX, TRANSFER_EVENT

ACCOUNTS = 1000
CONNECTIONS = 200
PAYMENTS_MAX = 5_000_000
BETWEEN_S = 1.0
"""Load between the first outcome after a kill and the next kill."""
PATIENCE_S = 600.0
BINARY = {"Content-Type": "application/octet-stream"}

Say = Callable[[str], None]


def run(
    kills: int, entries: int, data: Path | None, say: Say, journal: str = "files", intake: str = "files"
) -> list[Result]:
    """Kill the engine so often with so many entries stored. Raises `Unavailable` if the instance breaks down."""
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-kills-", dir=data) as name,
        engines(journal, intake) as settings,
        Instance(Path(name), settings=settings) as instance,
    ):
        plan = Plan(
            run=int.from_bytes(system_entropy(8), "big") >> 1,
            accounts=ACCOUNTS,
            payments=PAYMENTS_MAX,
            refused_every=0,
        )
        instance.open_accounts([plan.account_id(number) for number in range(ACCOUNTS)], limited=False)
        say(f"storing {entries:,} entries")
        fill(instance, plan, entries)
        stored = journal_check.end(instance.place)
        say(f"killing the engine {kills} times under load, {stored:,} entries stored")
        killed_ns, answers = _kill(instance, plan, kills, say)
        say("comparing every answer with the journal")
        found = journal_check.read(instance.place)
    plan = msgspec.structs.replace(plan, payments=len(answers))
    verdict = journal_check.compare(plan, answers, found.transfers, TENANT)
    waits_s = first_outcomes_s(SystemClock(), answers, killed_ns)
    known = answers["answered_ns"] != 0
    wall_s = float(answers["answered_ns"].max() - answers["sent_ns"].min()) / 1e9
    extra = {
        "kills": kills,
        "entries": stored,
        "acknowledged": verdict.acknowledged,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "unknown": verdict.unknown,
        "altered": verdict.altered,
        "kill_to_first_outcome_s_median": round(statistics.median(waits_s), 3),
        "kill_to_first_outcome_s_max": round(max(waits_s), 3),
    }
    return [
        Result(
            case=f"{kills} kills",
            rate=int(known.sum()) / wall_s,
            unit="payments",
            cpu_us=None,
            reference="none: a time, not a rate",
            reference_rate=None,
            ratio=None,
            extra=extra,
        )
    ]


def fill(instance: Instance, plan: Plan, entries: int) -> None:
    """Store so many transfers by binary batches, with ids that no payment of the plan has."""
    api = instance.api()
    patience = Patience(instance.clock, system_entropy, never_stopped)
    for first in range(0, entries, COMMANDS_MAX):
        rows = np.zeros(min(COMMANDS_MAX, entries - first), TRANSFER_EVENT)
        numbers = np.arange(first, first + len(rows), dtype=np.uint64)
        rows["id_lo"] = numbers + np.uint64(1)
        rows["id_hi"] = (plan.run ^ 1) & ((1 << 64) - 1)
        accounts = np.array([plan.account_id(number) & ((1 << 64) - 1) for number in range(ACCOUNTS)], np.uint64)
        rows["debit_account_id_lo"] = accounts[numbers % np.uint64(ACCOUNTS)]
        rows["credit_account_id_lo"] = accounts[(numbers + np.uint64(1)) % np.uint64(ACCOUNTS)]
        rows["debit_account_id_hi"] = rows["credit_account_id_hi"] = plan.run
        rows["amount_lo"] = 1
        rows["ledger"], rows["code"] = LEDGER, CODE
        key = ids.show(ids.time_ordered(instance.clock.wall_ns(), system_entropy))
        answer = settle(api, "/v1/transfers/batch", rows.tobytes(), key, patience, BINARY)
        if answer.status != 200:
            raise Unavailable(f"the journal could not be filled: HTTP {answer.status} {answer.body[:300]!r}")
    api.close()


def _kill(instance: Instance, plan: Plan, kills: int, say: Say) -> tuple[list[int], npt.NDArray[np.void]]:
    answers_file = instance.folder / "answers.npy"
    config = Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=plan,
        connections=CONNECTIONS,
        answers=str(answers_file),
        patience_s=PATIENCE_S,
    )
    killed_ns: list[int] = []
    at_kill, alive_ns = 0, 0
    with load_run(config) as generator:
        for _ in generator.lines():
            now = instance.clock.monotonic_ns()
            # Whatever was in flight at the kill may still be answered: progress well beyond it means a new engine.
            if not alive_ns and generator.progress.answered > at_kill + 2 * CONNECTIONS:
                alive_ns = now
            if not alive_ns or now - alive_ns < BETWEEN_S * 1e9:
                continue
            if len(killed_ns) == kills:
                generator.start_no_more()
                continue
            killed_ns.append(instance.kill("engine"))
            say(f"kill {len(killed_ns)} of {kills}, {generator.progress.answered:,} payments answered")
            at_kill, alive_ns = generator.progress.answered, 0
    answers = np.load(answers_file)
    return killed_ns, answers[answers["sent_ns"] != 0]


def first_outcomes_s(clock: SystemClock, answers: npt.NDArray[np.void], killed_ns: list[int]) -> list[float]:
    """For each kill the seconds to the first answer about a payment decided after it; infinite if there was none.

    Answers that were on their way when the engine died do not count: the entry's own timestamp tells.
    """
    offset_ns = clock.wall_ns() - clock.monotonic_ns()
    answered_ns = answers["answered_ns"] + offset_ns
    waits = []
    for kill_ns in killed_ns:
        after = (answers["timestamp"] > kill_ns) & (answered_ns > kill_ns)
        waits.append(float(answered_ns[after].min() - kill_ns) / 1e9 if after.any() else float("inf"))
    return waits
