"""The intake on RabbitMQ while the broker is killed, stands still, loses a queue or has an unsafe one; engines die."""

import secrets

import pytest

from tallystick.brokers.address import parse
from tallystick.clock import SystemClock, system_entropy
from tallystick.conformance.samples import command_bytes
from tallystick.errors import Corrupt, Invalid, OutcomeUnknown, Unavailable
from tallystick.intake import rabbitmq, rabbitmq_lanes, rabbitmq_queues
from tallystick.intake.rabbitmq import RabbitIntake
from tests.faults.brokers.submitting import Submitting, check, received

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


class Shard:
    """One intake's address, opened as often as a test wants."""

    def __init__(self, broker):
        self.broker = broker
        self.address = parse(broker.url(f"test{secrets.token_hex(6)}"), "TALLY_INTAKE")
        self.names = rabbitmq_lanes.Names(self.address, 0)
        self._open = []

    def open(self):
        self._open.append(RabbitIntake(self.address, SystemClock(), system_entropy))
        return self._open[-1]

    def queue(self, lane):
        return self.names.lane(lane.id, lane.control)

    def close(self):
        for intake in self._open:
            intake.close()


ON_BOTH = pytest.mark.parametrize("broker", ["own_rabbitmq", "own_rabbitmq4"], indirect=True)
"""For what a newer RabbitMQ might do otherwise: its defaults differ where money is."""


@pytest.fixture
def broker(request):
    """Debian 12's RabbitMQ, unless a test asks for both."""
    broker = request.getfixturevalue(getattr(request, "param", "own_rabbitmq"))
    if not broker.is_alive():
        broker.start()
    return broker


@pytest.fixture
def shard(broker):
    shard = Shard(broker)
    yield shard
    shard.close()


def numbers(blocks):
    return [block.header.first for block in blocks]


def look_on(engine, positions, known):
    """Receive until something is wrong; what comes until then is `known`."""
    while engine.expect({}, 0.1):
        assert numbers(engine.receive(positions, 1000, 8190)) == known


@ON_BOTH
def test_nothing_acknowledged_is_lost_or_doubled_when_the_broker_is_killed_while_submitting(broker, shard):
    submitting = Submitting(shard.open())
    for _ in range(2):
        submitting.wait_for(len(submitting.acknowledged) + 100)
        broker.kill()
        broker.start()
        submitting.wait_for(len(submitting.acknowledged) + 50)
    submitting.stop()
    check(received(shard.open(), {}, submitting.acknowledged), submitting)
    assert len(submitting.acknowledged) >= 300


@ON_BOTH
def test_an_engine_that_dies_again_and_again_loses_no_block(shard):
    lane = shard.open().open_lane(False)
    for request_id in range(5):
        lane.submit(command_bytes(1, request_id))
    for _ in range(30):  # 4.x drops what was delivered 20 times, unless told; 3.10 takes -1 for "none at all"
        engine = shard.open()
        assert engine.expect({lane.id: 5}, 30.0)
        assert numbers(engine.receive({}, 1000, 8190)) == [1, 2, 3, 4, 5]
        engine.close()


def test_an_engine_takes_over_what_a_dead_one_had_beside_what_is_new_in_order(shard):
    lane = shard.open().open_lane(False)
    first = shard.open()
    for request_id in range(50):
        lane.submit(command_bytes(1, request_id))
    assert first.expect({lane.id: 50}, 30.0)
    first.receive({}, 1000, 8190)
    first.done({lane.id: 10})
    second = shard.open()
    second.receive({lane.id: 10}, 1000, 8190)
    first.close()
    for request_id in range(50):
        lane.submit(command_bytes(1, request_id))
    assert second.expect({lane.id: 100}, 30.0) or second.expect({lane.id: 90}, 1.0)
    positions, found = {lane.id: 10}, []
    while found[-1:] != [100]:
        second.expect({lane.id: 100}, 0.1)
        blocks = numbers(second.receive(positions, 1000, 8190))
        found += blocks
        positions[lane.id] = (blocks or [positions[lane.id]])[-1]
        second.done(positions)
    assert found == list(range(11, 101))


@ON_BOTH
def test_an_engine_goes_on_when_the_broker_comes_back(broker, shard):
    gateway, engine = shard.open(), shard.open()
    lane = gateway.open_lane(False)
    lane.submit(command_bytes(1, 1))
    assert engine.expect({lane.id: 1}, 30.0)
    broker.kill()
    assert len(engine.receive({lane.id: 0}, 1000, 8190)) <= 1  # whether it has noticed or not: no error
    broker.start()
    with pytest.raises(OutcomeUnknown):
        lane.submit(command_bytes(1, 2))
    lane.close()
    again = gateway.open_lane(False)
    assert again.id != lane.id  # the queue itself may be the trouble
    assert again.submit(command_bytes(1, 2)) == 1
    assert engine.expect({lane.id: 1, again.id: 1}, 60.0)
    assert numbers(engine.receive({lane.id: 0}, 1000, 8190)) == [1, 1]


def test_a_broker_that_stands_still_leaves_the_outcome_unknown_and_a_new_lane_takes_the_request(broker, shard):
    gateway = shard.open()
    lane = gateway.open_lane(False)
    lane.submit(command_bytes(1, 1))
    broker.pause(True)
    try:
        with pytest.raises(OutcomeUnknown):
            lane.submit(command_bytes(1, 2))
    finally:
        broker.pause(False)
    with pytest.raises(OutcomeUnknown):
        lane.submit(command_bytes(1, 2))  # a lane in doubt takes nothing any more
    lane.close()
    other = gateway.open_lane(False)
    other.submit(command_bytes(1, 2))
    engine = shard.open()
    assert engine.expect({lane.id: 1}, 60.0)


