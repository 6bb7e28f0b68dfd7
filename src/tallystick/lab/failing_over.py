"""A load that goes on while what serves it is killed, and the proof that each payment was decided once.

Knows nothing of what is killed. The time that counts is a client's: the longest without an outcome, from each kill to
the next. It holds noticing, taking over, and whatever the clients' tries again add. Afterwards every request is asked
about: sent once more under its id, it must get the answer it got, as a repeat; then the journal itself is read.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.clock import SystemClock
from tallystick.compose.journals import Place
from tallystick.errors import Unavailable
from tallystick.lab import journal_check, load
from tallystick.lab.generator import LoadRun, load_run
from tallystick.lab.instance import TENANT
from tallystick.lab.journal_check import Verdict
from tallystick.lab.plan import Plan

BETWEEN_S = 1.0
"""Outcomes come for so long before a kill, and before the end."""
GOES_ON = 50
"""So many outcomes after a kill: more than were in flight, so they are new."""
AGAIN_S_MAX = 120.0
"""If none comes for so long, none will."""
PATIENCE_S = 3_600.0
POLL_S = 0.05

Say = Callable[[str], None]


class Wounds(Protocol):
    """What is killed, again and again."""

    def kill(self) -> str:
        """Kill what is at work, and do what whoever runs it would; returns what was killed. Raises `Unavailable`."""
        ...

    def heal(self) -> None:
        """Bring back what was killed, so that the next kill can be survived, too. Raises `Unavailable`."""
        ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run."""

    silences_s: list[float]
    """For each kill the longest time after it without an outcome, as clients saw it."""
    payments_s: float
    """Payments a second, kills and all."""
    asked_again: int
    """Requests that were sent once more after the last kill: all of them."""
    told_otherwise: int
    """Those whose answer was then another one, or none."""
    verdict: Verdict


def run(config: load.Config, place: Place, kills: int, wounds: Wounds, say: Say) -> Found:
    """Load as `config` says while so many kills come; then ask about every payment, and read the journal at `place`.

    Raises `Unavailable` if outcomes stop for good, or what kills and heals does not work.
    """
    clock = SystemClock()
    with load_run(config) as generator, _in_a_thread() as start:
        blows = start(lambda stopped: _blows(generator, kills, wounds, say, clock, stopped))
        for _ in generator.lines():
            if blows.done():
                blows.result()
                generator.start_no_more()
        killed_ns = blows.result()
    rows = np.load(config.answers)
    answers = rows[rows["sent_ns"] != 0]
    plan = msgspec.structs.replace(config.plan, payments=len(answers))
    assert isinstance(plan, Plan)
    again = _ask_again(msgspec.structs.replace(config, plan=plan), say)
    say("comparing every answer with the journal")
    verdict = journal_check.compare(plan, answers, journal_check.read(place).transfers, TENANT)
    answered_ns = answers["answered_ns"][answers["answered_ns"] != 0]
    return Found(
        silences_s=silences_s(answered_ns, killed_ns),
        payments_s=len(answered_ns) / (int(answered_ns.max() - answers["sent_ns"].min()) / 1e9),
        asked_again=len(again),
        told_otherwise=told_otherwise(answers, again),
        verdict=verdict,
    )


def silences_s(answered_ns: npt.NDArray[np.int64], killed_ns: Sequence[int]) -> list[float]:
    """For each kill the longest time without an answer, until the next kill; infinite if none came at all.

    All times are monotonic. A kill's is that of its order, a moment before the death, so an answer may come in between.
    """
    times = np.sort(answered_ns)
    found = []
    for number, kill_ns in enumerate(killed_ns):
        until_ns = killed_ns[number + 1] if number + 1 < len(killed_ns) else np.iinfo(np.int64).max
        mine = times[(times >= kill_ns) & (times <= until_ns)]
        longest_ns = int(np.diff(np.concatenate(([kill_ns], mine))).max()) if len(mine) else None
        found.append(float("inf") if longest_ns is None else longest_ns / 1e9)
    return found


def told_otherwise(answers: npt.NDArray[np.void], again: npt.NDArray[np.void]) -> int:
    """Requests that were acknowledged, and whose second answer is not a repeat of what is known of the first."""
    known = answers["answered_ns"] != 0
    same = (again["answered_ns"] != 0) & again["replayed"]
    for column in ("status", "timestamp"):
        same &= ~known | (again[column] == answers[column])
    return int((answers["acknowledged"] & ~same).sum())


def _ask_again(config: load.Config, say: Say) -> npt.NDArray[np.void]:
    say(f"asking about all {config.plan.payments:,} payments once more")
    config = msgspec.structs.replace(config, answers=str(Path(config.answers).with_suffix(".again.npy")))
    with load_run(config) as generator:
        for _ in generator.lines():
            pass
    found: npt.NDArray[np.void] = np.load(config.answers)
    return found


def _blows(
    generator: LoadRun, kills: int, wounds: Wounds, say: Say, clock: SystemClock, stopped: threading.Event
) -> list[int]:
    """Kill so often; returns when each kill was ordered, in monotonic nanoseconds."""
    killed_ns: list[int] = []
    _until_more(generator, clock, stopped)
    for number in range(kills):
        stopped.wait(BETWEEN_S)
        if stopped.is_set():
            break
        killed_ns.append(clock.monotonic_ns())
        what = wounds.kill()
        say(f"kill {number + 1} of {kills}: {what}, {generator.progress.answered:,} payments answered")
        _until_more(generator, clock, stopped)
        wounds.heal()
        _until_more(generator, clock, stopped)
    stopped.wait(BETWEEN_S)
    return killed_ns


def _until_more(generator: LoadRun, clock: SystemClock, stopped: threading.Event) -> None:
    enough = generator.progress.answered + GOES_ON
    until_ns = clock.monotonic_ns() + round(AGAIN_S_MAX * 1e9)
    while generator.progress.answered < enough and not stopped.wait(POLL_S):
        if clock.monotonic_ns() > until_ns:
            raise Unavailable(f"no payment was decided for {AGAIN_S_MAX:.0f} s")


@contextmanager
def _in_a_thread() -> Iterator[Callable[[Callable[[threading.Event], list[int]]], "Future[list[int]]"]]:
    """Starts one function in a thread of its own; it is told to stop, and has, before the context ends."""
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield lambda function: pool.submit(function, stopped)
        finally:
            stopped.set()
