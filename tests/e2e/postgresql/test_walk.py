"""The whole platform with its journal in PostgreSQL: paid, followed, killed, looked into by every tool."""

import json
import os
import subprocess

import pytest

from services.server import wait_until
from tallystick.client import Client, NewAccount
from tallystick.clock import system_entropy
from tallystick.lab.instance import Instance, tally

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
LEDGER, CODE = 978, 1
SMALL = {"accounts_max": 10_000, "window_ids": 256}
LATER_S = 60


def run(data, url, *words):
    environment = {**os.environ, "TALLY_JOURNAL": url, "TALLY_SERVICES": url, "TALLY_ACCOUNTS_MAX": "10000"}
    environment["TALLY_DATA"] = str(data)
    return subprocess.run(tally(*words), env=environment, capture_output=True, text=True)


def test_a_payment_walks_the_whole_way_and_outlives_engine_and_server(own_postgresql, tmp_path):
    server = own_postgresql()
    url = server.url()
    data = tmp_path / "data"
    assert "holds no journal yet" in run(data, url, "up", "engine").stderr
    assert run(data, url, "migrate").returncode == 0
    with (
        Instance(data, settings={"journal": url, "services": url, **SMALL}) as instance,
        Client(instance.url, instance.key) as client,
    ):
        world, shop = system_entropy(16).hex(), system_entropy(16).hex()
        for id in (world, shop):
            assert client.open_account(NewAccount(id=id, ledger=LEDGER, code=CODE)).done

        def pay(amount):
            assert client.pay(world, shop, amount, ledger=LEDGER, code=CODE).done

        pay(5)
        instance.kill("engine")
        pay(7)
        server.kill()
        server.start()
        pay(11)
        assert client.find_account(shop).credits_posted == 23

        def told():
            return [line.amount for line in client.statement(shop) if line.transfer_id]

        wait_until(lambda: sorted(told()) == [5, 7, 11], LATER_S, "the projector did not come along")
        tail = run(data, url, "tail", "--json", "--no-follow", "-n", "100")
        assert [json.loads(line).get("amount") for line in tail.stdout.splitlines()][-3:] == ["5", "7", "11"]
        doctor = run(data, url, "doctor", "--json")
        assert "entries, and the last block is whole" in doctor.stdout
        assert not (data / "journal").exists(), "all of it is in the database"
        assert not (data / "projector").exists(), "and what the projector made of it"
        assert run(data, url, "rebuild", "--verify").returncode == 70, "an engine runs"
    verified = run(data, url, "rebuild", "--verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["difference"]) == (0, None), verified.stderr
    for command in (("reconcile",), ("rebuild",), ("rebuild", "projector"), ("reconcile",)):
        done = run(data, url, *command)
        assert done.returncode == 0, done.stderr
    assert "copied by its own tools" in run(data, url, "backup", str(tmp_path / "copy")).stderr
