"""From the journal to deliveries: each entry once for each subscription that wants it, whatever happens in between."""

import pytest

from tallystick.errors import Invalid, Unavailable
from tallystick.notifier.deliveries import State
from tallystick.notifier.notifications import webhook_id
from tallystick.notifier.sqlite import SqliteTables
from tests.unit.notifier.world import OTHER, TENANT, Notifier, Payments


@pytest.fixture
def payments():
    return Payments()


@pytest.fixture
def notifier(where, payments):
    made = Notifier(where, payments)
    yield made
    made.close()


def of(payments, tenant=TENANT):
    """Positions of a tenant's transfers."""
    found = []
    for block in payments.journal.read(0):
        found += [int(e["seq"]) for e in block.entries if e["tenant"] == tenant and e["kind"] == 1]
    return found


def test_a_new_file_begins_at_the_end_of_the_journal(notifier, payments):
    assert notifier.making.cursor().next_seq == payments.journal.end() > 0


def test_a_subscription_is_told_of_what_is_decided_after_it_was_made(notifier, payments):
    payments.pay(3)
    subscription = notifier.subscribe()
    payments.pay(2)
    notifier.follow()
    assert notifier.told(subscription) == of(payments)[3:]


def test_each_tenant_is_told_of_its_own_entries_only(notifier, payments):
    mine, theirs = notifier.subscribe(), notifier.subscribe(tenant=OTHER)
    payments.pay(2)
    payments.pay(3, tenant=OTHER)
    notifier.follow()
    assert notifier.told(mine) == of(payments)
    assert notifier.told(theirs) == of(payments, OTHER)


def test_a_subscription_is_told_of_the_types_that_it_asks_for(notifier, payments):
    created, refused = notifier.subscribe(types=["transfer.created"]), notifier.subscribe(types=["transfer.refused"])
    payments.pay(2)
    payments.pay(1, amount=0)
    payments.transfers -= 1
    payments.pay(1)  # the id is spent on another amount
    notifier.follow()
    positions = of(payments)
    types = dict(notifier.rows("seq, type"))
    assert set(notifier.told(created)) | set(notifier.told(refused)) == set(positions)
    assert {types[seq] for seq in notifier.told(created)} == {"transfer.created"}
    assert [types[seq] for seq in notifier.told(refused)] == ["transfer.refused"]


def test_a_webhook_id_follows_from_subscription_and_entry(notifier, payments):
    subscription = notifier.subscribe()
    payments.pay(1)
    notifier.follow()
    assert notifier.rows("webhook_id") == [(webhook_id(subscription.id, 0, of(payments)[0], bytes([7]) * 16),)]


def test_who_has_much_to_be_tried_falls_behind_and_catches_up_from_the_journal(notifier, payments):
    slow, quick = notifier.subscribe(), notifier.subscribe(tenant=OTHER)
    for _ in range(8):
        payments.pay(40)
        payments.pay(1, tenant=OTHER)
    notifier.follow()
    assert len(notifier.told(quick)) == 8
    assert notifier.deliveries.fresh[slow.number] == len(notifier.told(slow)) == 80
    behind = notifier.subscriptions.by_number[slow.number].behind_seq
    assert of(payments)[79] < behind <= of(payments)[80]
    assert notifier.making.cursor().next_seq == payments.journal.end(), "it holds nobody up"
    while len(notifier.told(slow)) < 320:
        with notifier.tables.commit():
            notifier.tables.run("UPDATE deliveries SET state = 1, done_at = 1 WHERE state = 0")
        notifier.deliveries.load()
        notifier.follow()
    assert notifier.told(slow) == of(payments)
    assert notifier.subscriptions.by_number[slow.number].behind_seq is None


def test_a_block_of_more_than_there_is_room_for_is_made_bit_by_bit(notifier, payments):
    subscription = notifier.subscribe()
    payments.pay(350)
    notifier.follow()
    assert len(notifier.told(subscription)) == 100
    for expected in (200, 300, 350):
        with notifier.tables.commit():
            notifier.tables.run("UPDATE deliveries SET state = 1, done_at = 1 WHERE state = 0")
        notifier.deliveries.load()
        notifier.follow()
        assert len(notifier.told(subscription)) == expected
    assert notifier.told(subscription) == of(payments)


def test_a_subscription_of_the_past_is_told_of_so_many_entries_at_a_time_as_it_is_asked(notifier, payments):
    payments.pay(40)
    since = of(payments)[0]
    notifier.follow()
    with notifier.tables.commit():
        subscription = notifier.subscriptions.make(TENANT, notifier.subscribe_in(), 1, since, behind=True)
    left = payments.journal.end() - since
    assert notifier.making.behind() == left
    while taken := notifier.making.step(7):
        assert taken <= 7
        left -= taken
        assert notifier.making.behind() == left
    assert left == 0
    assert notifier.told(subscription) == of(payments)


