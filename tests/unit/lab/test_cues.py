import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tallystick.errors import Unavailable
from tallystick.lab import cues
from tallystick.lab.cues import Cue, costs, directed, script
from tallystick.lab.load import ANSWER

MS = 1_000_000


def answers(*due_and_latency_ms: tuple[int, int]) -> np.ndarray:  # type: ignore[type-arg]
    rows = np.zeros(len(due_and_latency_ms), ANSWER)
    for row, (due, latency) in zip(rows, due_and_latency_ms, strict=True):
        row["sent_ns"], row["answered_ns"] = due * MS, (due + latency) * MS
    return rows


def test_followers_come_before_the_engine_and_gateways_are_left_alone() -> None:
    found = script(["engine", "gateway", "notifier", "projector", "gateway-2"])
    assert [str(cue) for cue in found] == [
        *("SIGSTOP notifier", "SIGSTOP projector", "SIGSTOP engine"),
        *("SIGKILL notifier", "SIGKILL projector", "SIGKILL engine"),
    ]


def test_a_wound_costs_what_payments_due_in_it_took_against_the_calm_around_it() -> None:
    stop, kill = Cue("stop", "notifier"), Cue("kill", "engine")
    wounds = [(stop, 100 * MS, 200 * MS), (kill, 300 * MS, 400 * MS)]
    calm = [(50, 2), (250, 4), (450, 8)]
    hurt = [(100, 3), (199, 6), (399, 500)]  # the last is answered long after the wound: it counts to it all the same
    first, second = costs(wounds, answers(*calm, *hurt))
    assert (first.process, first.payments, first.p99_ms, first.p99_calm_ms, first.ratio) == ("notifier", 2, 6, 4, 1.5)
    assert (second.process, second.payments, second.p99_ms, second.p99_calm_ms) == ("engine", 1, 500, 8)
    assert second.ratio == 62.5


def test_a_payment_on_its_way_when_the_wound_begins_is_hurt_by_it() -> None:
    [cost] = costs([(Cue("stop", "engine"), 100 * MS, 200 * MS)], answers((50, 2), (99, 100), (150, 40), (250, 4)))
    assert (cost.payments, cost.p99_ms, cost.p99_calm_ms) == (2, 100, 4)


def test_a_payment_without_outcome_has_no_latency() -> None:
    rows = answers((50, 2), (100, 3), (101, 3))
    rows["answered_ns"][2] = 0
    [cost] = costs([(Cue("kill", "engine"), 100 * MS, 200 * MS)], rows)
    assert cost.payments == 1


@pytest.mark.parametrize("rows", [answers((50, 2)), answers((150, 2))])
def test_a_wound_or_a_calm_without_payments_has_no_cost(rows: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(Unavailable, match="SIGKILL engine"):
        costs([(Cue("kill", "engine"), 100 * MS, 200 * MS)], rows)


class Clock:
    now = 1

    def monotonic_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return self.now


class OneProcess:
    """An instance of one process, which sleeps."""

    def __init__(self, pid: int) -> None:
        self.clock, self._pid = Clock(), pid

    def pid(self, name: str) -> int:
        return self._pid

    def state(self) -> str:
        with open(f"/proc/{self._pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def wait_for(self, *states: str) -> None:
        until = time.monotonic() + 20
        while self.state() not in states:
            assert time.monotonic() < until, f"it is in state {self.state()}, not in {states}"
            os.sched_yield()


@pytest.fixture
def instance():  # type: ignore[no-untyped-def]
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield OneProcess(child.pid)
    child.kill()
    child.wait()


def pass_s(instance: OneProcess, seconds: float) -> None:
    instance.clock.now += round(seconds * 1e9)


def test_a_process_is_stopped_and_goes_on_and_payments_must_catch_up_before_there_is_calm(
    instance: OneProcess,
) -> None:
    with directed(instance, [Cue("stop", "it"), Cue("kill", "it")]) as director:  # type: ignore[arg-type]
        director.step(0)
        pass_s(instance, cues.CALM_S)
        director.step(0)
        instance.wait_for("T")
        pass_s(instance, cues.STOPPED_S)
        director.step(1000)
        instance.wait_for("R", "S")
        pass_s(instance, cues.AFTER_S + 100)
        director.step(1000)  # too many still wait
        pass_s(instance, cues.CALM_S)
        director.step(1000)
        assert director.latest is not None
        assert director.latest[0].what == "stop"  # what a kill does to a process is seen only later
        director.step(cues.FEW_WAITING)
        assert not director.done
        pass_s(instance, cues.CALM_S)
        director.step(0)
        instance.wait_for("Z")
        pass_s(instance, cues.AFTER_S)
        director.step(0)
        assert not director.done  # there is no calm after it so far
        with pytest.raises(Unavailable):
            director.costs(answers((1, 1)))
        pass_s(instance, cues.CALM_S)
        assert director.done


def test_nothing_is_left_stopped_if_the_run_breaks(instance: OneProcess) -> None:
    def break_off() -> None:
        with directed(instance, [Cue("stop", "it")]) as director:  # type: ignore[arg-type]
            director.step(0)
            pass_s(instance, cues.CALM_S)
            director.step(0)
            instance.wait_for("T")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    instance.wait_for("R", "S")
