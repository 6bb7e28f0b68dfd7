"""`tally bench failover`, small: engine, primary and one of three brokers are killed once each, and nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services import addresses
from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[3]
SERVERS = ("postgresql-pair", "kafka-cluster")
SLOW = 4
"""How many times slower than ours a machine may be before this fails."""


def services(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services", *words, "--folder", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_payments_go_on_and_none_is_lost(
    services_folder: Path, postgresql_url: str, kafka_url: str, tmp_path: Path
) -> None:
    # the two fixtures skip, aloud, where such servers cannot be had
    folder = services_folder / "failover"
    started = services(folder, "start", *SERVERS)
    assert started.returncode == 0, started.stderr
    try:
        kept = addresses.read(folder)
        pair, cluster = (kept[name].address["url"] for name in SERVERS)
        command = f"env --chdir={ROOT} {sys.executable} -m services --folder {folder} {{}}"
        words = ["--kills", "1", "--journal", pair, "--intake", cluster, "--json"]
        words += [word for number in (1, 2) for word in ("--database", f"{command} {SERVERS[0]} --member {number}")]
        words += [word for number in (1, 2, 3) for word in ("--broker", f"{command} {SERVERS[1]} --member {number}")]
        done = subprocess.run(tally("bench", "failover", *words), capture_output=True, text=True, cwd=tmp_path)
    finally:
        assert services(folder, "stop").returncode == 0
    results = json.loads(done.stdout or "[]")
    assert [each["case"] for each in results] == ["engine", "postgresql", "kafka"], done.stderr
    for each in results:
        faults = {name: each[name] for name in ("lost", "doubled", "unknown", "altered", "told_otherwise")}
        assert set(faults.values()) == {0}, (each, done.stderr)
        assert each["asked_again"] >= each["acknowledged"] > 100
        assert 0 < each["kill_to_new_outcome_s_max"] < SLOW * each["bound_s"]
    assert done.returncode == (0 if all(each["holds"] for each in results) else 1)
