"""`tally bench backup`: is a backup felt by payments, how fast is it, and is what is restored what was there?

Payments flow at a constant rate, in pairs of stretches: one alone, one with a backup made meanwhile, so that both feel
the same moods of the machine. Then the last backup is restored elsewhere, its journal made into books once more, and
its bytes compared with the original's.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Unavailable
from tallystick.lab import journal_check
from tallystick.lab.generator import load_run
from tallystick.lab.instance import TENANT, Instance, tally
from tallystick.lab.kills import fill
from tallystick.lab.load import Config
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median, percentiles_ms, ratio

ACCOUNTS = 1_000
CONNECTIONS = 64

Say = Callable[[str], None]


class _Told(msgspec.Struct):
    """What `tally backup --json` and `tally restore --json` tell, as far as it is needed."""

    position: int
    bytes: int
    copied_bytes: int = 0


class _Compared(msgspec.Struct):
    entries: int
    difference: str | None


def run(
    pairs: int, rate: float, seconds: float, entries: int, mb_s: float, data: Path | None, say: Say
) -> list[Result]:
    """So many pairs of stretches of so many seconds, with `entries` stored before; backups go at `mb_s` at most.

    Raises `Unavailable`.
    """
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="tallystick-backup-", dir=data) as name:
        copy, restored = Path(name, "copy"), Path(name, "restored")
        with Instance(Path(name, "original")) as instance:
            plan = _plan(ACCOUNTS)
            instance.open_accounts([plan.account_id(number) for number in range(ACCOUNTS)], limited=False)
            say(f"storing {entries:,} entries")
            fill(instance, plan, entries)
            stretches: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
            speeds, lost = [], 0
            for number in range(pairs):
                for with_backup in (False, True) if number % 2 else (True, False):
                    say(
                        f"pair {number + 1} of {pairs}: {rate:,.0f} payments a second, {seconds:.0f} s, "
                        + ("and a whole backup" if with_backup else "alone")
                    )
                    shutil.rmtree(copy, ignore_errors=True)
                    of = msgspec.structs.replace(_plan(round(rate * seconds)), accounts_run=plan.run)
                    answers, speed = _stretch(instance, of, rate, copy if with_backup else None, mb_s, clock)
                    speeds += [speed] if with_backup else []
                    stretches[with_backup].append(
                        percentiles_ms((answers["answered_ns"] - answers["sent_ns"]).tolist())
                    )
                    lost += int((answers["answered_ns"] == 0).sum())
            say("one more, on top of it, while payments flow; then it is restored elsewhere, and compared")
            of = msgspec.structs.replace(_plan(round(rate * seconds)), accounts_run=plan.run)
            shutil.rmtree(copy, ignore_errors=True)
            _tool(_Told, "backup", str(copy), "--data", str(instance.folder))
            _stretch(instance, of, rate, copy, mb_s, clock)
            original = journal_check.read(instance.place)
            verdict = journal_check.compare(of, np.load(_answers(instance)), original.transfers, TENANT)
        began_ns = clock.monotonic_ns()
        told = _tool(_Told, "restore", str(copy), str(restored))
        restore_s = (clock.monotonic_ns() - began_ns) / 1e9
        compared = _tool(_Compared, "rebuild", "--verify", str(restored))
        rows = original.transfers[original.transfers["seq"] < told.position]
        same = journal_check.read(restored).transfers.tobytes() == rows.tobytes()
    alone, beside = ([median(row[at] for row in stretches[which]) for at in range(3)] for which in (False, True))
    ratios = [one[2] / other[2] for one, other in zip(stretches[True], stretches[False], strict=True)]
    extra = {
        "p99_ms_alone": round(alone[2], 2),
        "p99_ratio_median": round(median(ratios), 3),
        "backup_mb_s": round(median(speeds) / 1e6, 1),
        "backup_mb": round(told.bytes / 1e6, 1),
        "position": told.position,
        "entries": original.entries,
        "restore_s": round(restore_s, 2),
        "equal_up_to_its_position": same and compared.difference is None and compared.entries == told.position,
        "unknown": lost,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
    }
    return [
        Result(
            case=f"{rate:,.0f} payments/s beside a backup",
            rate=rate,
            unit="payments",
            cpu_us=None,
            reference="the same without a backup",
            reference_rate=rate,
            ratio=ratio(rate, rate),
            p50_ms=beside[0],
            p95_ms=beside[1],
            p99_ms=beside[2],
            extra=extra,
        )
    ]


def _plan(payments: int) -> Plan:
    run = int.from_bytes(system_entropy(8), "big") >> 1
    return Plan(run=run, accounts=ACCOUNTS, payments=payments, refused_every=0)


def _answers(instance: Instance) -> Path:
    return instance.folder.parent / "answers.npy"


def _stretch(
    instance: Instance, plan: Plan, rate: float, copy: Path | None, mb_s: float, clock: SystemClock
) -> tuple[npt.NDArray[np.void], float]:
    """Payments, and a backup meanwhile if there is to be one; the answers, and bytes a second of the backup."""
    config = Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=plan,
        connections=CONNECTIONS,
        answers=str(_answers(instance)),
        rate=rate,
    )
    speed, copying, began_ns = 0.0, None, 0
    with load_run(config) as run:
        for _ in run.lines():
            if copy is not None and copying is None and run.progress.answered:
                began_ns = clock.monotonic_ns()
                command = [*tally("backup"), str(copy), "--data", str(instance.folder)]
                command += ["--mb-s", str(mb_s), "--json"]
                copying = subprocess.Popen(command, stdout=subprocess.PIPE)
            if copying is not None and not speed and copying.poll() is not None:
                speed = 1e9 / (clock.monotonic_ns() - began_ns)
    if copying is not None:
        out, _ = copying.communicate()
        if copying.returncode:
            raise Unavailable(f"tally backup ended with code {copying.returncode}: {out!r}")
        speed = (speed or 1e9 / (clock.monotonic_ns() - began_ns)) * msgspec.json.decode(out, type=_Told).copied_bytes
    return np.load(config.answers), speed


def _tool(type_: type[msgspec.Struct], *words: str) -> Any:
    done = subprocess.run([*tally(*words), "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise Unavailable(f"tally {words[0]} ended with code {done.returncode}: {done.stdout!r}")
    return msgspec.json.decode(done.stdout, type=type_)
