"""A tenant's webhooks from one notifier's tables to another's, page by page; positions stay, as if all were copied."""

import asyncio

import msgspec
import pytest
from aiohttp import web

from tallystick.errors import Invalid, Unavailable
from tallystick.notifier import travelling
from tallystick.notifier.deliveries import State
from tallystick.notifier.port import signed
from tallystick.notifier.sqlite import SqliteTables
from tallystick.notifier.travelling import Operation, Travelling
from tests.unit.notifier.world import DAY, OTHER, TENANT, Notifier, Payments, Receiver, courier, deliver


@pytest.fixture
def payments():
    return Payments()


@pytest.fixture
def old(where, payments):
    made = Notifier(where, payments)
    yield made
    made.close()


@pytest.fixture
def new(tmp_path, payments, old):
    made = Notifier(lambda: SqliteTables(tmp_path / "new.db"), payments, old.clock)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(travelling, "DELIVERIES_A_PAGE", 2)


def part(notifier):
    return Travelling(notifier.tables, notifier.subscriptions, notifier.deliveries, notifier.making)


def take(notifier, tenant=OTHER):
    """All pages."""
    pages, after = [], None
    while True:
        page = travelling.decode(part(notifier).answer(Operation.TAKE, tenant, travelling.encode(after)))
        pages.append(page)
        if page.next is None:
            return pages
        after = page.next


def bring(notifier, pages, tenant=OTHER):
    for page in pages:
        part(notifier).answer(Operation.BRING, tenant, travelling.encode(page))


def all_of(notifier):
    """Everything of the tenant, without the numbers that each table gives for itself."""
    pages = take(notifier)
    return [
        pages[0].subscriptions,
        pages[0].requests,
        [each for page in pages for each in page.deliveries],
        pages[-1].enabled,
    ]


def told(notifier, payments, receiver, answer):
    """Three events, each tried once."""

    async def story():
        receiver.answer = lambda request, body: web.Response(status=answer)
        async with courier(notifier) as made:
            payments.pay(3, OTHER)
            notifier.follow()
            await deliver(made)

    return story()


def test_all_of_one_tenant_comes_and_nothing_of_another(old, new, payments):
    async def story():
        async with Receiver() as receiver:
            mine = old.subscribe(receiver.url, tenant=OTHER)
            old.subscribe(receiver.url, tenant=TENANT)
            with old.tables.commit(durable=True):
                old.subscriptions.rotate(mine, old.clock.wall_ns(), old.clock.wall_ns() + DAY)
                values = (signed(OTHER), b"r" * 16, b"f" * 32, b"{}", old.clock.wall_ns())
                old.tables.run("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", *values)
                old.deliveries.replay(mine.number, 3, 3000)
            await told(old, payments, receiver, 500)
            pages = take(old)
            assert len(pages) > 1
            bring(new, pages)
            assert all_of(new) == all_of(old)
            assert all_of(old)[2][0].tries, "attempts come along"
            assert [each.tenant for each in new.subscriptions] == [OTHER]
            assert len(new.subscriptions.of(OTHER)[0].keys) == 2

            old.clock.advance(DAY)
            receiver.answer = lambda request, body: web.Response(status=204)
            count = len(receiver.got)
            async with courier(new) as made:
                await deliver(made)
            assert len(receiver.got) == 2 * count, "what failed is tried again by the new one"
            assert len(set(receiver.ids)) == count

    asyncio.run(story())


def test_nothing_is_sent_before_the_last_page_is_there(old, new, payments):
    async def story():
        async with Receiver() as receiver:
            old.subscribe(receiver.url, tenant=OTHER)
            await told(old, payments, receiver, 500)
            pages, count = take(old), len(receiver.got)
            old.clock.advance(DAY)
            bring(new, pages[:-1])
            async with courier(new) as made:
                await deliver(made)
                assert len(receiver.got) == count
                assert not new.making.step()
                bring(new, pages[-1:])
                await deliver(made)
            assert len(receiver.got) == count + 3

    asyncio.run(story())


def test_what_is_brought_again_replaces_what_was_brought_before(old, new, payments):
    async def story():
        async with Receiver() as receiver:
            old.subscribe(receiver.url, tenant=OTHER)
            await told(old, payments, receiver, 500)
            bring(new, take(old)[:-1])
            bring(new, take(old))
            assert all_of(new) == all_of(old)

    asyncio.run(story())


def test_what_has_left_is_forgotten_and_others_stay(old, payments):
    old.subscribe(tenant=OTHER)
    old.subscribe(tenant=TENANT)
    payments.pay(2, OTHER)
    payments.pay(2, TENANT)
    old.follow()
    part(old).answer(Operation.FORGET, OTHER, b"")
    assert not take(old)[0]
    assert [each.tenant for each in old.subscriptions] == [TENANT]
    assert old.rows("state") == [(State.WAITING,), (State.WAITING,)]


def test_a_tenant_that_is_held_is_refused_until_it_stays(old, payments):
    travels = part(old)
    end = payments.journal.end()
    hold = lambda until: msgspec.msgpack.decode(travels.answer(Operation.HOLD, OTHER, travelling.encode(until)))  # noqa: E731
    assert hold(end)
    payments.pay(1, OTHER)
    assert not hold(payments.journal.end()), "it has not looked at that yet"
    old.follow()
    assert hold(payments.journal.end())
    with pytest.raises(Unavailable):
        travels.refuse_held(OTHER)
    travels.refuse_held(TENANT)
    travels.answer(Operation.STAY, OTHER, b"")
    travels.refuse_held(OTHER)
    with pytest.raises(Invalid, match="another version"):
        travels.answer(Operation.BRING, OTHER, b"\xc1")
