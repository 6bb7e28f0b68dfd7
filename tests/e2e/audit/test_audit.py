"""The audit log of a whole Tallystick, by the commands that a stranger would use."""

import json
import os
import subprocess

import pytest

from tallystick import ids
from tallystick.client.http import Api
from tallystick.gateway import auth
from tallystick.lab.instance import Instance, pause, tally

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("instance")) as running:
        running.wait_ready(180)
        yield running


@pytest.fixture(scope="module")
def api(instance):
    key = auth.make_key(os.urandom)
    scopes = [auth.READ, auth.PAY, auth.AUDIT]
    auth.add_key(instance.folder / "keys.json", key, 1, "auditor", scopes, 1)
    (instance.folder / "audit.key").write_text(key)
    found = Api(instance.url, key)
    until(lambda: found.ask("GET", "/v1/log/checkpoint").status == 200 and number_of(found, "/v1/accounts/1") != 401)
    for name in (1, 2):
        body = {"id": ids.show(name), "ledger": 1, "code": 1}
        assert post(found, "/v1/accounts", body).status == 201
    return found


def until(holds):
    for _ in range(round(DEADLINE_S / 0.05)):
        if holds():
            return
        pause(0.05)
    pytest.fail(f"did not happen within {DEADLINE_S} s")


def number_of(api, path):
    return api.ask("GET", path).status


def post(api, path, body):
    return api.ask("POST", path, json.dumps(body).encode(), {"Idempotency-Key": f"{path}-{body['id']}"})


def paid(api, number):
    """Pay, and wait for the receipt."""
    body = {
        "id": ids.show(number),
        "debit_account_id": ids.show(1),
        "credit_account_id": ids.show(2),
        "amount": "7",
        "ledger": 1,
        "code": 1,
    }
    assert post(api, "/v1/transfers", body).status == 201
    return receipt(api, number)


def receipt(api, number):
    path = f"/v1/transfers/{ids.show(number)}/receipt"
    until(lambda: api.ask("GET", path).status == 200)
    answer = api.ask("GET", path)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.body


def audit(*words):
    done = subprocess.run([*tally("audit"), *map(str, words), "--json"], capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def policy(instance, api, tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "bank.policy"
    command = [*tally("audit"), "policy", "--data", str(instance.folder)]
    path.write_text(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    return path


def log_words(instance, policy):
    return instance.url + "/v1/log", "--policy", policy, "--key-file", instance.folder / "audit.key"


def test_a_payments_receipt_is_verified_offline_and_a_changed_one_is_not(api, policy, tmp_path):
    path = tmp_path / "payment.tlog-proof"
    path.write_bytes(paid(api, 100))
    code, told = audit("verify", path, "--policy", policy)
    assert (code, told["verified"], told["grade"]) == (0, True, "logged")
    assert told["entry"]["transfer_id"] == ids.show(100)
    assert (told["entry"]["amount_moved"], told["entry"]["status"]) == ("7", "created")
    assert len(told["keys"]) == 2
    path.write_bytes(path.read_bytes().replace(b"index ", b"index 1"))
    code, told = audit("verify", path, "--policy", policy)
    assert (code, told["verified"]) == (1, False)
    assert told["why"]


def test_the_whole_log_is_computed_again_and_is_watched(api, instance, policy, tmp_path):
    receipt_before = tmp_path / "before.tlog-proof"
    receipt_before.write_bytes(paid(api, 200))
    code, told = audit("verify-log", *log_words(instance, policy))
    assert (code, told["verified"]) == (0, True), told
    kept = tmp_path / "kept"
    for _ in range(2):
        code, told = audit("monitor", *log_words(instance, policy), "--kept", kept)
        assert (code, told["verified"]) == (0, True), told
    paid(api, 201)
    for words in (("consistency", kept), ("consistency", receipt_before)):
        code, told = audit(*words, *log_words(instance, policy))
        assert (code, told["verified"]) == (0, True), told
        assert told["size"] > told["old_size"]


def test_killed_auditor_and_signer_come_back_and_the_log_only_grew(api, instance, policy, tmp_path):
    kept = tmp_path / "kept"
    assert audit("monitor", *log_words(instance, policy), "--kept", kept)[0] == 0
    for number, name in enumerate(("auditor", "signer", "auditor", "signer"), 300):
        instance.kill(name, within_s=DEADLINE_S)
        paid(api, number)
    code, told = audit("monitor", *log_words(instance, policy), "--kept", kept)
    assert (code, told["verified"]) == (0, True), told
    assert told["size"] > told["old_size"]
    assert audit("verify-log", *log_words(instance, policy))[1]["verified"]


def test_payments_do_not_notice_a_stopped_auditor_and_receipts_wait(api, instance, policy):
    with instance.stopped("auditor"):
        body = {"id": ids.show(400), "debit_account_id": ids.show(1), "credit_account_id": ids.show(2)}
        assert post(api, "/v1/transfers", {**body, "amount": "1", "ledger": 1, "code": 1}).status == 201
        answer = api.ask("GET", f"/v1/transfers/{ids.show(400)}/receipt")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
    assert receipt(api, 400)


def test_keys_rotate_with_an_overlap(api, instance, policy, tmp_path):
    data = ("--data", instance.folder)
    _, before = audit("keys", *data)
    _, both = audit("rotate", *data)
    assert both[:2] == before
    assert len(both) == 4
    path = tmp_path / "receipt"
    path.write_bytes(paid(api, 500))
    old_only, new_only = policy, tmp_path / "new.policy"
    new_only.write_text("".join(f"log {key['vkey']}\n" for key in both[2:]) + "quorum none\n")
    for believed in (old_only, new_only):
        assert audit("verify", path, "--policy", believed)[1]["verified"]
    for key in before:
        audit("retire", key["key_id"], *data)
    path.write_bytes(paid(api, 501))
    assert audit("verify", path, "--policy", new_only)[1]["verified"]
    assert not audit("verify", path, "--policy", old_only)[1]["verified"]  # attack 12: who still believes the old keys


def test_the_log_is_for_those_who_may_read_it(api, instance):
    stranger = Api(instance.url, "sk_nobody")
    assert stranger.ask("GET", "/v1/log/checkpoint").status == 200
    assert stranger.ask("GET", "/v1/log/tile/0/000.p/1").status == 401
    assert api.ask("GET", "/v1/log/tile/0/000.p/1").status == 200
    assert api.ask("GET", "/v1/log/tile/0/x001/000").status == 404
    assert api.ask("GET", "/v1/log/tile/0/000.p/300").status == 404
    answer = api.ask("GET", "/v1/log/tile/entries/000.p/1")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "immutable" in answer.headers["cache-control"]
    assert "max-age=2" in stranger.ask("GET", "/v1/log/checkpoint").headers["cache-control"]
    unknown = api.ask("GET", f"/v1/transfers/{ids.show(999_999)}/receipt")
    assert unknown.status == 404
