"""Webhooks over HTTP: a real gateway, a real notifier, a real receiver. No engine is needed for any of it."""

import os
import signal

import pytest

from tests.e2e.gateway.running import Gateway
from tests.e2e.notifier.running import NotifierProcess, Receiver, eventually

PATH = "/v1/webhooks"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("webhooks")) as made:
        yield made


@pytest.fixture(scope="module")
def notifier(gateway):
    with NotifierProcess(gateway.data) as made:
        yield made


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def make(gateway, url="http://127.0.0.1:9/", types=("*",), **options):
    told = gateway.ask("POST", PATH, {"url": url, "types": list(types)}, **options)
    assert told.status == 201, told
    return told


def test_a_subscription_is_made_seen_changed_tested_and_deleted(gateway, notifier, receiver):
    made = make(gateway, receiver.url)
    found = made.json
    receiver.key = found.pop("key")
    path = f"{PATH}/{found['id']}"
    assert made.headers["etag"] == '"1"'
    assert gateway.ask("GET", path).json == found
    assert found in gateway.ask("GET", PATH).json["subscriptions"]

    changed = gateway.ask("PATCH", path, {"types": ["review.*"]}, headers={"If-Match": '"1"'})
    assert (changed.status, changed.headers["etag"], changed.json["types"]) == (200, '"2"', ["review.*"])
    stale = gateway.ask("PATCH", path, {"types": ["*"]}, headers={"If-Match": '"1"'})
    assert (stale.status, stale.problem, stale.headers["etag"]) == (412, "precondition_failed", '"2"')

    sent = gateway.ask("POST", f"{path}/test")
    assert (sent.status, sent.json["type"]) == (200, "webhook.test")
    eventually(lambda: receiver.ids == [sent.json["id"]])
    shown = eventually(
        lambda: (told := gateway.ask("GET", f"{path}/deliveries/{sent.json['id']}").json)["attempts"] and told
    )
    assert (shown["state"], shown["tries"][0]["status"]) == ("delivered", 204)
    page = gateway.ask("GET", f"{path}/deliveries?state=delivered&limit=5").json
    assert ([each["id"] for each in page["deliveries"]], page["next"]) == ([sent.json["id"]], None)

    assert gateway.ask("POST", f"{path}/deliveries/{sent.json['id']}/replay").status == 200
    eventually(lambda: receiver.ids == [sent.json["id"]] * 2)
    assert receiver.refused == 0

    assert gateway.ask("DELETE", path).json == {"id": found["id"], "deleted": True}
    assert gateway.ask("GET", path).problem == "not_found"


def test_the_same_idempotency_key_makes_one_subscription(gateway, notifier):
    first = make(gateway, idempotency_key="orders")
    again = make(gateway, idempotency_key="orders")
    assert again.json == first.json
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = gateway.ask("POST", PATH, {"url": "http://127.0.0.1:8/", "types": ["*"]}, idempotency_key="orders")
    assert (other.status, other.problem) == (422, "idempotency_key_reused")
    missing = gateway.ask("POST", PATH, {"url": "http://127.0.0.1:8/", "types": ["*"]}, idempotency_key=None)
    assert (missing.status, missing.problem) == (400, "missing_idempotency_key")


def test_a_key_is_rotated_once_and_both_sign(gateway, notifier, receiver):
    made = make(gateway, receiver.url).json
    path = f"{PATH}/{made['id']}"
    rotated = gateway.ask("POST", f"{path}/rotate", {}, idempotency_key="r1")
    again = gateway.ask("POST", f"{path}/rotate", {}, idempotency_key="r1")
    assert (rotated.status, again.json) == (200, rotated.json)
    assert rotated.json["key"] != made["key"]
    for key in (made["key"], rotated.json["key"]):
        receiver.key = key
        before = len(receiver.got)
        gateway.ask("POST", f"{path}/test")
        eventually(lambda before=before: len(receiver.got) > before)
    assert receiver.refused == 0


