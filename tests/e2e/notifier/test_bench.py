"""The bench that docs name, run small."""

import json
import subprocess
import sys

import pytest


@pytest.mark.service
@pytest.mark.parametrize("services", ["files", "postgresql"])
def test_webhooks_are_measured_and_each_arrives(request, tmp_path, services):
    if services == "postgresql":
        services = request.getfixturevalue("postgresql_url")
    command = [sys.executable, "-m", "tallystick.cli.main", "bench", "follow", "--case", "notifier"]
    done = subprocess.run(
        [*command, "--runs", "1", "--webhooks", "500", "--data", str(tmp_path), "--json", "--services", services],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [result] = json.loads(done.stdout)
    assert (result["case"], result["webhooks"]) == ("notifier", 500)
    assert result["rate"] > 0
    assert result["reference_rate"] > 0
    assert list(tmp_path.iterdir()) == []
