"""What a tenant may do with its subscriptions, as gateways ask it: its own only, durable, once."""

import asyncio
import json

import msgspec
import pytest

from tallystick.errors import Invalid
from tallystick.inquiries.port import NotFound
from tallystick.notifier.desk import Desk
from tallystick.webhooks import asking, signing
from tallystick.webhooks.asking import Asked, Operation, Result
from tests.unit.notifier.world import OTHER, SECOND, TENANT, Notifier, Payments, Receiver, courier, deliver

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def payments():
    return Payments()


@pytest.fixture
def notifier(where, payments):
    made = Notifier(where, payments)
    made.desk = desk_of(made)
    yield made
    made.close()


def desk_of(made):
    return Desk(
        made.tables, made.payments.journal, made.subscriptions, made.deliveries, made.making, made.clock, made.entropy
    )


def ask(notifier, operation, tenant=TENANT, body=None, id=None, **fields):
    if id is not None:
        fields["subscription"] = int(id, 16).to_bytes(16)
    if body is not None:
        fields["body"] = json.dumps(body).encode()
    told = asking.decode_told(notifier.desk.answer(operation, tenant, asking.encode(Asked(**fields))))
    return told, (json.loads(told.body) if told.body else None)


def make(notifier, tenant=TENANT, request=1, fingerprint=b"f", **body):
    fields = {"url": URL, "types": ["*"], **body}
    key = {"request_id": request.to_bytes(16), "fingerprint": fingerprint}
    return ask(notifier, Operation.MAKE, tenant, fields, **key)


def test_a_subscription_is_made_shown_and_listed(notifier, payments):
    told, made = make(notifier, description="orders", types=["transfer.*", "review.approved"])
    assert told.result is Result.DONE
    key = made.pop("key")
    assert key.startswith("whsec_")
    assert len(signing.verifier(key).secret) == 32
    assert made == {
        "id": made["id"],
        "url": URL,
        "types": ["transfer.*", "review.approved"],
        "description": "orders",
        "signature": "v1",
        "enabled": True,
        "reason": "",
        "created_at": str(notifier.clock.wall_ns()),
        "changed_at": str(notifier.clock.wall_ns()),
        "failing_since": None,
        "next_position": str(payments.journal.end()),
        "waiting": 0,
        "version": 1,
    }
    assert ask(notifier, Operation.GET, id=made["id"])[1] == made
    assert ask(notifier, Operation.LIST)[1] == {"subscriptions": [made]}


def test_the_same_request_makes_one_subscription_and_gets_the_same_answer(notifier):
    _, body = make(notifier)
    again, same = make(notifier)
    assert (again.result, same) == (Result.REPEATED, body)
    notifier.desk = desk_of(notifier)
    assert make(notifier)[1] == body
    assert len(ask(notifier, Operation.LIST)[1]["subscriptions"]) == 1
    assert make(notifier, fingerprint=b"other")[0].result is Result.REUSED
    assert make(notifier, tenant=OTHER)[1]["id"] != body["id"], "keys are a tenant's own"
    assert make(notifier, request=2)[1]["id"] != body["id"]


def test_a_request_of_two_days_ago_is_forgotten(notifier):
    make(notifier)
    notifier.clock.advance(2 * 86_400 * SECOND)
    with notifier.tables.commit():
        notifier.desk.tidy(notifier.clock.wall_ns())
    assert make(notifier)[0].result is Result.DONE


