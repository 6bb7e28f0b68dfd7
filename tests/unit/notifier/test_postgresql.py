"""The notifier's tables in PostgreSQL: one notifier a shard, who may see the keys, and a session that is ended."""

import asyncio
import secrets
from contextlib import closing

import psycopg
import pytest
from aiohttp import web

from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.notifier.deliveries import State
from tallystick.notifier.postgresql import tables as adapter
from tallystick.notifier.postgresql.tables import PostgresTables
from tests.unit.notifier.world import Notifier, Payments, Receiver, courier, deliver

pytestmark = pytest.mark.service


def end_session(database, tables):
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", [tables.connection.info.backend_pid])


def test_who_reads_the_views_of_the_projector_sees_no_key_and_no_webhook(database):
    with closing(Notifier(lambda: PostgresTables(database, 0), Payments())) as notifier:
        notifier.subscribe()
        role = f"analyst_{secrets.token_hex(4)}"
        with psycopg.connect(database, autocommit=True) as session:
            session.execute(f"create role {role}")
            try:
                session.execute(f"set role {role}")
                for table in ("keys", "subscriptions", "deliveries"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        session.execute(f"select * from notifier_0.{table}")
            finally:
                session.execute("reset role")
                session.execute(f"drop role {role}")


def test_a_second_notifier_of_the_shard_is_refused_and_one_of_another_shard_is_not(database, monkeypatch):
    monkeypatch.setattr(adapter, "_LOCK_MS", 50)
    first = PostgresTables(database, 0)
    with pytest.raises(Unavailable, match="another notifier has shard 0's webhooks"):
        PostgresTables(database, 0)
    PostgresTables(database, 1).close()
    first.close()
    PostgresTables(database, 0).close()


def test_what_another_notifier_did_meanwhile_is_known_before_anything_is_decided(database):
    """Our session ends, another notifier goes on, and ends: nothing that we remember may be believed."""
    payments = Payments()
    first = Notifier(lambda: PostgresTables(database, 0), payments)
    subscription = first.subscribe()
    end_session(database, first.tables)
    second = Notifier(lambda: PostgresTables(database, 0), payments, first.clock)
    with closing(second), second.tables.commit():
        second.subscriptions.delete(second.subscriptions.by_number[subscription.number])
    payments.pay(3)
    with pytest.raises(Unavailable):
        first.tables.rows("SELECT 1")
    first.follow()
    assert list(first.subscriptions) == []
    assert first.rows() == []
    assert first.making.cursor().next_seq == payments.journal.end()
    end_session(database, first.tables)
    with pytest.raises(Unavailable):
        first.tables.rows("SELECT 1")
    with pytest.raises(Unavailable, match="the connection broke"), first.tables.commit():
        first.tables.run("UPDATE cursor SET next_seq = 0")
    first.close()


def test_it_tells_everything_although_its_session_is_ended_at_any_time(database):
    payments, ended, calls = Payments(), 0, 0

    async def story():
        async with Receiver() as receiver:
            with closing(Notifier(lambda: PostgresTables(database, 0), payments, fresh_max=8)) as notifier:
                subscription = notifier.subscribe(receiver.url)
                begun = payments.journal.end()
                held = notifier.tables._held

                def at_any_time():
                    nonlocal calls, ended
                    calls += 1
                    if calls > ended:  # each time one statement further
                        calls, ended = 0, ended + 1
                        end_session(database, notifier.tables)
                    return held()

                notifier.tables._held = at_any_time
                async with courier(notifier) as made:
                    while ended < 25 or notifier.making.cursor().next_seq < payments.journal.end():
                        if ended < 25 and payments.transfers < 1_200:
                            payments.pay(4)
                        try:
                            notifier.tables.settle()
                            notifier.follow()
                            await deliver(made)
                        except (Unavailable, OutcomeUnknown):
                            await made.idle()
                    notifier.tables._held = held
                    for _ in range(40):  # it may be behind
                        notifier.follow()
                        await deliver(made)
                wanted = list(range(begun, payments.journal.end()))
                positions = [seq for seq in wanted if seq in set(notifier.told(subscription))]
                assert set(receiver.positions) == set(positions)
                assert len(set(receiver.ids)) == len(positions) == payments.transfers - 1_000
                assert {state for [state] in notifier.rows("state")} == {State.DELIVERED}
                assert notifier.deliveries.fresh.get(subscription.number, 0) == 0, "what is fresh is counted right"

    asyncio.run(story())
    assert ended >= 25


def test_what_was_written_down_and_came_to_nothing_is_written_down_again(database):
    """The courier does not wait for its commits: it goes on while the server is at one, and remembers what it holds."""
    payments = Payments()

    async def story():
        answered = asyncio.Event()

        async def first_at_once(request, body):
            if len(receiver.got) > 1:
                await answered.wait()
            return web.Response(status=204)

        async with Receiver() as receiver:
            receiver.answer = first_at_once
            with closing(Notifier(lambda: PostgresTables(database, 0), payments, hands_each=1)) as notifier:
                subscription = notifier.subscribe(receiver.url)
                payments.pay(3)
                notifier.follow()
                async with courier(notifier, timeout_s=60) as made:
                    made.step()
                    async with asyncio.timeout(30):
                        while len(receiver.got) < 2:
                            await asyncio.sleep(0)
                    with psycopg.connect(database) as other:
                        other.execute("lock table notifier_0.deliveries in exclusive mode")
                        made.step()  # is not held up
                        end_session(database, notifier.tables)
                    with pytest.raises(OutcomeUnknown):
                        notifier.tables.settle()
                    assert {state for [state] in notifier.rows("state")} == {State.WAITING}
                    answered.set()
                    await made.idle()
                    await deliver(made)
                assert notifier.rows("state, attempts") == [(State.DELIVERED, 1)] * 3
                assert len(receiver.ids) == len(set(receiver.ids)) == 3, "nothing of it is sent again"
                assert notifier.deliveries.fresh.get(subscription.number, 0) == 0

    asyncio.run(story())


def test_damage_and_what_does_not_fit_are_told_apart_from_what_passes(database):
    with closing(PostgresTables(database, 0)) as tables:
        with pytest.raises(Corrupt), tables.commit():
            tables.run("INSERT INTO keys VALUES (1, 77, 'whsec_', NULL)")  # of no subscription
        with pytest.raises(Unavailable), tables.commit():
            tables.run("INSERT INTO nowhere VALUES (1)")
        with psycopg.connect(database, autocommit=True) as session:
            session.execute("update notifier_0.about set version = 2")
        end_session(database, tables)
        with pytest.raises(Unavailable):
            tables.rows("SELECT 1")
        with pytest.raises(Unavailable, match="upgrade it"):
            tables.rows("SELECT 1")
