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


def keep_policy(instance, tmp_path):
    """Once the signer, which starts behind payments, has made its keys."""
    _, policy = until(lambda: (found := run("audit", "policy", "--data", instance.folder))[0] == 0 and found)
    (tmp_path / "policy").write_text(policy)


def verified(tmp_path, data):
    (tmp_path / "receipt").write_bytes(data)
    code, said = run("audit", "verify", tmp_path / "receipt", "--policy", tmp_path / "policy", "--json")
    return code, json.loads(said)


def test_text_is_opened_by_the_receipt_until_it_is_erased_and_proofs_stay(instance, tmp_path):
    keep_policy(instance, tmp_path)
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
    keep_policy(instance, tmp_path)
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


def ask(instance, path, asked, key=None):
    headers = {} if key is None else {"Idempotency-Key": key}
    return instance.api().ask("POST", path, json.dumps(asked).encode(), headers)


def texts(tmp_path, instance, *numbers):
    """What the receipts of these transfers open."""
    keep_policy(instance, tmp_path)
    told = [verified(tmp_path, receipt(instance, number)) for number in numbers]
    assert [(code, one["verified"]) for code, one in told] == [(0, True)] * len(numbers)
    return [one.get("text", {}).get("note") for _, one in told]


def text(note):
    return {"metadata": {"note": note}, "metadata_person": "p-1"}


def test_text_comes_with_transfers_of_a_batch(instance, tmp_path):
    asked = {"transfers": [body(300, **text("first")), body(301), body(302, metadata={"note": "third"})]}
    first = ask(instance, "/v1/transfers/batch", asked, "batch")
    assert (first.status, [row["status"] for row in json.loads(first.body)["results"]]) == (200, ["created"] * 3)
    assert ask(instance, "/v1/transfers/batch", asked, "batch").headers["idempotent-replayed"] == "true"
    assert texts(tmp_path, instance, 300, 301, 302) == ["first", None, "third"]


def test_text_comes_with_requests_of_a_bundle_which_are_the_same_alone(instance, tmp_path):
    single = {"request_id": "alone", "transfers": [body(310, **text("alone"))]}
    several = {"request_id": "both", "transfers": [body(311, **text("one")), body(312, **text("two"))]}
    bad = {"request_id": "bad", "transfers": [body(313), body(314, metadata={"Note": "x"})]}
    told = json.loads(ask(instance, "/v1/bundles", {"requests": [single, bad, several]}).body)["results"]
    assert [each["status"] for each in told] == ["decided", "problem", "decided"]
    assert told[1]["problem"]["field"] == "transfers[1].metadata.Note"
    for path, asked, key in (
        ("/v1/transfers", single["transfers"][0], "alone"),
        ("/v1/transfers/batch", {"transfers": single["transfers"]}, "alone"),
        ("/v1/transfers/batch", {"transfers": several["transfers"]}, "both"),
    ):
        assert ask(instance, path, asked, key).headers["idempotent-replayed"] == "true"
    assert texts(tmp_path, instance, 310, 311, 312) == ["alone", "one", "two"]


def test_text_comes_with_payments_and_reversals_and_each_leg_opens_it(instance, tmp_path):
    leg = {"debit_account_id": ids.show(1), "credit_account_id": ids.show(2), "amount": "8"}
    paying = {"legs": [leg, {**leg, "amount": "1"}], "ledger": LEDGER, "code": CODE, "metadata": {"note": "price"}}
    paid = ask(instance, "/v1/payments", paying, "paying")
    assert paid.status == 201, paid.body
    assert ask(instance, "/v1/payments", paying, "paying").headers["idempotent-replayed"] == "true"
    made = json.loads(paid.body)
    back = ask(instance, f"/v1/payments/{made['id']}/reversals", text("wrong size"), "back")
    assert back.status == 201, back.body
    legs = [int(each["id"], 16) for told in (made, json.loads(back.body)) for each in told["legs"]]
    assert texts(tmp_path, instance, *legs[:4]) == ["price", "price", "wrong size", "wrong size"]


