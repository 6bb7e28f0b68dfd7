"""Text that comes with a payment: kept, committed to, opened by its receipt, erased; on a whole Tallystick."""

import json
import subprocess

import pytest

from tallystick import ids
from tallystick.lab.instance import Instance, pause, tally
from tallystick.lab.plan import CODE, LEDGER

DEADLINE_S = 60.0
SECRET = "Rent for Ada Lovelace, May"


def run(*words):
    done = subprocess.run([*tally(), *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def until(holds):
    for _ in range(round(DEADLINE_S / 0.05)):
        if found := holds():
            return found
        pause(0.05)
    raise AssertionError(f"did not happen within {DEADLINE_S} s")


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("texts") / "data") as running:
        running.open_accounts([1, 2], limited=False)
        yield running


def body(number, **more):
    return {
        "id": ids.show(number), "debit_account_id": ids.show(1), "credit_account_id": ids.show(2),
        "amount": "7", "ledger": LEDGER, "code": CODE, **more,
    }  # fmt: skip


def pay(instance, asked, key):
    return instance.api().ask("POST", "/v1/transfers", json.dumps(asked).encode(), {"Idempotency-Key": key})


def receipt(instance, number):
    path = f"/v1/transfers/{ids.show(number)}/receipt"
    return until(lambda: (answer := instance.api().ask("GET", path)).status == 200 and answer.body)


def verified(tmp_path, data):
    (tmp_path / "receipt").write_bytes(data)
    code, said = run("audit", "verify", tmp_path / "receipt", "--policy", tmp_path / "policy", "--json")
    return code, json.loads(said)


def test_text_is_opened_by_the_receipt_until_it_is_erased_and_proofs_stay(instance, tmp_path):
    (tmp_path / "policy").write_text(run("audit", "policy", "--data", instance.folder)[1])
    asked = body(100, metadata={"reference": SECRET}, metadata_person="p-4711")
    assert pay(instance, asked, "rent-may").status == 201
    again = pay(instance, asked, "rent-may")
    assert again.status in (200, 201), again.body
    other = pay(instance, {**asked, "metadata": {"reference": "Rent, June"}}, "rent-may")
    assert other.status == 422
    assert b"idempotency_key_reused" in other.body

    before = receipt(instance, 100)
    code, told = verified(tmp_path, before)
    assert (code, told["text"]) == (0, {"reference": SECRET})
    listed = until(lambda: (a := instance.api().ask("GET", "/v1/transfers?amount=7")).status == 200 and a)
    commitment = json.loads(listed.body)["transfers"][0]["metadata_commitment"]
    shown = instance.api().ask("GET", f"/v1/metadata/{commitment}")
    assert (shown.status, json.loads(shown.body)) == (200, {"metadata": {"reference": SECRET}})
    for path in instance.folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), f"{path} holds it in clear"

    assert run("backup", tmp_path / "backup", "--data", instance.folder)[0] == 0
    assert not list((tmp_path / "backup").rglob("*.key")), "a backup must not hold persons' keys"
    code, said = run("audit", "erase", "p-4711", "--tenant", "1", "--data", instance.folder, "--json")
    assert (code, json.loads(said)["texts"]) == (0, 2)  # that of the refused request was kept, too
    assert instance.api().ask("GET", f"/v1/metadata/{commitment}").status == 404
    code, told = verified(tmp_path, receipt(instance, 100))
    assert (code, told["verified"], "text" in told) == (0, True, False)
    assert verified(tmp_path, before)[1]["text"] == {"reference": SECRET}, "what a customer holds stays theirs"
    code, said = run("audit", "acts", "control", "--data", instance.folder, "--json")
    rows = [json.loads(line) for line in said.splitlines()][:-1]
    assert [(row["act"], row["result"]) for row in rows[-2:]] == [("erase", "asked"), ("erased", "done")]
    assert rows[-1]["more"]["texts"] == "2"
    assert "p-4711" not in said


def test_a_receipt_says_what_its_amount_means_and_which_act_said_so(instance, tmp_path):
    (tmp_path / "policy").write_text(run("audit", "policy", "--data", instance.folder)[1])
    assert pay(instance, body(200, flags=["pending"]), "reserve").status == 201
    assert pay(instance, {"id": ids.show(201), "pending_id": ids.show(200), "amount": "7",
                          "flags": ["post_pending_transfer"]}, "post").status == 201  # fmt: skip
    assert "currency" not in verified(tmp_path, receipt(instance, 200))[1]
    code, said = run("currency", "set", LEDGER, "EUR", "--data", instance.folder, "--json")
    euro = {"code": "EUR", "scale": 2, "control": json.loads(said)["control"]}
    assert code == 0
    for number in (200, 201):  # the leaf of the second names no ledger
        code, told = verified(tmp_path, receipt(instance, number))
        assert (code, told["verified"], told["currency"]) == (0, True, euro)
    code, said = run("audit", "acts", "control", "--data", instance.folder, "--json")
    act = json.loads(said.splitlines()[euro["control"]])
    assert (act["act"], act["target"], act["more"]) == (
        "currency_set", str(LEDGER), {"code": "EUR", "scale": "2", "tenant": "1"},
    )  # fmt: skip
    assert json.loads(run("currency", "list", "--data", instance.folder, "--json")[1]) == [
        {"tenant": 1, "ledger": LEDGER, **euro}
    ]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"metadata": {}}, "metadata"),
        ({"metadata": {"note": "4111 1111 1111 1111"}}, "metadata.note"),
        ({"metadata": {"note": "x"}, "metadata_commitment": "ab" * 32}, "metadata_commitment"),
        ({"metadata_person": "p-1"}, "metadata_person"),
        ({"metadata": {"note": "x"}, "metadata_person": "Ada Lovelace"}, "metadata_person"),
    ],
)
def test_what_may_not_come_is_refused_and_its_field_named(instance, more, field):
    answer = pay(instance, body(900, **more), f"bad-{field}")
    assert (answer.status, json.loads(answer.body)["field"]) == (400, field), answer.body
