"""The demo and the torture on every engine: the same reports, and servers that are killed behind a platform at work."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from services import addresses
from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[3]


def run(*words: str, folder: Path) -> Any:
    done = subprocess.run([*tally(*words), "--json"], capture_output=True, text=True, cwd=folder, timeout=380)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return json.loads(done.stdout if words[0] == "bench" else done.stdout.splitlines()[-1])


@pytest.mark.parametrize("broker", ["kafka_url", "rabbitmq_url"])
def test_the_demo_says_the_same_on_postgresql_and_a_broker(
    broker: str, postgresql_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engines = ["--journal", postgresql_url, "--intake", request.getfixturevalue(broker)]
    # so few that all could be answered before the kill, were none kept back
    report = run("demo", "--no-day", "--connections", "50", "--payments", "400", *engines, folder=tmp_path)
    assert (report["acknowledged"], report["lost"], report["doubled"], report["unknown"]) == (400, 0, 0, 0)
    assert report["by_status"] == {"created": 392, "exceeds_credits": 8}
    assert report["balanced"]
    assert report["sums_match"]
    assert 0 < report["kill_to_first_outcome_s"] < 90


def services(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services", *words, "--folder", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def engines(request: pytest.FixtureRequest, services_folder: Path) -> Iterator[Sequence[str]]:
    """Servers of this test alone, by the words that torture takes: they are killed."""
    folder = services_folder / f"torture-{request.param}"
    for needed in ("postgresql_url", f"{request.param}_url"):
        request.getfixturevalue(needed)  # which skips, aloud, where they cannot be had
    done = services(folder, "start", "postgresql", request.param)
    assert done.returncode == 0, done.stderr
    kept = addresses.read(folder)
    command = f"env --chdir={ROOT} {sys.executable} -m services --folder {folder}"
    yield [
        *("--journal", kept["postgresql"].address["url"], "--intake", kept[request.param].address["url"]),
        *(word for name in kept for word in ("--server", f"{name}={command} {{}} {name}")),
    ]
    assert services(folder, "stop").returncode == 0


@pytest.mark.parametrize("engines", ["kafka", "rabbitmq"], indirect=True)
def test_nothing_is_lost_doubled_or_contradicted_while_servers_are_killed(
    engines: Sequence[str], tmp_path: Path
) -> None:
    report = run("torture", "--seconds", "40", "--seed", "2", *engines, folder=tmp_path)
    assert (report["lost"], report["doubled"], report["contradicted"]) == (0, 0, 0)
    assert (report["unexpected"], report["unknown"]["unsettled"]) == ([], 0)
    assert report["acknowledged"] > 50
    assert set(report["servers"]) == {"postgresql", *engines[3].partition("://")[:1]}
    assert sum(kinds["kill"] for kinds in report["servers"].values()) > 0


@pytest.mark.parametrize("broker", ["kafka_url", "rabbitmq_url"])
def test_an_engine_killed_under_load_is_measured_there_as_well(
    broker: str, postgresql_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engines = ["--journal", postgresql_url, "--intake", request.getfixturevalue(broker)]
    (result,) = run("bench", "restart", "--kills", "1", "--entries", "10000", *engines, folder=tmp_path)
    assert (result["kills"], result["lost"], result["doubled"], result["unknown"]) == (1, 0, 0, 0)
    assert 0 < result["kill_to_first_outcome_s_max"] < 60
