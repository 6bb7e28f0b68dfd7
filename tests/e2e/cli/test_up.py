"""`tally up` with real processes: started, killed, orphaned, stopped."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.compose.up import FOLLOWERS
from tallystick.lab.instance import Instance, pause, tally
from tallystick.supervise import status
from tallystick.supervise.processes import start_ticks


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process does. Fails if it does not happen."""
    for _ in range(round(seconds / 0.02)):
        if holds():
            return
        pause(0.02)
    pytest.fail(f"did not happen within {seconds} s")


def gone(pid: int) -> bool:
    return start_ticks(pid) is None


def told_engine(instance: Instance) -> int | None:
    """The engine's pid as the status file tells, whether it runs or not."""
    (row,) = [process for process in instance.processes() if process.name == "engine"]
    return row.pid


def test_a_killed_engine_is_back_at_once_and_the_gateway_never_went(instance: Instance) -> None:
    engine, gateway = instance.pid("engine"), instance.pid("gateway")
    instance.kill("engine")
    until(lambda: any(p.name == "engine" and p.pid not in (None, engine) for p in instance.processes()), 5)
    instance.wait_ready(60)
    assert instance.pid("gateway") == gateway
    (row,) = [process for process in instance.processes() if process.name == "engine"]
    assert (row.starts, row.last_exit, row.state) == (2, -signal.SIGKILL, "running")


def test_a_killed_gateway_is_back_too(instance: Instance) -> None:
    engine = instance.pid("engine")
    before = instance.pid("gateway")
    instance.kill("gateway")
    until(lambda: any(p.name == "gateway" and p.pid not in (None, before) for p in instance.processes()), 5)
    instance.wait_ready(60)
    assert instance.pid("engine") == engine


def test_the_same_folder_cannot_be_up_twice(instance: Instance) -> None:
    done = subprocess.run([*tally("up"), "--data", str(instance.folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert "is already up" in last
    assert "--data" in last
    assert instance.pid("engine")  # and the one that was up is left alone


def test_one_process_that_cannot_have_its_lock_says_so_and_needs_a_person(instance: Instance) -> None:
    command = [*tally("up"), "engine", "--data", str(instance.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert "Traceback" not in done.stdout
    told = json.loads(done.stderr.splitlines()[-1])
    assert (told["process"], told["event"]) == ("engine", "needs_a_person")
    assert told["reason"].startswith("Fenced")


def test_sigterm_stops_everything_and_leaves_nothing(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "data")
    with instance:
        pids = [process.pid for process in instance.processes() if process.pid is not None]
        assert len(pids) == 2 + len(FOLLOWERS)
        # One that has not yet started would be ended by the signal itself.
        until(lambda: all(f'"{name} ready"' in instance.log_path.read_text() for name in FOLLOWERS), seconds=90.0)
        assert instance.stop() == 0
    assert all(gone(pid) for pid in pids)
    assert status.read(instance.folder / "run") is None
    events = [json.loads(line) for line in instance.log_path.read_text().splitlines() if '"exit_code"' in line]
    ended = {event["name"]: event["exit_code"] for event in events if event["event"] == "ended"}
    assert ended == dict.fromkeys(("engine", "gateway", *FOLLOWERS), 0)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(tmp_path: Path) -> None:
    first = Instance(tmp_path / "data")
    with first:
        orphans = [process.pid for process in first.processes() if process.pid is not None]
        os.kill(first.groups()["supervisor"], signal.SIGKILL)
        until(lambda: gone(first.groups()["supervisor"]), 10)
        assert not any(gone(pid) for pid in orphans)  # payments go on without a supervisor
        with Instance(first.folder) as second:
            assert all(gone(pid) for pid in orphans)
            assert {process.starts for process in second.processes()} == {1}


def test_on_a_full_disk_what_ends_is_started_again_all_the_same(tmp_path: Path) -> None:
    with Instance(tmp_path / "data") as instance:
        supervisor, engine = instance.groups()["supervisor"], instance.pid("engine")
        hard = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, hard))  # no file may grow at all
        instance.kill("engine")
        until(lambda: gone(engine), 10)
        assert told_engine(instance) == engine  # nobody could be told
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (hard, hard))
        until(lambda: told_engine(instance) not in (None, engine), 10)
        resource.prlimit(instance.pid("engine"), resource.RLIMIT_FSIZE, (hard, hard))  # it may have been born so
        instance.wait_ready(60)


def test_two_gateways_serve_one_engine_and_each_comes_back_alone(tmp_path: Path) -> None:
    with Instance(tmp_path / "data", gateways=2) as instance:
        names = [process.name for process in instance.processes()]
        assert names == ["engine", "gateway", "gateway-2", *FOLLOWERS]
        instance.open_accounts([1], limited=False)  # through the first gateway
        assert instance.api(gateway=1).ask("GET", f"/v1/accounts/{1:032x}").status == 200
        first = instance.pid("gateway")
        instance.kill("gateway-2")
        until(lambda: next(p for p in instance.processes() if p.name == "gateway-2").starts == 2, 10)
        instance.wait_ready(60)
        assert instance.pid("gateway") == first
