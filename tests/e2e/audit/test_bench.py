"""The cases of `tally bench audit` that need a whole platform, run small: that they say it, not how good it is."""

import json
import subprocess

import pytest

from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]


def test_what_the_log_costs_and_when_a_receipt_is_there_is_measured_on_real_processes(tmp_path):
    words = ["--case", "payments", "--case", "latency", "--runs", "1", "--rate", "200", "--seconds", "2", "--json"]
    done = subprocess.run(
        [*tally("bench", "audit"), *words, "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: above its bound, as a machine that does other things may be
    cost, *waited = json.loads(done.stdout)
    assert cost["case"] == "payments"
    assert cost["cpu_us"] > 0
    assert cost["cpu_us_without"] > 0
    assert [each["case"] for each in waited] == ["receipt logged", "receipt witnessed"]
    for each in waited:
        assert each["payments"] == 400
        assert each["fetched_and_verified"] >= 50
        assert 0 < each["p50_ms"] <= each["p99_ms"]
    assert waited[0]["p99_ms"] <= waited[1]["p99_ms"]
    assert list(tmp_path.iterdir()) == []
