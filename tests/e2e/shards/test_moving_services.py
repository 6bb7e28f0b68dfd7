"""A tenant moves with what services keep for it: text that came with payments, in files or in a database."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tallystick import ids
from tallystick.blockfile.disk import SystemDisk
from tallystick.client.synchronous import Client
from tallystick.compose import directing, shards, webhooks_moving
from tallystick.compose.journals import Place
from tallystick.errors import Unavailable
from tallystick.lab import on_postgresql
from tallystick.lab.instance import Instance
from tallystick.notifier import travelling
from tallystick.notifier.travelling import Operation
from tallystick.records.placements import Home
from tests.e2e.notifier.running import Receiver, eventually
from tests.e2e.shards.platforms import Tenants, expiries, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["files", "postgresql"])
def tenants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with ExitStack() as stack:
        services = "files"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgresql_url")
            services = stack.enter_context(on_postgresql.database(url, tables=False))
        settings = {"shards": 2, "accounts_max": 100_000, "services": services, "webhook_loopback": True}
        folder = tmp_path_factory.mktemp("platform") / "data"
        made = Tenants(stack.enter_context(Instance(folder, settings=settings)), {"services": services})
        made.open(1)
        made.wait_notifiers()
        yield made


def test_text_and_statement_go_along(tenants: Tenants) -> None:
    tenants.new(20)
    paid = transfer(1, 5, metadata={"memo": "for the shop"}, metadata_person="ann")
    assert tenants.ask(20, "POST", "/v1/transfers", paid)[0] == 201
    lines = tenants.wait_statement(20, 2)
    _, told = tenants.ask(20, "GET", f"/v1/accounts/{ids.show(2)}/statement")
    commitment = told["lines"][-1]["metadata_commitment"]
    with Client(tenants.instance.url, tenants.keys[20]) as client:
        text = client.find_text(commitment)
        assert text is not None

        assert tenants.move(20, 1).to == 1

        assert client.find_text(commitment) == text
    assert tenants.wait_statement(20, 2) == lines
    assert tenants.ask(20, "POST", "/v1/transfers", transfer(2, 7))[0] == 201
    assert len(tenants.wait_statement(20, 3)) == 3
    found, _ = tenants.ask(20, "GET", f"/v1/accounts/{ids.show(1)}")
    assert found == 200


def subscribe(tenants: Tenants, tenant: int, receiver: Any, key: str = "") -> dict[str, Any]:
    asked = {"url": receiver.url, "types": ["transfer.*"]}
    status, made = tenants.ask(tenant, "POST", "/v1/webhooks", asked, key)
    assert status == 201, made
    receiver.key = made["key"]
    return dict(made)


def ids_of(receiver: Any) -> dict[int, set[str]]:
    """By transfer, under which ids it was told of."""
    found: dict[int, set[str]] = {}
    for webhook_id, body in receiver.got:
        found.setdefault(ids.parse(body["data"]["transfer_id"]), set()).add(webhook_id)
    return found


def test_webhooks_go_along_with_what_waits_and_what_is_dead(tenants: Tenants) -> None:
    tenants.new(21)

    def pay(number: int) -> None:
        assert tenants.ask(21, "POST", "/v1/transfers", transfer(number, 1))[0] == 201

    with Receiver() as receiver, Receiver() as gone, Receiver() as away:
        made = subscribe(tenants, 21, receiver, key := ids.show(0xD001))
        closed, off = subscribe(tenants, 21, gone), subscribe(tenants, 21, away)
        gone.answer = 410
        pay(1)
        eventually(lambda: len(receiver.got) == len(gone.got) == len(away.got) == 1)
        told = tenants.ask(21, "PATCH", f"/v1/webhooks/{off['id']}", {"enabled": False})
        assert told[0] == 200
        receiver.answer = 500
        pay(2)
        eventually(lambda: len(receiver.got) == 2)
        dead = eventually(
            lambda: tenants.ask(21, "GET", f"/v1/webhooks/{closed['id']}/deliveries?state=dead")[1]["deliveries"]
        )

        tenants.move(21, 1)

        receiver.answer = 204
        pay(3)
        eventually(lambda: set(ids_of(receiver)) == {1, 2, 3} and len(receiver.got) >= 4)
        assert {len(each) for each in ids_of(receiver).values()} == {1}
        assert tenants.ask(21, "GET", f"/v1/webhooks/{made['id']}")[1]["url"] == receiver.url
        found = tenants.ask(21, "GET", f"/v1/webhooks/{closed['id']}/deliveries?state=dead")[1]["deliveries"]
        assert [(each["id"], each["attempts"]) for each in found] == [(each["id"], each["attempts"]) for each in dead]
        assert (len(gone.got), len(away.got)) == (1, 1)
        asked = {"url": receiver.url, "types": ["transfer.*"]}
        assert tenants.ask(21, "POST", "/v1/webhooks", asked, key)[1] == made  # the same request, the same answer
        assert tenants.ask(21, "PATCH", f"/v1/webhooks/{off['id']}", {"enabled": True})[0] == 200
        eventually(lambda: set(ids_of(away)) == {1, 2, 3})  # what it missed, decided before the move and after it
        before = ids_of(receiver)
        count = len(receiver.got)
        assert tenants.ask(21, "POST", f"/v1/webhooks/{made['id']}/replay", {"from_position": "0"})[0] in (200, 202)
        eventually(lambda: len(receiver.got) >= count + 3)
        assert ids_of(receiver) == before  # told again, under the same ids
        assert (receiver.refused, away.refused) == (0, 0)
    for number, has_some in ((0, False), (1, True)):
        with webhooks_moving.Notifier(shards.of(tenants.settings, number)) as notifier:
            page = travelling.decode(notifier.ask(Operation.TAKE, 21, travelling.encode(None)))
            assert bool(page) is has_some


ASKS = 7
"""What a move asks of notifiers, at least: the first three before the tenant lives in the new shard."""


def wait_expired(tenants: Tenants, tenant: int) -> None:
    """Until a pending transfer has expired in the new shard, and its notifier has passed that: it knows nothing yet of
    the tenant's subscriptions."""
    eventually(lambda: expiries(tenants, 1, tenant) == 1)
    settings = shards.of(tenants.settings, 1)
    with webhooks_moving.Notifier(settings) as notifier:
        end = travelling.encode(Place.of(settings).reader(SystemDisk()).end())
        eventually(lambda: notifier.ask(Operation.HOLD, 999, end) == travelling.encode(True))


