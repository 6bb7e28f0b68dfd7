"""Who read what, who changed what: noted, verified from afar, and not done when it cannot be noted."""

import json
import subprocess

import pytest

from tallystick import ids
from tallystick.client.http import Api
from tallystick.lab.instance import Instance, pause, tally
from tallystick.lab.plan import CODE, LEDGER

DEADLINE_S = 60.0


def run(*words):
    done = subprocess.run([*tally(), *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def acts(instance, log):
    code, said = run("audit", "acts", log, "--data", instance.folder, "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert (code, rows[-1]["verified"]) == (0, True)
    return rows[:-1]


def until(holds):
    for _ in range(round(DEADLINE_S / 0.05)):
        if found := holds():
            return found
        pause(0.05)
    raise AssertionError(f"did not happen within {DEADLINE_S} s")


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("acts") / "data") as running:
        running.open_accounts([1, 2], limited=False)
        yield running


def pay(instance, number):
    body = {
        "id": ids.show(number), "debit_account_id": ids.show(1), "credit_account_id": ids.show(2),
        "amount": "7", "ledger": LEDGER, "code": CODE,
    }  # fmt: skip
    return instance.settle(instance.api(), "/v1/transfers", body).status


def test_a_read_of_a_statement_is_noted_and_its_log_verifies_from_afar(instance, tmp_path):
    api = instance.api()
    until(lambda: api.ask("GET", f"/v1/accounts/{ids.show(1)}/statement").status == 200)
    assert api.ask("GET", f"/v1/accounts/{ids.show(77)}/statement").status == 404
    until(lambda: acts(instance, "access")[-1]["signed"])
    *_, read, missed = (row for row in acts(instance, "access") if row["act"] == "statement")
    assert (read["target"], read["result"], read["tenant"], read["via"]) == (ids.show(1), "200", "1", "gateway")
    assert read["by"].startswith("key:")
    assert missed["result"] == "404"
    policy, url = tmp_path / "policy", f"{instance.url}/v1/log/access"
    policy.write_text(run("audit", "policy", "--log", "access", "--data", instance.folder)[1])
    code, said = run("audit", "verify-log", url, "--policy", policy, "--key-file", instance.key_file, "--json")
    assert (code, json.loads(said)["origin"]) == (0, "tallystick.example/ledger/0/access"), said
    assert any(row["act"] == "log_access_tile_2" or "tile" in row["act"] for row in acts(instance, "access"))


def test_every_change_of_a_key_or_a_subscription_is_a_control_entry(instance):
    data = ("--data", instance.folder)
    key = run("key", "new", "clerk", "--scope", "read", *data)[1].strip()
    assert run("key", "revoke", "clerk", *data)[0] == 0
    assert run("audit", "rotate", "--log", "control", *data)[0] == 0
    made = instance.api().ask(
        "POST", "/v1/webhooks", b'{"url": "https://shop.example/hook", "types": ["*"]}', {"Idempotency-Key": "one"}
    )
    assert made.status in (201, 422)
    rows = acts(instance, "control")
    assert [row["act"] for row in rows][-4:] == ["key_new", "key_revoke", "signer_rotate", "webhook_make"]
    assert all(row["result"] == "asked" for row in rows)
    assert rows[-4]["target"] == rows[-3]["target"]
    assert rows[-4]["more"] == {"scopes": "read", "tenant": "1"}
    assert key not in json.dumps(rows)
    assert "clerk" not in json.dumps(rows)


def test_where_an_act_cannot_be_noted_nothing_is_read_and_payments_go_on(instance):
    """Attack 15: the audit writer is disabled."""
    file = instance.folder / "acts" / "access.db"
    for part in ("", "-wal", "-shm"):
        path = file.with_name(file.name + part)
        if path.exists():
            path.rename(path.with_name("gone" + part))
    api = instance.api()
    answer = api.ask("GET", f"/v1/accounts/{ids.show(1)}/statement")
    assert answer.status == 503
    assert b"noted" in answer.body or b"opened" in answer.body or b"gone" in answer.body
    assert Api(instance.url, instance.key).ask("GET", "/v1/log/tile/0/000.p/1").status == 503
    assert pay(instance, 500) == 201
    until(lambda: "the log access" in json.loads((instance.folder / "run" / "auditor.progress").read_text())["trouble"])
    for part in ("", "-wal", "-shm"):
        path = file.with_name("gone" + part)
        if path.exists():
            path.rename(path.with_name(file.name + part))
    assert until(lambda: api.ask("GET", f"/v1/accounts/{ids.show(1)}/statement").status == 200)


def test_journal_tree_and_projection_are_reconciled_and_a_difference_is_named(instance):
    """Attack 14, its visible half: a line that is left out of a statement; and a row edited in the journal."""
    assert pay(instance, 700) == 201
    until(lambda: instance.api().ask("GET", f"/v1/transfers/{ids.show(700)}/receipt").status == 200)
    code, said = run("audit", "reconcile", "--data", instance.folder, "--json")
    told = json.loads(said)
    assert (code, told["tree"], told["archive"], told["projection"]) == (0, None, None, None), said
    (level,) = (instance.folder / "audit" / "tree").glob("level-0")
    data = level.read_bytes()
    level.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    code, said = run("audit", "reconcile", "--data", instance.folder, "--json")
    level.write_bytes(data)
    assert code == 1
    assert "entry 1 is not the one" in json.loads(said)["tree"]


def test_details_of_a_block_are_handed_over_and_checked_against_its_seal(instance, tmp_path):
    assert pay(instance, 600) == 201
    until(lambda: instance.api().ask("GET", f"/v1/transfers/{ids.show(600)}/receipt").status == 200)
    receipt = instance.api().ask("GET", f"/v1/transfers/{ids.show(600)}/receipt").body
    seq = int(receipt.split(b"index ")[1].split(b"\n")[0])
    policy, file = tmp_path / "policy", tmp_path / "details"
    policy.write_text(run("audit", "policy", "--data", instance.folder)[1])
    until(lambda: run("audit", "details", seq, "--out", file, "--data", instance.folder)[0] == 0)
    code, said = run("audit", "check-details", file, "--policy", policy, "--json")
    told = json.loads(said)
    assert (code, told["verified"]) == (0, True), said
    (row,) = (row for row in told["details"] if row["seq"] == seq)
    assert row["verdict"] == "allow"
    assert acts(instance, "control")[-1]["act"] == "details"
    changed = json.loads(file.read_text())
    changed["details"] = changed["details"].replace("A", "B", 1)
    file.write_text(json.dumps(changed))
    code, said = run("audit", "check-details", file, "--policy", policy, "--json")
    assert (code, json.loads(said)["verified"]) == (1, False)
