"""All services with their tables in PostgreSQL, their journal in files: text, acts, webhooks, and every tool's word."""

import json
import os
import subprocess
from contextlib import closing

import psycopg
import pytest

from services.server import wait_until
from tallystick.client import Client, NewAccount, NewTransfer, TransferFilter
from tallystick.clock import system_entropy
from tallystick.errors import TallystickError
from tallystick.lab.instance import Instance, tally
from tallystick.webhooks.asking import Operation
from tests.e2e.notifier.running import Receiver, ask

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
LEDGER, CODE = 978, 1
SMALL = {"accounts_max": 10_000, "window_ids": 256}
LATER_S = 60


def run(data, url, *words):
    environment = {**os.environ, "TALLY_SERVICES": url, "TALLY_ACCOUNTS_MAX": "10000", "TALLY_DATA": str(data)}
    return subprocess.run(tally(*words), env=environment, capture_output=True, text=True, timeout=100)


def test_text_acts_and_webhooks_stand_in_the_database_and_outlive_it(own_postgresql, tmp_path):
    server = own_postgresql()
    url, data = server.url(), tmp_path / "data"
    settings = {"services": url, "webhook_loopback": "true", **SMALL}
    with (
        Instance(data, settings=settings) as instance,
        Client(instance.url, instance.key, patience_s=3) as client,
        Receiver() as receiver,
    ):
        world, shop = system_entropy(16).hex(), system_entropy(16).hex()
        for id in (world, shop):
            assert client.open_account(NewAccount(id=id, ledger=LEDGER, code=CODE)).done
        body = {"url": receiver.url, "types": ["transfer.*"]}

        def subscribed():
            return ask(data, Operation.MAKE, body=body, request_id=(1).to_bytes(16))["key"]

        wait_until(lambda: _done(subscribed), LATER_S, "the notifier did not come")
        receiver.key = subscribed()

        def pay(amount, person=None):
            given = {"metadata": {"reference": "Rent, May"}, "metadata_person": person} if person else {}
            new = NewTransfer(
                debit_account_id=world, credit_account_id=shop, amount=amount, ledger=LEDGER, code=CODE, **given
            )
            return client.transfer(new)

        assert pay(5, "p-1").done
        commitment = next(client.search_transfers(TransferFilter(account_id=shop))).metadata_commitment
        assert client.find_text(commitment) == {"reference": "Rent, May"}
        server.kill()
        assert pay(7).done, "payments do not need it"
        with pytest.raises(TallystickError):
            pay(9, "p-1")  # text does
        with pytest.raises(TallystickError):
            list(client.statement(shop))
        server.start()
        wait_until(lambda: _done(lambda: pay(11, "p-2").done), LATER_S, "text was not taken again")

        def told():
            return sorted({int(body["data"]["amount"]) for _, body in receiver.got})

        wait_until(lambda: told() == [5, 7, 11], LATER_S, "webhooks did not come along")
        instance.kill("notifier")
        assert pay(13).done
        wait_until(lambda: told() == [5, 7, 11, 13], LATER_S, "webhooks did not come along")
        wait_until(
            lambda: _done(lambda: len([1 for line in client.statement(shop) if line.transfer_id]) == 4),
            LATER_S,
            "the projector did not come along",
        )
        assert len(receiver.ids) >= 4
        assert len(set(receiver.ids)) == 4, "each under one id"
        erased = run(data, url, "audit", "erase", "p-1", "--tenant", "1", "--json")
        assert json.loads(erased.stdout)["texts"] == 1, erased.stderr
        assert client.find_text(commitment) is None
        doctor = run(data, url, "doctor", "--json")
        assert "projector, notifier, acts, texts are in postgresql://127.0.0.1" in doctor.stdout
        copied = run(data, url, "backup", str(tmp_path / "copy"))
        assert copied.returncode == 0, copied.stderr
        assert "not in it: webhooks, acts and sealed text" in copied.stderr
    for gone in ("notifier/notifier.db", "acts/access.db", "acts/control.db", "metadata/texts.db"):
        assert not (data / gone).exists()
    acts = run(data, url, "audit", "acts", "control", "--json")
    assert "erased" in acts.stdout, acts.stderr


def _done(check):
    try:
        return check()
    except TallystickError:
        return False


def test_a_whole_rebuild_empties_the_projection_in_the_database(database, tmp_path):
    with (
        Instance(tmp_path, settings={"services": database, **SMALL}) as instance,
        Client(instance.url, instance.key) as client,
    ):
        assert client.open_account(NewAccount(ledger=LEDGER, code=CODE)).done

        def rows():
            with closing(psycopg.connect(database, autocommit=True)) as session:
                try:
                    return session.execute("select count(*) from projector_0.accounts").fetchone()[0]
                except psycopg.errors.UndefinedTable:
                    return 0

        wait_until(lambda: rows() == 1, LATER_S, "the projector did not come along")
    done = run(tmp_path, database, "rebuild")
    assert done.returncode == 0, done.stderr
    assert rows() == 0
    done = run(tmp_path, database, "reconcile")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("process", ["notifier", "gateway"])
def test_what_was_kept_in_files_is_not_left_behind_unsaid(tmp_path, process):
    name = {"notifier": "notifier/notifier.db", "gateway": "metadata/texts.db"}[process]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).touch()
    done = run(tmp_path, "postgresql://nobody@127.0.0.1:1/none", "up", process)
    assert done.returncode
    assert f"{name} holds what was kept before" in done.stderr