def test_two_gateways_never_have_the_same_lane_and_a_closed_one_goes_on_without_a_gap(shard):
    one, other = shard.open(), shard.open()
    lane, second = one.open_lane(False), other.open_lane(False)
    assert lane.id != second.id
    assert [lane.submit(command_bytes(1)) for _ in range(3)] == [1, 2, 3]
    lane.close()
    assert other.open_lane(False).submit(command_bytes(1)) == 4


def test_a_gateway_that_died_leaves_a_lane_whose_next_term_has_numbers_of_its_own(shard):
    gateway = shard.open()
    lane = gateway.open_lane(False)
    lane.submit(command_bytes(1))
    lane.abandon()
    again = shard.open().open_lane(False)
    assert again.id == lane.id
    number = again.submit(command_bytes(1))
    assert number == (1 << rabbitmq_lanes.TERM_SHIFT) + 1
    engine = shard.open()
    assert engine.expect({lane.id: number}, 30.0)
    positions, found = {lane.id: 0}, []
    while len(found) < 2:
        engine.expect({}, 0.05)
        found += numbers(engine.receive(positions, 1000, 8190))
        positions[lane.id] = (found or [0])[-1]
    assert found == [1, number]


@ON_BOTH
def test_a_queue_that_is_gone_stops_gateway_and_engine(broker, shard):
    gateway, engine = shard.open(), shard.open()
    lane = gateway.open_lane(False)
    lane.submit(command_bytes(1))
    assert engine.expect({lane.id: 1}, 30.0)
    with broker.connect() as connection:
        connection.channel().queue_delete(shard.queue(lane))
    with pytest.raises(Corrupt, match="is gone"):
        lane.submit(command_bytes(1))
    lane.close()
    with pytest.raises(Corrupt, match="is gone"):
        shard.open().open_lane(False)
    with pytest.raises(Corrupt, match="is gone"):
        look_on(engine, {}, [1])


def test_a_register_that_is_gone_is_neither_skipped_nor_waited_for(broker, shard):
    lane, engine = shard.open().open_lane(False), shard.open()
    lane.submit(command_bytes(1))
    engine.close()
    with broker.connect() as connection:
        connection.channel().queue_delete(shard.names.register)
    with pytest.raises(Corrupt, match="its register is gone"):
        shard.open().receive({lane.id: 1}, 1000, 8190)


@ON_BOTH
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"x-queue-type": "classic"}, "x-queue-type"),
        ({"x-queue-type": "quorum", "x-delivery-limit": 20}, "x-delivery-limit"),
        ({**rabbitmq_queues.QUEUE_ARGUMENTS, "x-max-length": 10}, "x-max-length"),
        ({**rabbitmq_queues.QUEUE_ARGUMENTS, "x-message-ttl": 60000}, "x-message-ttl"),
    ],
)
def test_a_queue_that_would_lose_acknowledged_payments_is_refused_by_name(broker, shard, arguments, named):
    with broker.connect() as connection:
        connection.channel().queue_declare(shard.names.register, durable=True, arguments=arguments)
    with pytest.raises(Invalid, match=named):
        shard.open()


def test_the_queue_of_a_lane_with_other_arguments_is_refused_too(broker, shard):
    gateway = shard.open()
    lane = gateway.open_lane(False)
    lane.close()
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_delete(shard.queue(lane))
        channel.queue_declare(shard.queue(lane), durable=True, arguments={"x-queue-type": "quorum"})
    with pytest.raises(Invalid, match=r"x-delivery-limit|x-single-active-consumer"):
        gateway.open_lane(False)


@ON_BOTH
@pytest.mark.parametrize("change", ["password", "port"])
def test_a_broker_that_is_down_or_refuses_is_one_line(broker, shard, change):
    url, secret = broker.url(), broker.password
    url = url.replace(secret, "wrong") if change == "password" else url.replace(f":{broker.port}", ":1")
    with pytest.raises(Unavailable, match="does not serve") as refused:
        RabbitIntake(parse(url, "TALLY_INTAKE"), SystemClock(), system_entropy)
    assert ("Connection refused" if change == "port" else "ACCESS_REFUSED") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert secret not in str(refused.value)


def test_a_missing_block_is_waited_for_and_then_corrupt_never_skipped(shard, monkeypatch):
    monkeypatch.setattr(rabbitmq, "GAP_NS", 500_000_000)
    lane, engine = shard.open().open_lane(False), shard.open()
    lane.submit(command_bytes(1))
    lane._last += 1  # as if a block had got lost
    lane.submit(command_bytes(1))
    assert engine.expect({lane.id: 3}, 30.0)
    assert numbers(engine.receive({}, 1000, 8190)) == [1]
    with pytest.raises(Corrupt, match="after block 1 comes 3"):
        look_on(engine, {lane.id: 0}, [1])


def test_what_the_client_has_to_tell_does_not_flood_our_log(broker, caplog):
    with caplog.at_level("INFO"), pytest.raises(Unavailable):
        RabbitIntake(parse("rabbitmq://127.0.0.1:1/x", "TALLY_INTAKE"), SystemClock(), system_entropy)
    assert [record for record in caplog.records if record.name.startswith("pika")] == []
