"""Benches and torture with journals on a real server: they say what they claim, and leave no database behind."""

import json
import re
import secrets
import subprocess

import psycopg
import pytest

from tallystick.lab.instance import tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def run(*words, folder):
    return subprocess.run([*tally(*words), "--json"], capture_output=True, text=True, cwd=folder)


@pytest.fixture
def own_role(postgresql_url):
    """The server's URL, as a role of this test alone, which owns nothing in the end; others have databases there."""
    role, password = f"lab_{secrets.token_hex(6)}", secrets.token_hex(16)
    owned = "select datname from pg_database join pg_roles on datdba = pg_roles.oid where rolname = %s"
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute(f"create role {role} login createdb password '{password}'")
        yield re.sub(r"//[^@]*@", f"//{role}:{password}@", postgresql_url)
        assert session.execute(owned, [role]).fetchall() == []
        session.execute(f"drop role {role}")


def test_the_ledger_is_measured_beside_the_servers_own_bench(own_role, tmp_path):
    done = run("bench", "ledger", "--case", "1 a batch", "--runs", "1", "--journal", own_role, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["reference"].startswith("pgbench TPC-B (simple, -c 16 -j 2)")
    assert result["ratio"] == pytest.approx(result["rate"] / result["reference_rate"])


def test_nothing_is_lost_doubled_or_contradicted_under_torture(own_role, tmp_path):
    done = run("torture", "--seconds", "8", "--journal", own_role, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["lost"], report["doubled"], report["contradicted"]) == (0, 0, 0)
    assert report["acknowledged"] > 0
