"""The demo's first part: a small bank's day at a steady rate, and on cue each process is stopped, then killed.

Payments come at a constant rate whatever happens (an open loop), so that what a wound cost stands in their latencies.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from tallystick.blockfile.disk import SystemDisk
from tallystick.errors import Unavailable
from tallystick.journal import progress
from tallystick.journal.progress import Lag
from tallystick.lab import cues, journal_check
from tallystick.lab.bank_day import BankDay
from tallystick.lab.demo_display import Display, Scene
from tallystick.lab.generator import load_run
from tallystick.lab.instance import TENANT, Instance, pause
from tallystick.lab.load import Config
from tallystick.lab.results import percentiles_ms

RATE = 250.0
"""Payments a second: far below what two cores can do, since what a stop costs is asked, not what a queue does."""
CONNECTIONS = 100
ROOM = 3
"""The day has payments for so many times as long as the cues take at least."""
PATIENCE_S = 90.0
STARTED_S = 30.0
"""How long the supervisor may take to tell that a process which was killed runs again."""


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the day showed; numbers as in the demo's own report."""

    payments: int
    kinds: dict[str, int]
    acknowledged: int
    by_status: dict[str, int]
    lost: int
    doubled: int
    unknown: int
    altered: int
    sums_match: bool
    balanced: bool
    p50_ms: float
    p95_ms: float
    p99_ms: float
    """Of all payments of the day, wounds included."""
    costs: list[cues.Cost]
    lags: dict[str, Lag]
    """How far behind each follower was at the end."""
    ok: bool


class Lags:
    """How far behind each follower of a data folder is: from files, so that one that is stopped shows, too."""

    def __init__(self, instance: Instance) -> None:
        self._run = instance.folder / "run"
        self._clock = instance.clock
        self._reader = instance.place.reader(SystemDisk())

    def now(self) -> dict[str, Lag]:
        """By name."""
        found, end = progress.read(self._run), self._reader.end()
        return {name: progress.lag(each, end, self._clock.wall_ns()) for name, each in found.items()}

    def close(self) -> None:
        """Close the journal's files."""
        self._reader.close()


def run(instance: Instance, run_id: int, seed: int, display: Display) -> DayReport:
    """Live through a day and judge it. Raises `Unavailable` if it could not be lived to its end."""
    script = cues.script([row.name for row in instance.processes()])
    day = BankDay(run=run_id, payments=round(RATE * cues.seconds(script) * ROOM), seed=seed)
    display.say(f"a small bank's day, seed {seed}: {RATE:,.0f} payments a second; on cue {', '.join(map(str, script))}")
    unlimited = day.unlimited()
    instance.open_accounts(unlimited, limited=False)
    instance.open_accounts([each for each in day.account_ids() if each not in unlimited], limited=True)
    before = _starts(instance)
    config = Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=day,
        connections=CONNECTIONS,
        answers=str(instance.folder / "day.npy"),
        rate=RATE,
        patience_s=PATIENCE_S,
    )
    lags = Lags(instance)
    ending = False
    with load_run(config) as load, cues.directed(instance, script) as director, display.live() as show:
        for _ in load.lines():
            now = load.progress
            if now.started and not now.done and not director.done:
                director.step(now.started - now.answered)
            if director.done and not ending:
                ending = True
                load.start_no_more()
            show(Scene(now, None, instance.processes(), lags.now(), director.state))
    for cue in script:
        if cue.what == "kill":
            started_once_more(instance, cue.process, before)
    answers = np.load(instance.folder / "day.npy")
    answers = answers[answers["sent_ns"] != 0]
    found = journal_check.read(instance.place)
    day = msgspec.structs.replace(day, payments=len(answers))
    verdict = journal_check.compare(day, answers, found.transfers, TENANT)
    balanced = balances_match(instance, day.account_ids(), journal_check.fold_phases(found.transfers))
    known = answers[answers["answered_ns"] != 0]
    p50, p95, p99 = percentiles_ms((known["answered_ns"] - known["sent_ns"]).tolist())
    behind = lags.now()
    lags.close()
    return DayReport(
        payments=day.payments,
        kinds=day.kinds(),
        acknowledged=verdict.acknowledged,
        by_status=verdict.by_status,
        lost=verdict.lost,
        doubled=verdict.doubled,
        unknown=verdict.unknown,
        altered=verdict.altered,
        sums_match=verdict.sums_match,
        balanced=balanced,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        costs=director.costs(answers),
        lags=behind,
        ok=(verdict.lost, verdict.doubled, verdict.unknown, verdict.altered) == (0, 0, 0, 0)
        and verdict.acknowledged == day.payments
        and verdict.sums_match
        and verdict.by_status == _expected(day)
        and balanced,
    )


def _expected(day: BankDay) -> dict[str, int]:
    """What must have been decided: only those who ask for more than they have are refused, whatever was killed."""
    refused = day.kinds()["refused"]
    return {"created": day.payments - refused, **({"exceeds_credits": refused} if refused else {})}


def _starts(instance: Instance) -> dict[str, int]:
    return {row.name: row.starts for row in instance.processes()}


def started_once_more(instance: Instance, name: str, before: Mapping[str, int]) -> None:
    """Wait until a process that was killed once is told to run again. Raises `Unavailable` if that is not its next
    start since `before`, or does not come: whoever watches is told a little later than the payments are served.
    """
    until_ns = instance.clock.monotonic_ns() + round(STARTED_S * 1e9)
    while (starts := _starts(instance).get(name, 0)) <= before.get(name, 0):
        if instance.clock.monotonic_ns() > until_ns:
            raise Unavailable(f"the {name} was killed, and not started again within {STARTED_S:.0f} s")
        pause(0.05)
    if starts != before.get(name, 0) + 1:
        raise Unavailable(f"the {name} was killed once, and started {starts - before.get(name, 0)} times since")


def balances_match(instance: Instance, accounts: list[int], folded: Mapping[int, list[int]]) -> bool:
    """Whether the fold of the journal is what the API says of every account, and debits equal credits."""
    shown = instance.balances(accounts)
    same = all(shown.get(each) == tuple(folded.get(each, (0, 0, 0, 0))) for each in accounts)
    # A kept data folder holds the accounts of earlier runs too: those are not asked for, but their sums count.
    posted, pending = ([sum(row[side + at] for row in folded.values()) for side in (0, 1)] for at in (0, 2))
    return same and posted[0] == posted[1] and pending[0] == pending[1]
