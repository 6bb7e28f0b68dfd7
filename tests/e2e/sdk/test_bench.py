"""`tally bench sdk`, run small."""

import json
import subprocess

import pytest

from tallystick.lab.instance import tally


@pytest.mark.service
@pytest.mark.timeout(300)
def test_the_sdk_is_measured_and_loses_nothing() -> None:
    command = tally("bench", "sdk", "--runs", "1", "--seconds", "1", "--kills", "1", "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    at_once, killed = json.loads(done.stdout)
    assert at_once["ratio"] >= 3
    for result in (at_once, killed):
        assert (result["lost"], result["doubled"], result["unknown"]) == (0, 0, 0)
    assert killed["kills"] == 1
