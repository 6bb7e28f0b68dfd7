"""The benches that README.md tells people to run, run small. (The demo is run whole in tests/e2e.)"""

import json
import shutil
import subprocess
import sys

import pytest

FIELDS = {
    "case", "rate", "unit", "cpu_us", "reference", "reference_rate", "ratio", "p50_ms", "p95_ms", "p99_ms"
}  # fmt: skip


def tally(*words, timeout_s):
    command = [sys.executable, "-m", "tallystick.cli.main", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.service
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")
def test_payments_over_http_are_measured_and_counted():
    code, said, complained = tally(
        "bench", "http", "--case", "64 connections", "--runs", "1", "--seconds", "2", timeout_s=280
    )
    assert code == 0, complained
    results = json.loads(said)
    assert [result["case"] for result in results if result["case"] == "64 connections"]
    for result in results:
        assert set(result) >= FIELDS
        assert result["rate"] > 0


@pytest.mark.service
@pytest.mark.timeout(300)
def test_the_ledger_in_process_is_measured():
    code, said, complained = tally("bench", "ledger", "--runs", "1", timeout_s=280)
    assert code == 0, complained
    for result in json.loads(said):
        assert set(result) >= FIELDS
        assert result["rate"] > 0


@pytest.mark.service
@pytest.mark.timeout(300)
def test_a_spike_is_measured_over_time_and_nothing_of_it_is_lost():
    code, said, complained = tally(
        "bench", "spike", "--payments", "500", "--rate", "200", "--seconds", "6", timeout_s=280
    )
    assert code == 0, complained
    results = {result["case"]: result for result in json.loads(said)}
    spike = results["the spike"]
    assert spike["payments"] == 500
    assert spike["queue_max"] >= 1
    assert (spike["lost"], spike["doubled"], spike["unknown"]) == (0, 0, 0)
    moments = spike["over_time"]
    assert [each["s"] for each in moments] == sorted(each["s"] for each in moments)
    assert min(each["s"] for each in moments) < 0 < max(each["s"] for each in moments)
    assert results["steady, before"]["p99_ms"] > 0


@pytest.mark.service
@pytest.mark.timeout(300)
def test_a_backup_beside_payments_is_measured_and_equal_up_to_its_position():
    code, said, complained = tally(
        "bench", "backup", "--pairs", "1", "--rate", "500", "--seconds", "2", "--entries", "20000", timeout_s=280
    )
    assert code == 0, complained
    (result,) = json.loads(said)
    assert set(result) >= FIELDS
    assert result["equal_up_to_its_position"] is True
    assert 20_000 < result["position"] <= result["entries"]  # on a slow machine it may end behind the payments
    assert result["backup_mb_s"] > 0
