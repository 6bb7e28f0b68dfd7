"""The intake on Kafka while the broker is killed, stands still, loses its topic or has an unsafe one."""

import secrets

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, NewTopic, ResourceType
from confluent_kafka.admin import AlterConfigOpType as Alter

from tallystick.blockfile.disk import SystemDisk
from tallystick.brokers import topics
from tallystick.brokers.address import parse
from tallystick.clock import SystemClock
from tallystick.conformance.samples import command_bytes
from tallystick.errors import Corrupt, Invalid, OutcomeUnknown, Unavailable
from tallystick.intake import kafka_lane
from tallystick.intake.kafka import KafkaIntake, topic_names
from tallystick.intake.kafka_topics import SETTINGS
from tallystick.records.blocks import command_block
from tests.faults.brokers.submitting import Submitting, check, received

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


class Shard:
    """One intake's address, opened as often as a test wants."""

    def __init__(self, kafka, claims):
        self.kafka = kafka
        self.address = parse(kafka.url(f"test{secrets.token_hex(6)}"), "TALLY_INTAKE")
        self.topic, self.control = topic_names(self.address, 0).values()
        self.admin = AdminClient(kafka.client_settings())
        self._claims = claims
        self._open = []

    def open(self, partitions=2):
        self._open.append(KafkaIntake(self.address, self._claims, SystemDisk(), SystemClock(), 0, 0, partitions))
        return self._open[-1]

    def make_topics(self, **changed):
        config = {**SETTINGS, "flush.messages": "1", **{key.replace("_", "."): value for key, value in changed.items()}}
        for made in self.admin.create_topics([NewTopic(self.topic, 2, 1, config=config)]).values():
            made.result(10)

    def delete_topic(self):
        for gone in self.admin.delete_topics([self.topic]).values():
            gone.result(10)

    def close(self):
        for intake in self._open:
            intake.close()


@pytest.fixture
def shard(own_kafka, tmp_path):
    if not own_kafka.is_alive():
        own_kafka.start()
    shard = Shard(own_kafka, tmp_path / "claims")
    yield shard
    shard.close()


def test_nothing_acknowledged_is_lost_or_doubled_when_the_broker_is_killed_while_submitting(own_kafka, shard):
    submitting = Submitting(shard.open())
    for _ in range(2):
        submitting.wait_for(len(submitting.acknowledged) + 100)
        own_kafka.kill()
        own_kafka.start()
        submitting.wait_for(len(submitting.acknowledged) + 50)
    submitting.stop()
    found = received(shard.open(), {}, submitting.acknowledged)
    check(found, submitting)
    assert len(submitting.acknowledged) >= 300


def test_an_engine_goes_on_when_the_broker_comes_back(own_kafka, shard):
    lane, engine = shard.open().open_lane(False), shard.open()
    assert engine.receive({}, 1000, 8190) == []
    lane.submit(command_bytes(1))
    own_kafka.kill()
    assert len(engine.receive({}, 1000, 8190)) <= 1  # whether it was still on its way or not: no error
    own_kafka.start()
    number = lane.submit(command_bytes(1))
    assert engine.expect({lane.id: number}, 60.0)
    assert [block.header.first for block in engine.receive({lane.id: 0}, 1000, 8190)] == [1, 2]


def test_a_broker_that_stands_still_leaves_the_outcome_unknown(own_kafka, shard, monkeypatch):
    monkeypatch.setattr(kafka_lane, "SUBMIT_S", 4.0)
    intake = shard.open()
    lane = intake.open_lane(False)
    lane.submit(command_bytes(1, 1))
    own_kafka.pause(True)
    try:
        with pytest.raises(OutcomeUnknown):
            lane.submit(command_bytes(1, 2))
    finally:
        own_kafka.pause(False)
    lane.close()
    other = intake.open_lane(False)
    assert other.id != lane.id
    other.submit(command_bytes(1, 2))
    assert shard.open().receive({lane.id: 1}, 1000, 8190)[-1].commands["request_id_lo"][0] == 2


