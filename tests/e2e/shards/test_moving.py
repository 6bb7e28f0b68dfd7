"""A tenant moves from shard to shard, with all that was decided; and whatever cuts the move off, it is in one place."""

from collections.abc import Iterator
from typing import Any

import pytest

from tallystick import ids
from tallystick.compose import checking, directing, moving, rebuild
from tallystick.compose import shards as shards_of
from tallystick.errors import Invalid, Unavailable
from tallystick.lab.instance import Instance, pause
from tallystick.records.placements import Home
from tests.e2e.shards.platforms import Tenants, expiries, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with Instance(
        tmp_path_factory.mktemp("platform") / "data", settings={"shards": 2, "accounts_max": 100_000}
    ) as instance:
        made = Tenants(instance)
        made.open(1)
        made.wait_notifiers()
        yield made


def test_what_was_decided_before_a_move_stays_decided_after_it(tenants: Tenants) -> None:
    tenants.new(20)
    paid = transfer(1, 5)
    key = ids.show(0xAAAA)
    first = tenants.ask(20, "POST", "/v1/transfers", paid, key)
    assert first[0] == 201
    assert tenants.ask(20, "POST", "/v1/transfers", transfer(2, 7, flags=["pending"], timeout=3600))[0] == 201
    assert tenants.ask(20, "POST", "/v1/transfers", transfer(3, 2, flags=["pending"]))[0] == 201
    posting = {"id": ids.show(4), "pending_id": ids.show(3), "amount": "1", "flags": ["post_pending_transfer"]}
    assert tenants.ask(20, "POST", "/v1/transfers", posting)[0] == 201
    frozen, _ = tenants.ask(
        20, "POST", f"/v1/accounts/{ids.show(2)}/freeze", {"side": "debits", "reason": 3, "actor": ids.show(77)}
    )
    assert frozen == 200
    refused = transfer(5, 1, debit_account_id=ids.show(2), credit_account_id=ids.show(1))
    refusal_key = ids.show(0xAAAB)
    refusal = tenants.ask(20, "POST", "/v1/transfers", refused, refusal_key)
    assert refusal[0] == 422
    before, lines = tenants.balances(20), tenants.wait_statement(20, 6)  # opened, paid, twice pending, posted, frozen

    done = tenants.move(20, 1)

    assert (done.source, done.to) == (0, 1)
    assert tenants.balances(20) == before
    assert tenants.ask(20, "POST", "/v1/transfers", paid, key)[1] == first[1]
    again = tenants.ask(20, "POST", "/v1/transfers", refused, refusal_key)
    assert (again[0], again[1]["outcome"], again[1]["timestamp"]) == (
        422,
        refusal[1]["outcome"],
        refusal[1]["timestamp"],
    )
    spent = tenants.ask(20, "POST", "/v1/transfers", transfer(1, 6))
    assert (spent[0], spent[1]["outcome"]) == (422, "exists_with_different_amount")
    assert tenants.wait_statement(20, len(lines)) == lines
    posting = {"id": ids.show(6), "pending_id": ids.show(2), "amount": "7", "flags": ["post_pending_transfer"]}
    assert tenants.ask(20, "POST", "/v1/transfers", posting)[0] == 201
    twice = {"id": ids.show(7), "pending_id": ids.show(3), "amount": "0", "flags": ["void_pending_transfer"]}
    assert tenants.ask(20, "POST", "/v1/transfers", twice)[1]["outcome"] == "pending_transfer_already_posted"
    assert int(tenants.balances(20)[1][1]["credits_posted"]) == int(before[1][1]["credits_posted"]) + 7
    with pytest.raises(Invalid, match="has lived in shard 0 before"):
        tenants.move(20, 0)


def test_a_shard_that_was_told_of_a_tenant_too_early_gets_all_of_it(tenants: Tenants) -> None:
    tenants.new(22)
    assert tenants.ask(22, "POST", "/v1/transfers", transfer(1, 5))[0] == 201
    with pytest.raises(Invalid, match="has accounts in shard 0"):
        directing.add(tenants.settings, 22, 1)
    with directing.Engine(shards_of.of(tenants.settings, 1)) as engine:
        engine.place(22, Home(1))
    before = tenants.balances(22)
    assert tenants.move(22, 1).entries == 3
    assert tenants.balances(22) == before


