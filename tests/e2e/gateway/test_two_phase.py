"""Everything that a transfer can do, over HTTP, decided by the real engine and shown by its look-ups."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.gateway.running import Told
from tests.e2e.gateway.test_with_engine import LIMITED, SHOP, WORLD, Bank

MOST = str(2**128 - 1)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    accounts = [
        {"id": LIMITED, "ledger": 1, "code": 1, "flags": ["debits_must_not_exceed_credits"]},
        {"id": WORLD, "ledger": 1, "code": 1},
        {"id": SHOP, "ledger": 1, "code": 1},
    ]
    while True:
        told = bank.ask("POST", "/v1/accounts", {"accounts": accounts}, idempotency_key="open the accounts")
        if told.status == 200:  # else 202: the engine is still starting
            break
    yield bank
    assert bank.gateway.stop() == 0
    bank.engine.stop()


def pending(bank: Bank, amount: str = "50", **more: Any) -> str:
    id = uuid4().hex
    told = bank.pay(id=id, amount=amount, flags=["pending"], **more)
    assert (told.status, told.json["status"]) == (201, "created"), told
    return id


def resolve(bank: Bank, word: str, pending_id: str, amount: str | None = None, **more: Any) -> Told:
    body = {"id": uuid4().hex, "pending_id": pending_id, "flags": [f"{word}_pending_transfer"], **more}
    return bank.ask("POST", "/v1/transfers", body if amount is None else {**body, "amount": amount})


def shown(bank: Bank, told: Told) -> Any:
    return bank.ask("GET", f"/v1/transfers/{told.json['id']}").json


def test_a_post_is_shown_with_what_it_inherited_and_what_it_moved(bank: Bank) -> None:
    before = bank.account(SHOP)
    id = pending(bank, user_data_128="7" * 32, code=9)
    held = bank.account(SHOP)
    assert int(held["credits_pending"]) == int(before["credits_pending"]) + 50
    told = resolve(bank, "post", id, "30")
    assert (told.status, told.json["status"]) == (201, "created")
    after = bank.account(SHOP)
    assert int(after["credits_posted"]) == int(before["credits_posted"]) + 30
    assert after["credits_pending"] == before["credits_pending"]
    transfer = shown(bank, told)
    assert (transfer["debit_account_id"], transfer["credit_account_id"]) == (WORLD, SHOP)
    assert (transfer["amount"], transfer["pending_id"], transfer["ledger"], transfer["code"]) == ("30", id, 1, 9)
    assert (transfer["user_data_128"], transfer["flags"]) == ("7" * 32, ["post_pending_transfer"])


def test_a_post_of_the_maximum_posts_all(bank: Bank) -> None:
    assert shown(bank, resolve(bank, "post", pending(bank), MOST))["amount"] == "50"


def test_a_void_gives_back_and_shows_how_much(bank: Bank) -> None:
    before = bank.account(SHOP)
    told = resolve(bank, "void", pending(bank))
    assert told.json["status"] == "created"
    assert shown(bank, told)["amount"] == "50"
    assert bank.account(SHOP) == before


def test_a_transfer_is_resolved_once(bank: Bank) -> None:
    id = pending(bank)
    assert resolve(bank, "post", id, MOST).status == 201
    assert resolve(bank, "post", id, MOST).json["outcome"] == "pending_transfer_already_posted"
    assert resolve(bank, "void", id).json["outcome"] == "pending_transfer_already_posted"


def test_a_pending_transfer_gives_its_money_back_by_itself(bank: Bank) -> None:
    before = bank.account(SHOP)["credits_pending"]
    id = pending(bank, timeout=1)
    while bank.account(SHOP)["credits_pending"] != before:
        pass
    assert resolve(bank, "post", id, MOST).json["outcome"] == "pending_transfer_expired"


def test_a_chain_stands_or_falls_together(bank: Bank) -> None:
    base = {"debit_account_id": WORLD, "credit_account_id": SHOP, "amount": "1", "ledger": 1, "code": 1}
    good, bad = {**base, "flags": ["linked"]}, {**base, "debit_account_id": LIMITED, "amount": "5"}
    told = bank.ask("POST", "/v1/transfers/batch", {"transfers": [good, bad, base]})
    assert [row["status"] for row in told.json["results"]] == ["linked_event_failed", "exceeds_credits", "created"]


def test_a_balancing_transfer_shows_what_it_moved(bank: Bank) -> None:
    bank.pay(credit_account_id=LIMITED, amount="12")
    told = bank.pay(debit_account_id=LIMITED, amount="1000", flags=["balancing_debit"])
    assert (told.status, shown(bank, told)["amount"]) == (201, "12")


def test_a_closing_transfer_closes_until_it_is_voided(bank: Bank) -> None:
    account = uuid4().hex
    assert bank.ask("POST", "/v1/accounts", {"id": account, "ledger": 1, "code": 1}).status == 201
    id = pending(bank, "0", credit_account_id=account, timeout=0)
    closing = {"credit_account_id": account, "amount": "0", "flags": ["pending", "closing_credit"]}
    told = bank.pay(**closing)
    assert (told.status, bank.account(account)["flags"]) == (201, ["closed"])
    assert bank.pay(credit_account_id=account).json["outcome"] == "credit_account_already_closed"
    assert resolve(bank, "void", told.json["id"]).status == 201
    assert bank.account(account)["flags"] == []
    assert resolve(bank, "void", id).status == 201


def test_imported_events_keep_their_own_time(bank: Bank) -> None:
    """They must be newer than all of their kind that stand already, so the past begins with what was made just now."""
    newest, *ids = uuid4().hex, uuid4().hex, uuid4().hex
    told = bank.ask("POST", "/v1/accounts", {"id": newest, "ledger": 5, "code": 1})
    first = int(told.json["timestamp"])
    accounts = [
        {"id": id, "ledger": 5, "code": 1, "flags": ["imported"], "timestamp": str(first + at)}
        for at, id in enumerate(ids, 1)
    ]
    told = bank.ask("POST", "/v1/accounts", {"accounts": accounts})
    assert [row["status"] for row in told.json["results"]] == ["created", "created"]
    assert bank.account(ids[1])["timestamp"] == str(first + 2)
    last = int(bank.pay().json["timestamp"])
    changes = {"debit_account_id": ids[0], "credit_account_id": ids[1], "ledger": 5, "flags": ["imported"]}
    assert bank.pay(**changes, timestamp=str(last)).json["outcome"] == "imported_event_timestamp_must_not_regress"
    told = bank.pay(**changes, timestamp=str(last + 9))
    assert (told.status, shown(bank, told)["timestamp"]) == (201, str(last + 9))
    assert bank.pay(**changes).json["outcome"] == "imported_event_timestamp_out_of_range"


def test_a_transfer_that_nobody_reviews_is_neither_approved_nor_rejected(bank: Bank) -> None:
    id = pending(bank)
    for word in ("approve", "reject"):
        told = bank.ask("POST", f"/v1/transfers/{id}/{word}", {"reason": 1, "actor": "0" * 32})
        assert (told.status, told.json["outcome"]) == (422, "pending_transfer_not_in_review")
        assert told.json["transfer_id"] == id