def test_a_record_that_came_late_from_a_producer_that_was_given_up_takes_its_place(shard):
    intake = shard.open()
    lane = intake.open_lane(False)
    lane.submit(command_bytes(1, 1))
    engine = shard.open()
    (first,) = engine.receive({}, 1000, 8190)
    late = Producer(shard.kafka.client_settings())
    late.produce(shard.topic, b"".join(command_block(lane.id, 2, command_bytes(1, 7))), partition=0)
    assert late.flush(10) == 0
    assert lane.submit(command_bytes(1, 8)) == 3
    assert engine.expect({lane.id: 3}, 30.0)
    blocks = engine.receive({lane.id: first.header.first}, 1000, 8190)
    assert [(b.header.first, int(b.commands["request_id_lo"][0])) for b in blocks] == [(2, 7), (3, 8)]


def test_a_topic_made_anew_is_neither_skipped_nor_waited_for(shard):
    lane = shard.open().open_lane(False)
    for request_id in range(3):
        lane.submit(command_bytes(1, request_id))
    engine = shard.open()
    assert len(engine.receive({}, 1000, 8190)) == 3
    engine.close()
    shard.delete_topic()
    anew = shard.open()
    other = anew.open_lane(False)
    for request_id in range(5):
        other.submit(command_bytes(1, request_id))
    with pytest.raises(Corrupt, match="made anew"):
        shard.open().receive({lane.id: 3}, 1000, 8190)


def test_a_gateway_whose_topic_was_made_anew_stops(shard):
    intake = shard.open()
    lane = intake.open_lane(False)
    for request_id in range(3):
        lane.submit(command_bytes(1, request_id))
    shard.delete_topic()
    shard.make_topics()
    with pytest.raises((Corrupt, OutcomeUnknown)):
        lane.submit(command_bytes(1, 9))
    with pytest.raises(Corrupt, match="made anew"):
        intake.open_lane(False)


def test_an_engine_whose_records_were_deleted_under_it_stops(shard):
    lane, engine = shard.open().open_lane(False), shard.open()
    for request_id in range(4):
        lane.submit(command_bytes(1, request_id))
    for gone in shard.admin.delete_records([TopicPartition(shard.topic, 0, 2)]).values():
        gone.result(10)
    with pytest.raises(Corrupt, match="holds blocks 3 to 4"):
        engine.receive({lane.id: 1}, 1000, 8190)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"flush_messages": "10000"}, "flush.messages"),
        ({"retention_ms": "604800000"}, "retention.ms 604800000"),
        ({"cleanup_policy": "compact"}, "cleanup.policy compact"),
        ({"max_message_bytes": "1048588"}, "max.message.bytes 1048588"),
    ],
)
def test_a_topic_that_would_lose_acknowledged_payments_is_refused_by_name(shard, changed, named):
    shard.make_topics(**changed)
    with pytest.raises(Invalid, match=named) as refused:
        shard.open()
    assert shard.topic in str(refused.value)


def test_a_setting_changed_later_is_found_at_the_next_start(shard):
    shard.open()
    entry = ConfigEntry("unclean.leader.election.enable", "true", incremental_operation=Alter.SET)
    resource = ConfigResource(ResourceType.TOPIC, shard.topic, incremental_configs=[entry])
    for changed in shard.admin.incremental_alter_configs([resource]).values():
        changed.result(10)
    with pytest.raises(Invalid, match=r"unclean\.leader\.election\.enable true"):
        shard.open()


@pytest.mark.parametrize("change", ["password", "port"])
def test_a_broker_that_is_down_or_refuses_is_one_line(own_kafka, shard, change, monkeypatch):
    monkeypatch.setattr(topics, "ADMIN_S", 3.0)
    url = own_kafka.url()
    url = url.replace(own_kafka.password, "wrong") if change == "password" else url.replace(f":{own_kafka.port}", ":1")
    with pytest.raises(Unavailable, match="does not serve") as refused:
        KafkaIntake(parse(url, "TALLY_INTAKE"), shard._claims, SystemDisk(), SystemClock(), 0)
    assert "\n" not in str(refused.value)
    assert own_kafka.password not in str(refused.value)
