"""`tally demo` and the benches, small: that they run, and that they judge."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tallystick.lab.instance import tally
from tallystick.lab.results import Result


def test_the_demo_kills_the_engine_and_finds_nothing_lost_or_doubled() -> None:
    # Few open files are allowed, so it must use fewer connections than asked for, and say so.
    limited = ["bash", "-c", 'ulimit -n 500; exec "$@"', "bash"]
    words = ["--no-day", "--connections", "10000", "--payments", "20000", "--json"]
    command = [*limited, *tally("demo"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    assert "100 connections instead of 10,000" in " ".join(done.stderr.split())
    assert report["ok"]
    assert (report["acknowledged"], report["requests"], report["connections"]) == (20_000, 20_000, 100)
    assert (report["lost"], report["doubled"], report["unknown"], report["altered"]) == (0, 0, 0, 0)
    assert report["by_status"] == {"created": 19_600, "exceeds_credits": 400}
    assert report["balanced"]
    assert report["sums_match"]
    assert 0 < report["kill_to_first_outcome_s"] < 60
    assert 0 < report["p50_ms"] <= report["p95_ms"] <= report["p99_ms"]


@pytest.mark.service
@pytest.mark.timeout(400)
def test_the_demo_lives_a_bank_s_day_with_every_process_stopped_and_killed() -> None:
    words = ["--connections", "100", "--payments", "20000", "--seed", "3", "--json"]
    done = subprocess.run([*tally("demo"), *words], capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    day = report["day"]
    assert report["ok"]
    assert day["ok"]
    assert day["balanced"]
    assert (day["lost"], day["doubled"], day["unknown"], day["altered"]) == (0, 0, 0, 0)
    assert day["acknowledged"] == day["payments"] == sum(day["kinds"].values()) == sum(day["by_status"].values())
    assert day["by_status"]["exceeds_credits"] == day["kinds"]["refused"] > 0
    hurt = [(cost["what"], cost["process"]) for cost in day["costs"]]
    assert [each for each in hurt if each[1] == "engine"] == [("stop", "engine"), ("kill", "engine")]
    assert len(hurt) == 2 * len({process for _, process in hurt})
    for cost in day["costs"]:
        assert cost["payments"] > 0
        assert cost["p99_ms"] > 0
        assert cost["p99_calm_ms"] > 0
    # Payments cannot be decided while the engine is stopped: what that cost must show.
    stopped = next(cost for cost in day["costs"] if (cost["what"], cost["process"]) == ("stop", "engine"))
    assert stopped["p99_ms"] > 900


@pytest.mark.service
def test_the_restart_bench_kills_as_often_as_asked(tmp_path: Path) -> None:
    command = [*tally("bench", "restart"), "--kills", "1", "--entries", "10000", "--data", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    (result,) = json.loads(done.stdout)
    assert (result["kills"], result["lost"], result["doubled"], result["unknown"]) == (1, 0, 0, 0)
    assert result["entries"] > 10_000
    assert 0 < result["kill_to_first_outcome_s_median"] <= result["kill_to_first_outcome_s_max"] < 60
    assert list(tmp_path.iterdir()) == []


@pytest.mark.service
def test_the_http_bench_gives_every_case_the_agreed_fields_and_loses_nothing() -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    cases = ["no-op route", "64 connections", "5,000 arrivals/s", "json batch", "binary batch"]
    words = [word for case in cases for word in ("--case", case)]
    command = [*tally("bench", "http"), *words, "--runs", "1", "--seconds", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    results = json.loads(done.stdout)
    assert [result["case"] for result in results] == cases
    fields = list(Result.__struct_fields__)[:-1]
    for result in results:
        assert list(result)[: len(fields)] == fields
        assert result["rate"] > 0
        assert result["cpu_us"] > 0
        assert result["errors"] == 0
        assert result.get("lost", 0) == result.get("doubled", 0) == 0
        assert 0 < result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"]