def test_what_is_decided_while_a_subscription_is_disabled_it_is_told_of_when_it_is_enabled(notifier, payments):
    subscription = notifier.subscribe()
    payments.pay(2)
    notifier.follow()
    with notifier.tables.commit():
        notifier.subscriptions.disable(subscription, "asked", 1, notifier.making.cursor().next_seq)
    payments.pay(3)
    notifier.follow()
    assert notifier.told(subscription) == of(payments)[:2]
    with notifier.tables.commit():
        notifier.subscriptions.enable(notifier.subscriptions.by_number[subscription.number], 2, None)
    payments.pay(1)
    notifier.follow()
    assert notifier.told(subscription) == of(payments)


def test_what_was_missed_can_be_skipped(notifier, payments):
    subscription = notifier.subscribe()
    with notifier.tables.commit():
        notifier.subscriptions.disable(subscription, "asked", 1, notifier.making.cursor().next_seq)
    payments.pay(3)
    notifier.follow()
    with notifier.tables.commit():
        notifier.subscriptions.enable(subscription, 2, payments.journal.end())
    payments.pay(1)
    notifier.follow()
    assert notifier.told(subscription) == of(payments)[3:]


def test_a_subscription_of_the_past_is_told_from_its_position_on(notifier, payments):
    payments.pay(5)
    since = of(payments)[2]
    with notifier.tables.commit():
        asked = notifier.subscribe_in()
        subscription = notifier.subscriptions.make(TENANT, asked, 1, since, behind=True)
    payments.pay(1)
    notifier.follow()
    assert notifier.told(subscription) == of(payments)[2:]


def test_a_replay_makes_what_is_not_there_and_sends_again_what_is(notifier, payments):
    payments.pay(4)
    subscription = notifier.subscribe()
    payments.pay(3)
    notifier.follow()
    ids = dict(notifier.rows("seq, webhook_id"))
    with notifier.tables.commit():
        notifier.tables.run("UPDATE deliveries SET state = 2, tries = 10, attempts = 10, done_at = 9")
        first, until = of(payments)[2], of(payments)[5]
        notifier.tables.run("INSERT INTO replays VALUES (1, ?, ?, ?)", subscription.number, first, until)
    notifier.deliveries.load()
    notifier.follow()
    assert notifier.rows("seq, state, tries", "seq") == [
        *[(seq, State.WAITING, 0) for seq in of(payments)[2:5]],
        *[(seq, State.DEAD, 10) for seq in of(payments)[5:]],
    ]
    assert ids.items() <= dict(notifier.rows("seq, webhook_id")).items(), "the same ids"
    assert notifier.tables.rows("SELECT * FROM replays") == []


def test_a_replay_does_not_touch_what_waits(notifier, payments):
    subscription = notifier.subscribe()
    payments.pay(1)
    notifier.follow()
    with notifier.tables.commit():
        notifier.tables.run("UPDATE deliveries SET tries = 4, attempts = 4, due_at = 77")
        notifier.tables.run("INSERT INTO replays VALUES (1, ?, 0, ?)", subscription.number, payments.journal.end())
    notifier.follow()
    assert (of(payments)[0], 4, 77) in notifier.rows("seq, tries, due_at")


def test_a_subscription_that_is_deleted_leaves_nothing(notifier, payments):
    subscription, other = notifier.subscribe(), notifier.subscribe(tenant=OTHER)
    payments.pay(2)
    payments.pay(1, tenant=OTHER)
    notifier.follow()
    with notifier.tables.commit():
        notifier.subscriptions.delete(subscription)
    payments.pay(1)
    notifier.follow()
    assert notifier.told(subscription) == []
    assert len(notifier.told(other)) == 1
    assert notifier.tables.rows("SELECT DISTINCT subscription FROM keys") == [(other.number,)]


def test_a_commit_that_fails_leaves_memory_as_the_file_is(notifier, payments):
    subscription = notifier.subscribe()
    payments.pay(1)
    notifier.follow()
    before = notifier.rows("*")

    def change_and_fail():
        with notifier.tables.commit():
            notifier.subscriptions.disable(subscription, "asked", 1, 0)
            notifier.deliveries.make_test(subscription.number, "msg_1", "webhook.test", b"{}", 1)
            notifier.tables.run("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(Unavailable):
        change_and_fail()
    assert notifier.rows("*") == before
    assert notifier.subscriptions.by_number[subscription.number].enabled
    assert notifier.deliveries.fresh == {subscription.number: 1}


def test_a_tenant_has_no_more_subscriptions_than_allowed(notifier):
    for _ in range(100):
        notifier.subscribe()
    with pytest.raises(Invalid, match="100"):
        notifier.subscribe()
    notifier.subscribe(tenant=OTHER)


def test_only_its_owner_can_read_the_file_that_holds_the_keys(tmp_path):
    SqliteTables(tmp_path / "notifier.db").close()
    assert (tmp_path / "notifier.db").stat().st_mode & 0o777 == 0o600
