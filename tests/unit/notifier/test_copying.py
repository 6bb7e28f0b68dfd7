"""A copy of the notifier's file: whole as of one commit, without what is over, and safe to go on from."""

import asyncio
import sqlite3
from contextlib import closing

from tallystick.notifier.copying import copied
from tallystick.notifier.deliveries import State
from tallystick.sqlitefiles import write_ahead
from tests.unit.notifier.world import OTHER, SECOND, Notifier, Payments, Receiver, courier, deliver


def restored(tmp_path, data, payments, clock):
    path = tmp_path / "restored.db"
    path.write_bytes(data)
    path.chmod(0o644)
    return Notifier(path, payments, clock)


def test_there_is_no_copy_of_what_is_not_there(tmp_path):
    assert copied(tmp_path / "none.db") is None


def test_there_is_no_copy_of_a_file_that_is_just_being_made(tmp_path):
    path = tmp_path / "notifier.db"
    path.touch()
    assert copied(path) is None
    with closing(sqlite3.connect(path)) as connection:
        write_ahead(connection, path)
        assert copied(path) is None


def test_a_copy_made_in_use_has_subscriptions_keys_cursor_and_what_waits(tmp_path):
    payments = Payments()
    notifier = Notifier(tmp_path / "notifier.db", payments)
    mine, theirs = notifier.subscribe(), notifier.subscribe(tenant=OTHER, signature="v1a")
    payments.pay(5)
    notifier.follow()
    with notifier.tables.commit():
        notifier.tables.run("UPDATE deliveries SET state = 1, done_at = 1 WHERE number <= 2")
        notifier.tables.run("UPDATE deliveries SET state = 2, done_at = 1 WHERE number = 3")
        notifier.tables.run("INSERT INTO attempts VALUES (1, 1, 1, 1, 200, ''), (4, 1, 1, 1, 500, '')")
        notifier.tables.run("INSERT INTO replays VALUES (1, ?, 0, 3)", mine.number)
    data = copied(notifier.path)
    payments.pay(1)
    notifier.follow()
    found = restored(tmp_path, data, payments, notifier.clock)
    assert [(each.id, each.key) for each in found.subscriptions] == [(each.id, each.key) for each in (mine, theirs)]
    assert found.rows("number, state") == [(4, State.WAITING), (5, State.WAITING)]
    assert found.tables.rows("SELECT delivery FROM attempts") == [(4,)]
    assert found.tables.rows("SELECT next_seq, until_seq FROM replays") == [(0, 3)]
    assert found.making.cursor().next_seq < payments.journal.end()
    assert found.path.stat().st_mode & 0o777 == 0o600
    found.follow()
    assert found.making.cursor() == notifier.making.cursor()
    assert notifier.told()[-1] in found.told()
    found.close()
    notifier.close()


def test_after_a_restore_what_is_decided_anew_has_new_ids(tmp_path):
    """The journal ends earlier again, and other entries come to stand where lost ones stood."""

    async def story():
        lost, again = Payments(), Payments()
        again.shard._writer.entropy = lambda count: bytes([8]) * count  # nonces are random; here they are not
        async with Receiver() as receiver:
            notifier = Notifier(tmp_path / "notifier.db", lost)
            notifier.subscribe(receiver.url)
            data = copied(notifier.path)
            lost.pay(3)
            notifier.follow()
            async with courier(notifier) as made:
                await deliver(made)
            notifier.close()
            again.pay(3, amount=9)
            found = restored(tmp_path, data, again, notifier.clock)
            found.follow()
            async with courier(found) as made:
                await deliver(made)
            found.close()
            assert sorted(receiver.positions) == sorted(receiver.positions[:3] * 2)
            assert len(set(receiver.ids)) == 6
            notifier.clock.advance(SECOND)

    asyncio.run(story())