@pytest.mark.parametrize(
    ("step", "is_done"), [*((step, False) for step in range(ASKS)), (4, True), (5, True), (6, True)]
)
def test_wherever_a_move_is_cut_off_each_event_is_told_under_one_id(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch, step: int, is_done: bool
) -> None:
    tenant = 30 + step + 10 * is_done
    tenants.new(tenant)
    ask, asked = webhooks_moving.Notifier.ask, 0

    def cut(notifier: webhooks_moving.Notifier, operation: str, *more: Any) -> bytes:
        nonlocal asked
        asked += 1
        if asked > step and is_done:
            ask(notifier, operation, *more)
        if asked > step:
            raise Unavailable("cut off")
        return ask(notifier, operation, *more)

    with Receiver() as receiver:
        subscribe(tenants, tenant, receiver)
        pending = transfer(1, 5, flags=["pending"], timeout=2)  # which expires in the new shard, once it has arrived
        assert tenants.ask(tenant, "POST", "/v1/transfers", pending)[0] == 201
        assert tenants.ask(tenant, "POST", "/v1/transfers", transfer(2, 5))[0] == 201
        with monkeypatch.context() as patched:
            patched.setattr(webhooks_moving.Notifier, "ask", cut)
            with pytest.raises(Unavailable, match="cut off"):
                tenants.move(tenant, 1)
        with directing.Engine(shards.of(tenants.settings, 1)) as engine:
            has_arrived = engine.standing(tenant).home == Home(1)
        if has_arrived:
            wait_expired(tenants, tenant)
        tenants.move(tenant, 1)
        assert asked == step + 1
        assert tenants.ask(tenant, "POST", "/v1/transfers", transfer(3, 5))[0] == 201
        told = eventually(lambda: len(events := by_event(receiver)) == 4 and events)
        assert {len(each) for each in told.values()} == {1}
        assert ("transfer.expired", 1) in told


def by_event(receiver: Any) -> dict[tuple[str, int], set[str]]:
    """By type and transfer, under which ids it was told of."""
    found: dict[tuple[str, int], set[str]] = {}
    for webhook_id, body in receiver.got:
        number = body["data"].get("transfer_id") or body["data"]["pending_id"]  # an expiry has no id of its own
        found.setdefault((body["type"], ids.parse(number)), set()).add(webhook_id)
    return found


def test_a_move_that_is_called_off_leaves_webhooks_where_they_were(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants.new(50)
    with Receiver() as receiver:
        made = subscribe(tenants, 50, receiver)
        with monkeypatch.context() as patched:
            patched.setattr("tallystick.compose.texts.copy", lambda *_: (_ for _ in ()).throw(Unavailable("cut off")))
            with pytest.raises(Unavailable, match="cut off"):
                tenants.move(50, 1)
        assert tenants.ask(50, "GET", f"/v1/webhooks/{made['id']}")[0] == 503
        tenants.move(50, 0)
        assert tenants.ask(50, "GET", f"/v1/webhooks/{made['id']}")[0] == 200
        assert tenants.ask(50, "POST", "/v1/transfers", transfer(1, 5))[0] == 201
        eventually(lambda: receiver.got)
