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