def test_what_could_not_be_made_is_not_remembered(notifier):
    with pytest.raises(Invalid):
        make(notifier, url="https://10.0.0.1/")
    assert make(notifier)[0].result is Result.DONE


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"types": []}, "types"),
        ({"types": ["nothing"]}, "types[0]"),
        ({"signature": "v2"}, "signature"),
        ({"description": "x" * 256}, "description"),
        ({"from_position": "-1"}, "from_position"),
        ({"from_position": "1e3"}, "from_position"),
        ({"from_position": 10**6}, "from_position"),
        ({"from_position": "9" * 30}, "from_position"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(notifier, fields, culprit):
    with pytest.raises(Invalid) as refused:
        make(notifier, **fields)
    assert refused.value.field == culprit
    assert ask(notifier, Operation.LIST)[1] == {"subscriptions": []}


def test_everything_of_another_tenant_does_not_exist(notifier, payments):
    id_ = make(notifier)[1]["id"]
    payments.pay(1)
    notifier.follow()
    webhook_id = ask(notifier, Operation.DELIVERIES, id=id_, limit=1)[1]["deliveries"][0]["id"]
    for operation in Operation:
        if operation in (Operation.LIST, Operation.MAKE):
            continue
        body = {"from_position": "0"} if operation is Operation.REPLAY else {}
        with pytest.raises(NotFound):
            ask(notifier, operation, OTHER, body, id_, webhook_id=webhook_id, limit=1, request_id=bytes(16))
    assert ask(notifier, Operation.LIST, OTHER)[1] == {"subscriptions": []}
    assert ask(notifier, Operation.GET, id=id_)[1]["version"] == 1


def test_a_change_counts_and_moves_the_version(notifier):
    id_ = make(notifier)[1]["id"]
    told, changed = ask(notifier, Operation.CHANGE, id=id_, body={"types": ["review.*"]}, version=1)
    assert (changed["types"], changed["url"], told.version, changed["version"]) == (["review.*"], URL, 2, 2)
    told, _ = ask(notifier, Operation.CHANGE, id=id_, body={"types": ["*"]}, version=1)
    assert (told.result, told.version) == (Result.STALE, 2)
    assert ask(notifier, Operation.GET, id=id_)[1]["types"] == ["review.*"]
    assert ask(notifier, Operation.DELETE, id=id_, version=1)[0].result is Result.STALE
    assert ask(notifier, Operation.DELETE, id=id_, version=2)[1] == {"id": id_, "deleted": True}
    with pytest.raises(NotFound):
        ask(notifier, Operation.GET, id=id_)


def test_disabled_it_waits_and_enabled_it_is_told_of_what_it_missed(notifier, payments):
    id_ = make(notifier)[1]["id"]
    _, off = ask(notifier, Operation.CHANGE, id=id_, body={"enabled": False})
    assert (off["enabled"], off["reason"]) == (False, "asked")
    missed_from = off["next_position"]
    payments.pay(3)
    notifier.follow()
    assert ask(notifier, Operation.GET, id=id_)[1]["next_position"] == missed_from
    _, on = ask(notifier, Operation.CHANGE, id=id_, body={"enabled": True})
    assert (on["enabled"], on["reason"]) == (True, "")
    notifier.follow()
    assert len(notifier.told()) == 3


def test_enabled_it_can_skip_what_it_missed(notifier, payments):
    id_ = make(notifier)[1]["id"]
    with pytest.raises(Invalid, match="skip_missed"):
        ask(notifier, Operation.CHANGE, id=id_, body={"skip_missed": True})
    ask(notifier, Operation.CHANGE, id=id_, body={"enabled": False})
    payments.pay(3)
    notifier.follow()
    ask(notifier, Operation.CHANGE, id=id_, body={"enabled": True, "skip_missed": True})
    payments.pay(1)
    notifier.follow()
    assert len(notifier.told()) == 1


def test_a_subscription_of_the_past_begins_at_its_position(notifier, payments):
    payments.pay(4)
    notifier.follow()
    make(notifier, from_position=str(payments.journal.end() - 3))
    notifier.follow()
    assert len(notifier.told()) == 2  # the last of the block is its seal


def test_a_rotation_is_done_once_and_gives_a_new_key(notifier):
    _, made = make(notifier)
    key = {"request_id": (5).to_bytes(16), "fingerprint": b"r", "id": made["id"]}
    _, rotated = ask(notifier, Operation.ROTATE, body={"overlap_s": 60}, **key)
    assert rotated["key"] != made["key"]
    assert rotated["earlier_until"] == str(notifier.clock.wall_ns() + 60 * SECOND)
    told, again = ask(notifier, Operation.ROTATE, body={"overlap_s": 60}, **key)
    assert (told.result, again) == (Result.REPEATED, rotated)
    [subscription] = notifier.subscriptions
    assert len(subscription.signers(notifier.clock.wall_ns())) == 2
    notifier.clock.advance(61 * SECOND)
    assert len(subscription.signers(notifier.clock.wall_ns())) == 1


def test_without_overlap_the_old_key_signs_no_more(notifier):
    _, made = make(notifier)
    fields = {"id": made["id"], "request_id": (5).to_bytes(16), "fingerprint": b"r"}
    ask(notifier, Operation.ROTATE, body={"overlap_s": 0}, **fields)
    [subscription] = notifier.subscriptions
    assert [str(each) for each in subscription.signers(notifier.clock.wall_ns())] == [subscription.key]
    assert notifier.tables.rows("SELECT count(*) FROM keys") == [(1,)]


def test_only_so_many_keys_sign_at_once(notifier):
    _, made = make(notifier)
    for number in range(2, 6):
        fields = {"id": made["id"], "request_id": number.to_bytes(16), "fingerprint": b"r"}
        ask(notifier, Operation.ROTATE, body={}, **fields)
    with pytest.raises(Invalid, match="overlap_s"):
        ask(notifier, Operation.ROTATE, body={}, id=made["id"], request_id=(9).to_bytes(16))
    ask(notifier, Operation.ROTATE, body={"overlap_s": 0}, id=made["id"], request_id=(9).to_bytes(16))


def test_a_test_is_delivered_and_told_whole(notifier):
    async def story():
        async with Receiver() as receiver, courier(notifier) as sending:
            _, made = make(notifier, url=receiver.url, types=["review.*"])
            receiver.verifier, receiver.clock = signing.verifier(made["key"]), notifier.clock
            _, sent = ask(notifier, Operation.TEST, id=made["id"])
            assert (sent["type"], sent["state"], sent["position"]) == ("webhook.test", "waiting", None)
            await deliver(sending)
            [(webhook_id, body, _)] = receiver.got
            assert webhook_id == sent["id"]
            assert body["type"] == "webhook.test"
            assert body["data"] == {"subscription_id": made["id"]}
            _, found = ask(notifier, Operation.DELIVERY, id=made["id"], webhook_id=webhook_id)
            assert (found["state"], found["attempts"], found["reason"]) == ("delivered", 1, "")
            assert json.loads(found["body"]) == body
            [attempt] = found["tries"]
            assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 204, "")

    asyncio.run(story())


