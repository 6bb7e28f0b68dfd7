"""The relay to a real Kafka, while the relay and the broker are killed."""

import secrets
import threading

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.brokers.address import parse
from tallystick.clock import SystemClock
from tallystick.errors import Invalid, OutcomeUnknown, Unavailable
from tallystick.journal.follow import Follower
from tallystick.relay import kafka
from tallystick.relay.kafka import KafkaOutlet
from tallystick.relay.sending import Sending
from tests.faults.brokers.receiving import positions_told, read_topic, taken_once
from tests.unit.projector.engine_histories import EngineHistory

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
SOURCE = "https://tallystick.example/ledger/0"


@pytest.fixture(scope="module")
def journal():
    return EngineHistory(seed=31, batches=300).journal


class Relay:
    """A relay of one topic, in this process; started anew it goes on where its cursor stands."""

    def __init__(self, kafka, path, topic=None, at_once=100):
        self.topic = topic or f"test.{secrets.token_hex(6)}"
        self.address = parse(kafka.url(self.topic), "TALLY_RELAY", marks="-_.")
        self.path = path
        self.at_once = at_once
        self.start()

    def start(self):
        self.outlet = KafkaOutlet(self.address, SystemClock())
        self.slots = Slots(self.path, SystemDisk())
        self.sending = Sending(self.outlet, lambda: self.slots, SOURCE, 0, SystemClock())

    def follower(self, journal):
        return Follower(journal, self.sending, SystemClock(), self.at_once)


@pytest.fixture
def broker(own_kafka):
    if not own_kafka.is_alive():
        own_kafka.start()
    return own_kafka


def run(follower, journal, seconds=120):
    """Until the follower is level; what is not possible is waited for."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.1)):
        wait_s = follower.step()
        if follower.progress().next_seq == journal.end():
            return
        if wait_s:
            waiting.wait(0.1)
    raise AssertionError(f"the relay does not come on: {follower.progress().trouble}")


def check(broker, relay, journal):
    """What came is the journal, once duplicates are dropped: per partition, per tenant, in order."""
    found = read_topic(broker, relay.topic)
    by_key = {}
    for partition, key, headers, event in found:
        assert key == event["partitionkey"].encode()
        assert dict(headers)["content-type"] == b"application/cloudevents+json; charset=UTF-8"
        by_key.setdefault(key, set()).add(partition)
    assert all(len(partitions) == 1 for partitions in by_key.values()), "a tenant's events are in one partition"
    assert len(by_key) > 1
    assert taken_once(event for *_, event in found) == positions_told(journal)
    return found


def test_every_event_arrives_in_order_under_its_tenants_key(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor")
    run(relay.follower(journal), journal)
    found = check(broker, relay, journal)
    assert len(found) == sum(map(len, positions_told(journal).values())), "and once, since nothing happened"


def test_a_relay_that_dies_before_its_cursor_moves_repeats_a_slice_at_most(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor")
    for _ in range(4):
        follower = relay.follower(journal)
        follower.step()
        follower.step()
        relay.slots.store = None  # the next one is sent, and dies there
        with pytest.raises(TypeError):
            follower.step()
        relay.start()
    run(relay.follower(journal), journal)
    found = check(broker, relay, journal)
    repeated = len(found) - sum(map(len, positions_told(journal).values()))
    assert 4 <= repeated <= 4 * 200


def test_nothing_is_lost_or_out_of_order_when_the_broker_is_killed_again_and_again(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", at_once=20)
    follower = relay.follower(journal)
    for _ in range(3):
        for _ in range(5):
            follower.step()
        killing = threading.Thread(target=broker.kill)
        killing.start()
        follower.step()  # while it dies
        killing.join()
        back = threading.Thread(target=broker.start)
        back.start()
        follower.step()
        back.join()
        for _ in range(3):
            follower.step()
    run(follower, journal)
    check(broker, relay, journal)


def test_what_is_not_confirmed_is_not_taken_as_sent(broker, tmp_path, journal, monkeypatch):
    monkeypatch.setattr(kafka, "SILENT_S", 2.0)
    relay = Relay(broker, tmp_path / "cursor")
    follower = relay.follower(journal)
    follower.step()
    before = relay.sending.stored()
    broker.pause(True)
    try:
        assert follower.step() > 0
        assert "confirms nothing" in follower.progress().trouble
        assert relay.sending.stored() == before
    finally:
        broker.pause(False)
    run(follower, journal)
    check(broker, relay, journal)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "replicas 1 and min.insync.replicas 1"),
        ({"flush.messages": "1", "cleanup.policy": "compact"}, "a tenant's last event only"),
        ({"flush.messages": "1", "unclean.leader.election.enable": "true"}, "unclean"),
    ],
)
def test_a_topic_that_would_lose_events_is_refused_by_name(broker, tmp_path, journal, settings, told):
    topic = f"test{secrets.token_hex(6)}"
    admin = AdminClient(broker.client_settings())
    admin.create_topics([NewTopic(topic, 2, 1, config=settings)])[topic].result(10)
    with pytest.raises(Invalid, match=told):
        Relay(broker, tmp_path / "cursor", topic).follower(journal).step()


def test_a_broker_that_is_away_is_one_line_and_no_end(broker, tmp_path, journal, monkeypatch):
    monkeypatch.setattr("tallystick.brokers.topics.ADMIN_S", 1.0)
    relay = Relay(broker, tmp_path / "cursor")
    broker.kill()
    with pytest.raises((Unavailable, OutcomeUnknown)) as caught:
        relay.sending.take(list(journal.read(0))[:3], None)
    assert "\n" not in str(caught.value)
    assert broker.password not in str(caught.value)