@pytest.mark.parametrize("way", ["transfer", "batch", "bundle", "payment"])
def test_where_text_cannot_be_kept_its_payment_is_not_made_and_others_are(instance, way):
    keys, aside = instance.folder / "person-keys", instance.folder / "aside"
    if not keys.exists():
        assert pay(instance, body(319, **text("x")), "some-key").status == 201
    keys.rename(aside)
    keys.write_text("in the way")
    number = 320 + 10 * len(way)
    asked = body(number, **text("lost"))
    try:
        if way == "bundle":
            both = (("with", asked), ("without", body(number + 1)))
            requests = [{"request_id": each, "transfers": [one]} for each, one in both]
            told = json.loads(ask(instance, "/v1/bundles", {"requests": requests}).body)["results"]
            assert [each["status"] for each in told] == ["problem", "decided"]
            assert told[0]["problem"]["type"] == "/problems/unavailable"
        else:
            path, made = {
                "transfer": ("/v1/transfers", asked),
                "batch": ("/v1/transfers/batch", {"transfers": [asked]}),
                "payment": ("/v1/payments", {
                    "legs": [{name: asked[name] for name in ("debit_account_id", "credit_account_id", "amount")}],
                    "ledger": LEDGER, "code": CODE, **text("lost")}),
            }[way]  # fmt: skip
            assert ask(instance, path, made, f"lost-{way}").status == 503
        assert pay(instance, body(number + 2), f"fine-{way}").status == 201
    finally:
        keys.unlink()
        aside.rename(keys)
    assert instance.api().ask("GET", f"/v1/transfers/{ids.show(number)}").status == 404


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
def test_in_a_batch_bundle_or_payment_what_may_not_come_names_its_field_with_its_index(instance, more, field):
    transfers = [body(900), body(901, **more)]
    answer = ask(instance, "/v1/transfers/batch", {"transfers": transfers}, f"bad-batch-{field}")
    assert (answer.status, json.loads(answer.body)["field"]) == (400, f"transfers[1].{field}")
    requests = {"requests": [{"request_id": "bad", "transfers": transfers}]}
    told = json.loads(ask(instance, "/v1/bundles", requests).body)["results"][0]
    assert told["problem"]["field"] == f"transfers[1].{field}"
    leg = {"debit_account_id": ids.show(1), "credit_account_id": ids.show(2), "amount": "8"}
    paying = {"legs": [leg], "ledger": LEDGER, "code": CODE, **more}
    answer = ask(instance, "/v1/payments", paying, f"bad-payment-{field}")
    assert (answer.status, json.loads(answer.body)["field"]) == (400, field), answer.body


def test_a_key_that_stands_twice_in_text_is_refused_on_every_way_in(instance):
    one = json.dumps(body(910, **text("x"))).replace('"note": "x"', '"note": "x", "note": "y"')
    leg = json.dumps({"debit_account_id": ids.show(1), "credit_account_id": ids.show(2), "amount": "8"})
    for path, asked in (
        ("/v1/transfers", one),
        ("/v1/transfers/batch", f'{{"transfers": [{one}]}}'),
        ("/v1/payments", f'{{"legs": [{leg}], "ledger": 1, "code": 1, "metadata": {{"note": "x", "note": "y"}}}}'),
    ):
        answer = instance.api().ask("POST", path, asked.encode(), {"Idempotency-Key": "twice"})
        assert (answer.status, json.loads(answer.body)["field"]) == (400, "note"), answer.body
    bundle = f'{{"requests": [{{"request_id": "twice", "transfers": [{one}]}}]}}'
    told = json.loads(instance.api().ask("POST", "/v1/bundles", bundle.encode()).body)
    assert told["results"][0]["problem"]["field"] == "note"