def test_a_pending_transfer_expires_once_and_where_the_tenant_is(tenants: Tenants) -> None:
    tenants.new(21)
    assert tenants.ask(21, "POST", "/v1/transfers", transfer(1, 7, flags=["pending"], timeout=4))[0] == 201
    tenants.move(21, 1)
    for _ in range(600):
        if tenants.balances(21)[1][1]["credits_pending"] == "0":
            break
        pause(0.1)
    assert tenants.balances(21)[1][1]["credits_pending"] == "0"
    pause(0.5)
    assert [expiries(tenants, number, 21) for number in (0, 1)] == [0, 1]


def test_imports_go_along_and_go_on_in_the_order_of_their_times(tenants: Tenants) -> None:
    tenants.new(23)

    def opened(number: int, timestamp: int) -> str:
        row = {"id": ids.show(number), "ledger": 1, "code": 1, "flags": ["imported"], "timestamp": str(timestamp)}
        _, told = tenants.ask(23, "POST", "/v1/accounts", {"accounts": [row]})
        return str(told["results"][0]["status"])

    paid = tenants.ask(23, "POST", "/v1/transfers", transfer(1, 5))[1]
    time = int(paid["timestamp"])
    assert opened(10, time - 1) == "created"
    tenants.move(23, 1)
    assert opened(11, time - 1) == "imported_event_timestamp_must_not_regress"  # it has passed that one
    assert opened(12, time) == "imported_event_timestamp_must_not_regress"  # the payment's own, which was carried
    assert opened(13, time + 1) == "created"
    status, there = tenants.ask(23, "GET", f"/v1/accounts/{ids.show(10)}")
    assert (status, there["timestamp"]) == (200, str(time - 1))


STEPS = 11
"""What a move tells and asks engines."""


@pytest.mark.parametrize("step", range(STEPS))
def test_a_move_that_is_cut_off_anywhere_leaves_the_tenant_in_one_place_and_goes_on(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    tenant = 30 + step
    tenants.new(tenant)
    paid, key = transfer(1, 5), ids.show(0xBBBB00 + step)
    first = tenants.ask(tenant, "POST", "/v1/transfers", paid, key)
    before = tenants.balances(tenant)
    taken = 0
    ask = directing.Engine._ask

    def cut(engine: directing.Engine, message: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > step:
            raise Unavailable("cut off")
        return ask(engine, message)

    with monkeypatch.context() as patched:
        patched.setattr(directing.Engine, "_ask", cut)
        with pytest.raises(Unavailable, match="cut off"):
            tenants.move(tenant, 1)
    status, _ = tenants.ask(tenant, "POST", "/v1/transfers", transfer(2, 1), ids.show(0xCCCC00 + step))
    assert status in (201, 503)
    tenants.move(tenant, 1)
    assert tenants.ask(tenant, "POST", "/v1/transfers", paid, key)[1] == first[1]
    assert tenants.ask(tenant, "POST", "/v1/transfers", transfer(2, 1), ids.show(0xCCCC00 + step))[0] == 201
    assert int(tenants.balances(tenant)[1][1]["credits_posted"]) == int(before[1][1]["credits_posted"]) + 1


def test_a_move_that_was_cut_off_can_be_called_off(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants.new(50)
    before = tenants.balances(50)
    with monkeypatch.context() as patched:
        patched.setattr(moving, "_carry", lambda *_: (_ for _ in ()).throw(Unavailable("cut off")))
        with pytest.raises(Unavailable):
            tenants.move(50, 1)
    assert tenants.ask(50, "POST", "/v1/transfers", transfer(1, 1))[0] == 503
    tenants.move(50, 0)
    assert tenants.balances(50) == before
    assert tenants.ask(50, "POST", "/v1/transfers", transfer(1, 1))[0] == 201
    tenants.move(50, 1)
    assert tenants.ask(50, "POST", "/v1/transfers", transfer(2, 1))[0] == 201


def test_after_moves_and_kills_both_journals_make_the_books_that_the_engines_have(tenants: Tenants) -> None:
    for name in ("engine", "engine@1"):
        tenants.instance.kill(name, within_s=PATIENCE_S)
    tenants.instance.wait_ready(PATIENCE_S)
    assert tenants.ask(30, "POST", "/v1/transfers", transfer(9, 1))[0] == 201  # it lives where it was moved
    found = checking.check(tenants.settings, lambda done, total: None)
    assert (found.faults, found.notes) == ([], [])
    assert 30 in checking.listed(tenants.settings)[1].tenants
    tenants.instance.stop()
    for number in (0, 1):
        found = rebuild.verify(shards_of.of(tenants.settings, number), lambda done, total: None)
        assert found.difference is None
