"""Bundles over real HTTP, with the real engine: many requests in one body, each what it would be alone."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.gateway.running import Told
from tests.e2e.gateway.test_with_engine import LIMITED, SHOP, WORLD, Bank

UNDECIDED_MAX = 9_000


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    bank = Bank(tmp_path_factory.mktemp("bundles"), undecided_max=UNDECIDED_MAX)
    accounts = [{"id": id, "ledger": 1, "code": 1} for id in (WORLD, SHOP)]
    accounts.append({"id": LIMITED, "ledger": 1, "code": 1, "flags": ["debits_must_not_exceed_credits"]})
    while bank.ask("POST", "/v1/accounts", {"accounts": accounts}, idempotency_key="open").status != 200:
        pass  # 202: the engine is still starting
    yield bank
    assert bank.gateway.stop() == 0
    bank.engine.stop()
    assert [line for line in bank.gateway.log if line.get("level") in ("error", "critical")] == []


@contextmanager
def engine_stopped(bank: Bank) -> Iterator[None]:
    os.kill(bank.engine.process.pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, bank.engine.process.pid, os.WSTOPPED)
        yield
    finally:
        os.kill(bank.engine.process.pid, signal.SIGCONT)


def transfer(**changes: Any) -> dict[str, Any]:
    return {"debit_account_id": WORLD, "credit_account_id": SHOP, "amount": "5", "ledger": 1, "code": 1, **changes}


def one(*transfers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "transfers": list(transfers) or [transfer()], **changes}


def send(bank: Bank, *requests: Any, headers: dict[str, str] | None = None) -> Told:
    return bank.ask("POST", "/v1/bundles", {"requests": list(requests)}, headers, idempotency_key=None)


def results(told: Told) -> Any:
    assert told.status == 200, told
    return told.json["results"]


def test_each_request_gets_its_own_result_in_order(bank: Bank) -> None:
    requests = [
        one(),
        one(transfer(debit_account_id=LIMITED)),
        one(transfer(flags=["linked"]), transfer(debit_account_id=LIMITED)),
        one(transfer(id="ab" * 16), transfer(amount="7")),
    ]
    told = results(send(bank, *requests))
    assert [each["request_id"] for each in told] == [each["request_id"].replace("-", "") for each in requests]
    assert [[row["status"] for row in each["results"]] for each in told] == [
        ["created"], ["exceeds_credits"], ["linked_event_failed", "exceeds_credits"], ["created", "created"],
    ]  # fmt: skip
    assert told[3]["results"][0]["id"] == "ab" * 16
    assert {(each["status"], each["replayed"]) for each in told} == {("decided", False)}


def test_a_request_is_the_same_alone_and_in_a_bundle(bank: Bank) -> None:
    promised = transfer(metadata_commitment="c0" * 32, user_data_64="7")
    single, many = one(promised), one(promised, transfer(), transfer(amount="6"))
    single_told, many_told = results(send(bank, single, many))
    alone = bank.ask("POST", "/v1/transfers", promised, idempotency_key=single["request_id"])
    assert (alone.status, alone.headers["idempotent-replayed"]) == (201, "true")
    assert [{key: alone.json[key] for key in ("id", "status", "timestamp")}] == single_told["results"]
    batch = bank.ask(
        "POST", "/v1/transfers/batch", {"transfers": many["transfers"]}, idempotency_key=many["request_id"]
    )
    assert batch.headers["idempotent-replayed"] == "true"
    assert batch.json["results"] == many_told["results"]

    key = str(uuid4())
    first = bank.ask("POST", "/v1/transfers", transfer(), idempotency_key=key)
    (again,) = results(send(bank, one(request_id=key)))
    assert (again["replayed"], again["results"][0]["timestamp"]) == (True, first.json["timestamp"])


def test_the_same_request_twice_in_one_bundle_pays_once(bank: Bank) -> None:
    before = int(bank.account(SHOP)["credits_posted"])
    request = one()
    first, second = results(send(bank, request, request))
    assert first["results"] == second["results"]
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert int(bank.account(SHOP)["credits_posted"]) == before + 5


def test_a_bad_request_gets_its_own_problem_and_harms_no_other(bank: Bank) -> None:
    reused = one()
    results(send(bank, reused))
    bad: list[tuple[Any, str, str | None]] = [
        (one(transfer(amount=1.5)), "invalid_field", "transfers[0].amount"),
        (one(transfer(), transfer(amount="-1")), "invalid_field", "transfers[1].amount"),
        (one(transfer(colour="red")), "invalid_field", "transfers[0].colour"),
        (one(transfer(flags=["liked"])), "invalid_field", "transfers[0].flags[0]"),
        (one(request_id="0" * 32), "invalid_field", "request_id"),
        (one(request_id="é"), "invalid_field", "request_id"),
        (one(transfers=[]), "invalid_field", "transfers"),
        (one(expires_at="soon"), "invalid_field", "expires_at"),
        ({"transfers": [transfer()]}, "invalid_field", "request_id"),
        (7, "invalid_field", "body"),
        ({**reused, "transfers": [transfer(amount="6")]}, "idempotency_key_reused", None),
    ]
    mixed = [each for request, _, _ in bad for each in (request, one())]
    told = results(send(bank, *mixed))
    assert [each["status"] for each in told[1::2]] == ["decided"] * len(bad)
    for each, (_, problem, field) in zip(told[::2], bad, strict=True):
        assert each["status"] == "problem"
        assert each["problem"]["type"] == f"/problems/{problem}"
        assert each["problem"].get("field") == field
    assert "results" not in told[-2]


def test_a_key_that_stands_twice_is_refused_wherever_it_stands(bank: Bank) -> None:
    good = (
        b'{"request_id":"%s","transfers":[{"debit_account_id":"%s","credit_account_id":"%s","ledger":1,"code":1,%s}]}'
    )
    twice, once = (
        good % (uuid4().hex.encode(), WORLD.encode(), SHOP.encode(), amount)
        for amount in (b'"amount":"1","amount":"9"', b'"amount":"1"')
    )
    told = bank.ask("POST", "/v1/bundles", b'{"requests":[%s,%s]}' % (twice, once), idempotency_key=None)
    assert [each["status"] for each in results(told)] == ["problem", "decided"]
    assert told.json["results"][0]["problem"]["field"] == "amount"
    told = bank.ask("POST", "/v1/bundles", b'{"requests":[%s],"requests":[%s]}' % (once, once), idempotency_key=None)
    assert (told.status, told.json["field"]) == (400, "requests")


@pytest.mark.parametrize(
    ("body", "headers", "field"),
    [
        ({"requests": []}, {}, "requests"),
        ({"requests": [7] * 8_191}, {}, "requests"),
        ({"requests": [one(*[transfer()] * 4_096) for _ in range(2)]}, {}, "requests"),
        ({}, {}, "requests"),
        ({"requests": [one()]}, {"Idempotency-Key": "k"}, "Idempotency-Key"),
        ({"requests": [one()]}, {"Expires-At": "1"}, "Expires-At"),
        ({"requests": [one()]}, {"Prefer": "wait=99"}, "Prefer"),
    ],
)
def test_what_is_wrong_with_the_whole_is_told_before_any_of_it_is_done(
    bank: Bank, body: Any, headers: dict[str, str], field: str
) -> None:
    before = bank.account(SHOP)["credits_posted"]
    told = bank.ask("POST", "/v1/bundles", body, headers, idempotency_key=None)
    assert (told.status, told.problem, told.json["field"]) == (400, "invalid_field", field)
    assert bank.account(SHOP)["credits_posted"] == before


def test_an_expired_request_is_refused_and_the_others_are_not(bank: Bank) -> None:
    late, open_end = results(send(bank, one(expires_at="1"), one()))
    assert late["results"][0]["status"] == "request_expired"
    assert open_end["results"][0]["status"] == "created"


def test_as_many_requests_as_fit(bank: Bank) -> None:
    before = int(bank.account(SHOP)["credits_posted"])
    told = results(send(bank, *(one() for _ in range(8_190)), headers={"Prefer": "wait=30"}))
    assert {each["results"][0]["status"] for each in told} == {"created"}
    assert int(bank.account(SHOP)["credits_posted"]) == before + 8_190 * 5


def test_what_is_not_known_is_told_of_each_with_how_to_ask_again(bank: Bank) -> None:
    requests = [one(), one(transfer(debit_account_id=LIMITED)), one(transfer(amount="x"))]
    with engine_stopped(bank):
        told = results(send(bank, *requests, headers={"Prefer": "respond-async"}))
        assert [each["status"] for each in told] == ["not_decided", "not_decided", "problem"]
        assert told[0]["retry_after"] == 1
    for each, status in zip(told, ("created", "exceeds_credits"), strict=False):
        while (known := bank.ask("GET", each["location"])).status == 202:
            pass
        assert known.json["results"][0]["status"] == status
    again = results(send(bank, *requests))
    assert [each.get("replayed") for each in again] == [True, True, None]


def test_the_tenants_limit_is_met_by_the_requests_beyond_it_alone(bank: Bank) -> None:
    before = int(bank.account(SHOP)["credits_posted"])
    with engine_stopped(bank):
        first = results(send(bank, *(one() for _ in range(8_000)), headers={"Prefer": "respond-async"}))
        told = results(send(bank, *(one() for _ in range(1_100)), headers={"Prefer": "respond-async"}))
    assert {each["status"] for each in first + told[:1_000]} == {"not_decided"}
    assert {each["problem"]["type"] for each in told[1_000:]} == {"/problems/too_many_undecided"}
    assert {each["retry_after"] for each in told[1_000:]} == {1}
    while bank.ask("GET", told[999]["location"]).status == 202:
        pass
    assert int(bank.account(SHOP)["credits_posted"]) == before + 9_000 * 5
