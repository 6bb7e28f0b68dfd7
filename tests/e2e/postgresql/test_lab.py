"""Benches and torture with journals on a real server: they say what they claim, and leave no database behind."""

import json
import subprocess

import psycopg
import pytest

from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def run(*words, folder):
    return subprocess.run([*tally(*words), "--json"], capture_output=True, text=True, cwd=folder)


@pytest.fixture
def none_left(postgresql_url):
    yield
    with psycopg.connect(postgresql_url) as session:
        left = session.execute("select datname from pg_database where datname like 'tally_lab_%'").fetchall()
    assert left == []


@pytest.mark.usefixtures("none_left")
def test_the_ledger_is_measured_beside_the_servers_own_bench(postgresql_url, tmp_path):
    done = run("bench", "ledger", "--case", "1 a batch", "--runs", "1", "--journal", postgresql_url, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["reference"].startswith("pgbench TPC-B (simple, -c 16 -j 2)")
    assert result["ratio"] == pytest.approx(result["rate"] / result["reference_rate"])


@pytest.mark.usefixtures("none_left")
def test_nothing_is_lost_doubled_or_contradicted_under_torture(postgresql_url, tmp_path):
    done = run("torture", "--seconds", "8", "--journal", postgresql_url, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["lost"], report["doubled"], report["contradicted"]) == (0, 0, 0)
    assert report["acknowledged"] > 0
