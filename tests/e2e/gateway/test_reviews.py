"""Approving and rejecting over HTTP: control commands about a transfer, by their own lane, with a key that may."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tallystick.records.commands import CONTROL, Opcode
from tests.e2e.gateway.standin import wide
from tests.e2e.gateway.test_api import ALICE, SHOP, World, pay


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("reviews"))
    body = {"accounts": [{"id": id, "ledger": 1, "code": 1} for id in (ALICE, SHOP)]}
    assert world.ask("POST", "/v1/accounts", body).status == 200
    yield world
    assert world.gateway.stop() == 0
    world.engine.stop()


ORDER: dict[str, Any] = {"reason": 17, "actor": "a" * 32}


@pytest.mark.parametrize(("word", "opcode"), [("approve", Opcode.APPROVE), ("reject", Opcode.REJECT)])
def test_what_people_decide_reaches_the_ledger_as_a_control_command(world: World, word: str, opcode: Opcode) -> None:
    id = pay(world, flags=["pending"]).json["id"]
    told = world.ask("POST", f"/v1/transfers/{id}/{word}", ORDER)
    assert (told.status, told.json["status"], told.json["transfer_id"]) == (200, "applied", id)
    row = world.engine.books.commands[-1].reshape(1).view(CONTROL)[0]
    assert (wide(row, "account_id"), f"{wide(row, 'value'):032x}", wide(row, "actor")) == (0, id, int("a" * 32, 16))
    assert (row["opcode"], row["reason"], row["flag_bits"]) == (opcode, 17, 0)


def test_a_refused_review_names_the_transfer(world: World) -> None:
    told = world.ask("POST", f"/v1/transfers/{'9' * 32}/approve", ORDER)
    assert (told.status, told.problem, told.json["outcome"]) == (422, "refused", "pending_transfer_not_found")
    assert told.json["transfer_id"] == "9" * 32


def test_a_review_sent_again_changes_nothing_and_says_so(world: World) -> None:
    id, key = pay(world, flags=["pending"]).json["id"], str(uuid4())
    first = world.ask("POST", f"/v1/transfers/{id}/reject", ORDER, idempotency_key=key)
    again = world.ask("POST", f"/v1/transfers/{id}/reject", ORDER, idempotency_key=key)
    assert first.json == again.json
    assert again.headers["idempotent-replayed"] == "true"
    other = world.ask("POST", f"/v1/transfers/{id}/approve", ORDER, idempotency_key=key)
    assert (other.status, other.problem) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"actor": "me"}, "actor"), ({"reason": -1}, "reason"), ({"side": "both"}, "side"), ({"actor": None}, "actor")],
)
def test_a_review_that_cannot_be_understood_names_its_field(world: World, changes: dict[str, Any], field: str) -> None:
    told = world.ask("POST", f"/v1/transfers/{'1' * 32}/approve", {**ORDER, **changes})
    assert (told.status, told.json["field"]) == (400, field)


def test_an_id_in_the_path_that_is_none_is_refused(world: World) -> None:
    told = world.ask("POST", "/v1/transfers/xyz/approve", ORDER)
    assert (told.status, told.json["field"]) == (400, "id")


def test_a_key_that_may_only_pay_approves_nothing(world: World) -> None:
    key = world.gateway.add_key("pays", 7, ("pay",))
    while (told := world.ask("POST", f"/v1/transfers/{'1' * 32}/approve", ORDER, key=key)).status == 401:
        pass  # the gateway looks at its file of keys now and then
    assert (told.status, told.problem, told.json["scope"]) == (403, "forbidden", "control")


def test_an_asynchronous_review_tells_where_to_ask(world: World) -> None:
    id = pay(world, flags=["pending"]).json["id"]
    told = world.ask("POST", f"/v1/transfers/{id}/approve", ORDER, {"Prefer": "wait=0"})
    assert told.status == 202
    assert told.json["location"].endswith("kind=control")
