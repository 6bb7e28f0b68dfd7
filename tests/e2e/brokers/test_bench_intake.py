"""`tally bench intake` on real brokers: each case is measured, and told beside its reference."""

import json
import subprocess

import pytest

from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def test_every_case_is_told_with_its_rate_and_its_reference(kafka_url, rabbitmq_url):
    command = tally("bench", "intake", "--runs", "1", "--json", "--kafka", kafka_url, "--rabbitmq", rabbitmq_url)
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    told = {row["case"]: row for row in json.loads(done.stdout)}
    assert set(told) == {"files", "kafka", "rabbitmq"}
    for row in told.values():
        assert row["rate"] > 100
        assert row["p99_ms"] >= row["p50_ms"] > 0
        assert row["reference_rate"] > 0