def test_a_disabled_subscription_is_not_tested_and_too_many_tests_are_refused(notifier):
    id_ = make(notifier)[1]["id"]
    for _ in range(100):
        ask(notifier, Operation.TEST, id=id_)
    with pytest.raises(Invalid, match="100"):
        ask(notifier, Operation.TEST, id=id_)
    ask(notifier, Operation.CHANGE, id=id_, body={"enabled": False})
    with pytest.raises(Invalid, match="enable"):
        ask(notifier, Operation.TEST, id=id_)


def test_deliveries_are_paged_newest_first_and_by_state(notifier, payments):
    id_ = make(notifier)[1]["id"]
    payments.pay(25)
    notifier.follow()
    with notifier.tables.commit():
        notifier.tables.run("UPDATE deliveries SET state = 2, done_at = 1, reason = 'x' WHERE number % 5 = 0")
    seen, before = [], ""
    while before is not None:
        _, page = ask(notifier, Operation.DELIVERIES, id=id_, limit=10, before=before)
        seen += [int(each["position"]) for each in page["deliveries"]]
        before = page["next"]
    assert seen == sorted(notifier.told(), reverse=True)
    _, dead = ask(notifier, Operation.DELIVERIES, id=id_, limit=10, state="dead")
    assert [each["state"] for each in dead["deliveries"]] == ["dead"] * 5
    assert dead["next"] is None
    for fields, culprit in (({"state": "gone"}, "state"), ({"limit": 0}, "limit"), ({"before": "msg_no"}, "before")):
        with pytest.raises(Invalid) as refused:
            ask(notifier, Operation.DELIVERIES, id=id_, **{"limit": 10, **fields})
        assert refused.value.field == culprit


def test_a_dead_delivery_is_sent_again_when_asked(notifier, payments):
    id_ = make(notifier)[1]["id"]
    payments.pay(1)
    notifier.follow()
    with notifier.tables.commit():
        notifier.tables.run("UPDATE deliveries SET state = 2, tries = 10, attempts = 10, done_at = 1, reason = 'x'")
    [(webhook_id,)] = notifier.rows("webhook_id")
    _, found = ask(notifier, Operation.AGAIN, id=id_, webhook_id=webhook_id)
    assert (found["id"], found["state"], found["attempts"], found["reason"]) == (webhook_id, "waiting", 10, "")
    with pytest.raises(NotFound):
        ask(notifier, Operation.AGAIN, id=id_, webhook_id="msg_other")


def test_a_range_is_sent_again_and_its_bounds_are_checked(notifier, payments):
    id_ = make(notifier)[1]["id"]
    payments.pay(3)
    notifier.follow()
    end = notifier.making.cursor().next_seq
    _, replay = ask(notifier, Operation.REPLAY, id=id_, body={"from_position": str(end - 2)})
    assert replay == {"from_position": str(end - 2), "until_position": str(end)}
    for body, culprit in (
        ({"from_position": "0", "until_position": end + 1}, "until_position"),
        ({"from_position": "5", "until_position": "4"}, "from_position"),
        ({"from_position": "x"}, "from_position"),
    ):
        with pytest.raises(Invalid) as refused:
            ask(notifier, Operation.REPLAY, id=id_, body=body)
        assert refused.value.field == culprit
    for _ in range(9):
        ask(notifier, Operation.REPLAY, id=id_, body={"from_position": "0"})
    with pytest.raises(Invalid, match="10 replays"):
        ask(notifier, Operation.REPLAY, id=id_, body={"from_position": "0"})
    notifier.follow()
    assert notifier.deliveries.replays(next(iter(notifier.subscriptions)).number) == 0


def test_a_question_that_is_none_is_refused(notifier):
    with pytest.raises(Invalid, match="not known"):
        notifier.desk.answer("webhooks.dance", TENANT, b"")
    with pytest.raises(Invalid):
        notifier.desk.answer(Operation.LIST, TENANT, msgspec.msgpack.encode({"no": 1}))


def test_all_of_it_is_there_after_a_restart(notifier, payments):
    _, made = make(notifier, signature="v1a")
    payments.pay(2)
    notifier.follow()
    before = notifier.tables.rows("SELECT * FROM deliveries"), ask(notifier, Operation.LIST)[1]
    notifier.tables.close()
    again = Notifier(notifier.path, payments, notifier.clock)
    again.desk = desk_of(again)
    assert (again.tables.rows("SELECT * FROM deliveries"), ask(again, Operation.LIST)[1]) == before
    assert next(iter(again.subscriptions)).key == made["key"]
    notifier.tables = again.tables
