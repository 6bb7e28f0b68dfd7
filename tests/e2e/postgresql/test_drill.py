"""The drill of docs/backup.md with the journal in PostgreSQL: a database of yesterday, and the archive in files."""

import json
import shutil
import subprocess

import psycopg
import pytest

from tallystick.lab.instance import Instance, tally
from tests.e2e.audit.test_drill import checkpoint_over, pay, run, until
from tests.e2e.postgresql.test_walk import SMALL
from tests.e2e.postgresql.test_walk import run as run_with

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def test_a_database_of_yesterday_rolls_forward_and_the_log_goes_on_without_a_fork(own_postgresql, tmp_path):
    server = own_postgresql()
    url, original, restored = server.url(), tmp_path / "data", tmp_path / "restored"
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create database bank")
    bank, yesterday = url.replace("/postgres?", "/bank?"), url.replace("/postgres?", "/yesterday?")
    assert run_with(original, bank, "migrate").returncode == 0
    settings = {"archive": tmp_path / "archive", **SMALL}
    with Instance(original, settings={"journal": bank, **settings}) as instance:
        instance.open_accounts([1, 2], limited=False)
        pay(instance, instance.api(), 100)
        checkpoint_over(instance.api(), 100)  # auditor and signer, which start behind payments, are there by now
    shutil.copytree(original, restored, ignore=shutil.ignore_patterns("run"))
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create database yesterday template bank")

    with Instance(original, settings={"journal": bank, **settings}) as instance:
        for number in range(101, 110):
            pay(instance, instance.api(), number)
        kept, _ = checkpoint_over(instance.api(), 109)
        policy = subprocess.run([*tally("audit", "policy", "--data", str(original))], capture_output=True, check=True)
    (tmp_path / "kept").write_bytes(kept)
    (tmp_path / "policy").write_bytes(policy.stdout)
    shutil.rmtree(restored / "signer")
    shutil.copytree(original / "signer", restored / "signer")
    alone = run_with(restored, yesterday, "up", "engine")
    assert alone.returncode == 70
    assert "deciding on would fork it" in alone.stderr

    with Instance(restored, settings={"journal": yesterday, **settings}) as instance:
        assert instance.balances([2])[2][1] == 10 * 7, "a payment did not come back"
        pay(instance, instance.api(), 200)
        after, _ = checkpoint_over(instance.api(), 200)
        assert int(after.split(b"\n")[1]) > int(kept.split(b"\n")[1])
        log = [f"{instance.url}/v1/log", "--policy", tmp_path / "policy", "--key-file", instance.key_file]
        until(lambda: run("audit", "verify-log", *log)[0] == 0)
        code, told, _ = run("audit", "consistency", tmp_path / "kept", *log)
        assert (code, told["verified"]) == (0, True)
    verified = run_with(restored, yesterday, "rebuild", "--verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["difference"]) == (0, None), verified.stderr