def test_what_cannot_be_is_refused_by_the_name_of_its_field(gateway, notifier):
    good = {"url": "http://127.0.0.1:9/", "types": ["*"]}
    for change, culprit in (
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"url": 5}, "url"),
        ({"types": ["nope"]}, "types[0]"),
        ({"types": "*"}, "types"),
        ({"surprise": 1}, "surprise"),
        ({"from_position": "x"}, "from_position"),
        ({"from_position": 1.5}, "from_position"),
        ({"signature": "v3"}, "signature"),
    ):
        told = gateway.ask("POST", PATH, {**good, **change})
        assert (told.status, told.problem, told.json["field"]) == (400, "invalid_field", culprit), told
    id_ = make(gateway).json["id"]
    for path, culprit in (
        (f"{PATH}/{id_}/deliveries?state=lost", "state"),
        (f"{PATH}/{id_}/deliveries?limit=0", "limit"),
        (f"{PATH}/{id_}/deliveries?limit=1.5", "limit"),
        (f"{PATH}/{id_}/deliveries?before=msg_x", "before"),
        (f"{PATH}/{id_}/deliveries?page=2", "page"),
        (f"{PATH}/nothing", "id"),
        (f"{PATH}/{id_}/deliveries/{'x' * 65}", "webhook_id"),
    ):
        told = gateway.ask("GET", path)
        assert (told.status, told.json["field"]) == (400, culprit), told
    told = gateway.ask("PATCH", f"{PATH}/{id_}", {}, headers={"If-Match": "1"})
    assert (told.status, told.json["field"]) == (400, "If-Match")
    twice = b'{"url":"http://127.0.0.1:9/","url":"http://127.0.0.1:8/","types":["*"]}'
    assert gateway.ask("POST", PATH, twice, headers={"Content-Type": "application/json"}).status == 400


def test_a_range_of_positions_must_be_one(gateway, notifier):
    id_ = make(gateway).json["id"]
    assert gateway.ask("POST", f"{PATH}/{id_}/replay", {"from_position": "0"}).json == {
        "from_position": "0",
        "until_position": "0",
    }
    told = gateway.ask("POST", f"{PATH}/{id_}/replay", {"from_position": "0", "until_position": "99"})
    assert (told.status, told.json["field"]) == (400, "until_position")


def test_only_a_key_with_the_scope_gets_in_and_sees_its_own(gateway, notifier):
    id_ = make(gateway).json["id"]
    without = gateway.add_key("reader", 7, ("read", "pay"))
    other = gateway.add_key("other tenant", 8)
    eventually(lambda: gateway.ask("GET", PATH, key=other).status == 200)
    told = gateway.ask("GET", PATH, key=without)
    assert (told.status, told.problem, told.json["scope"]) == (403, "forbidden", "webhooks")
    assert gateway.ask("GET", f"{PATH}/{id_}", key=other).problem == "not_found"
    assert gateway.ask("PATCH", f"{PATH}/{id_}", {"enabled": False}, key=other).problem == "not_found"
    assert gateway.ask("DELETE", f"{PATH}/{id_}", key=other).problem == "not_found"
    assert gateway.ask("GET", PATH, key=other).json == {"subscriptions": []}
    assert gateway.ask("GET", f"{PATH}/{id_}").json["enabled"]


def test_everything_is_there_after_a_kill(gateway, notifier):
    made = make(gateway, idempotency_key="kept").json
    notifier.kill()
    notifier.start()
    assert make(gateway, idempotency_key="kept").json == made
    assert gateway.ask("GET", f"{PATH}/{made['id']}").status == 200


def test_a_notifier_that_is_stopped_or_gone_costs_a_503_and_nothing_else(gateway, notifier):
    notifier.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, notifier.process.pid, os.WSTOPPED)  # its other threads go on for a moment
    told = gateway.ask("GET", PATH)
    assert (told.status, told.problem) == (503, "unavailable")
    assert int(told.headers["retry-after"]) >= 1
    assert gateway.ask("GET", "/health").status == 200
    notifier.process.send_signal(signal.SIGCONT)
    assert eventually(lambda: gateway.ask("GET", PATH).status == 200)
    notifier.stop()
    told = gateway.ask("GET", PATH)
    assert (told.status, told.problem) == (503, "unavailable")
    notifier.start()
    assert eventually(lambda: gateway.ask("GET", PATH).status == 200)


def test_a_second_notifier_of_the_same_folder_does_not_start(gateway, notifier):
    with pytest.raises(AssertionError, match="ended"):
        NotifierProcess(gateway.data).start()
    assert gateway.ask("GET", PATH).status == 200


def test_the_description_tells_of_every_answer_that_was_given(gateway, notifier):
    described = gateway.ask("GET", "/openapi.json").json
    operations = described["paths"][f"{PATH}/{{id}}"]
    assert set(operations) == {"get", "patch", "delete"}
    assert "412" in operations["patch"]["responses"]
    assert "ETag" in operations["get"]["responses"]["200"]["headers"]
    names = {each["name"] for each in described["paths"][PATH]["post"]["parameters"]}
    assert "Idempotency-Key" in names
    assert "Prefer" not in names
    assert {each["name"] for each in operations["patch"]["parameters"]} >= {"If-Match", "id"}
