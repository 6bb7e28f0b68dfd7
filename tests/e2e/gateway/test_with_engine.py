"""The whole walk: gateway process, lanes, engine process, journal, answer. What is acknowledged survives both."""

import concurrent.futures
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.gateway.running import Gateway, Told

LIMITED, WORLD, SHOP = f"{1:032x}", f"{2:032x}", f"{3:032x}"


class Engine:
    """`python -m tallystick.compose.engine` has no main; this is what the supervisor runs."""

    def __init__(self, data: Path) -> None:
        self._environment = {**os.environ, "TALLY_DATA": str(data), "TALLY_ACCOUNTS_MAX": "10000"}
        self.start()

    def start(self) -> None:
        program = (
            "from tallystick.compose import engine; from tallystick.settings import Settings; engine.run(Settings())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], env=self._environment, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Bank:
    def __init__(self, data: Path, **settings: Any) -> None:
        self.engine = Engine(data)
        self.gateway = Gateway(data, wait_s=30, **settings)
        self.gateway.__enter__()
        self.ask = self.gateway.ask

    def pay(self, key: str = "", **changes: Any) -> Told:
        body = {"debit_account_id": WORLD, "credit_account_id": SHOP, "amount": "5", "ledger": 1, "code": 1, **changes}
        return self.ask("POST", "/v1/transfers", body, idempotency_key=key)

    def account(self, id: str) -> Any:
        told = self.ask("GET", f"/v1/accounts/{id}")
        assert told.status == 200
        return told.json


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
    assert [each["status"] for each in told.json["results"]] == ["created"] * 3
    yield bank
    assert bank.gateway.stop() == 0
    bank.engine.stop()


def test_money_moves_and_shows(bank: Bank) -> None:
    before = int(bank.account(SHOP)["credits_posted"])
    told = bank.pay(amount="70")
    assert (told.status, told.json["status"]) == (201, "created")
    assert int(bank.account(SHOP)["credits_posted"]) == before + 70
    shown = bank.ask("GET", f"/v1/transfers/{told.json['id']}").json
    assert (shown["amount"], shown["timestamp"]) == ("70", told.json["timestamp"])


def test_a_refusal_is_final_for_its_key_and_another_key_may_succeed_later(bank: Bank) -> None:
    key = str(uuid4())
    refused = bank.pay(key, debit_account_id=LIMITED, amount="9")
    assert (refused.status, refused.json["outcome"], refused.json["transient"]) == (422, "exceeds_credits", True)
    assert bank.pay(debit_account_id=WORLD, credit_account_id=LIMITED, amount="9").status == 201
    again = bank.pay(key, debit_account_id=LIMITED, amount="9")
    assert (again.json["outcome"], again.headers["idempotent-replayed"]) == ("exceeds_credits", "true")
    assert bank.pay(debit_account_id=LIMITED, amount="9").status == 201


def test_a_frozen_account_stays_refused_for_the_request_that_met_the_freeze(bank: Bank) -> None:
    id = uuid4().hex
    assert bank.ask("POST", "/v1/accounts", {"id": id, "ledger": 1, "code": 1}).status == 201
    order = {"side": "debits", "reason": 3, "actor": uuid4().hex}
    assert bank.ask("POST", f"/v1/accounts/{id}/freeze", order).status == 200
    key = str(uuid4())
    assert bank.pay(key, debit_account_id=id).json["outcome"] == "debit_account_frozen"
    assert bank.account(id)["frozen"] == "debits"
    assert bank.ask("POST", f"/v1/accounts/{id}/unfreeze", order).status == 200
    assert bank.pay(key, debit_account_id=id).json["outcome"] == "debit_account_frozen"
    assert bank.pay(debit_account_id=id).status == 201


def test_a_credit_limit_lets_an_account_go_below_zero_so_far(bank: Bank) -> None:
    id = uuid4().hex
    account = {"id": id, "ledger": 1, "code": 1, "flags": ["debits_must_not_exceed_credits"]}
    assert bank.ask("POST", "/v1/accounts", account).status == 201
    order = {"credit_limit": "10", "reason": 3, "actor": uuid4().hex}
    assert bank.ask("PUT", f"/v1/accounts/{id}/credit-limit", order).status == 200
    assert bank.pay(debit_account_id=id, amount="10").status == 201
    assert bank.pay(debit_account_id=id, amount="1").json["outcome"] == "exceeds_credits"
    assert bank.account(id)["credit_limit"] == "10"


def test_a_reused_key_shows_nothing_and_moves_nothing(bank: Bank) -> None:
    key = str(uuid4())
    assert bank.pay(key).status == 201
    before = bank.account(SHOP)
    assert bank.pay(key, amount="6").problem == "idempotency_key_reused"
    assert bank.account(SHOP) == before


def test_flags_of_later_parts_are_passed_through_for_the_ledger_to_decide(bank: Bank) -> None:
    told = bank.pay(flags=["balancing_debit"])
    assert told.status in (201, 422)
    if told.status == 422:
        assert told.json["outcome"] == "reserved_flag"


def test_an_engine_killed_under_load_loses_nothing_and_doubles_nothing(bank: Bank) -> None:
    before = int(bank.account(SHOP)["credits_posted"])
    keys = [str(uuid4()) for _ in range(150)]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(bank.pay, key, amount="1") for key in keys]
        while sum(answer.done() for answer in answers) < 40:
            pass
        bank.engine.kill()
        bank.engine.start()
        statuses = [answer.result().status for answer in answers]
        assert set(statuses) <= {201, 202}
        again = [told.json["status"] for told in pool.map(lambda key: bank.pay(key, amount="1"), keys)]
    assert set(again) == {"created"}
    assert int(bank.account(SHOP)["credits_posted"]) == before + 150
