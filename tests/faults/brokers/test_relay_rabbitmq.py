"""The relay to a real RabbitMQ, while the relay and the broker are killed."""

import secrets
import threading

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.brokers.address import parse
from tallystick.clock import SystemClock
from tallystick.errors import Invalid, Unavailable
from tallystick.journal.follow import POLL_S, RETRY_S, Follower
from tallystick.journal.memory import MemoryJournal
from tallystick.relay import rabbitmq
from tallystick.relay.rabbitmq import RabbitOutlet
from tallystick.relay.sending import Sending
from tests.faults.brokers.receiving import positions_told, read_queue, taken_once
from tests.faults.brokers.test_relay_kafka import run
from tests.unit.projector.engine_histories import EngineHistory

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
SOURCE = "https://tallystick.example/ledger/0"
SETTLE_S = 2.0
"""3.10.8 forgets what it confirmed in a queue that was declared within the second before it is killed."""


@pytest.fixture(scope="module")
def journal():
    return EngineHistory(seed=37, batches=300).journal


class Relay:
    """A relay of one exchange, in this process; and a queue that is bound to it."""

    def __init__(self, broker, path, at_once=100, pattern="#", arguments=None):
        self.exchange = f"test.{secrets.token_hex(6)}"
        self.address = parse(broker.url(self.exchange), "TALLY_RELAY", marks="-_.")
        self.path, self.at_once = path, at_once
        self.unrouted = 0
        self.start()
        if pattern:
            self.queue = f"{self.exchange}.queue"
            connection = broker.connect()
            channel = connection.channel()
            channel.exchange_declare(self.exchange, "topic", durable=True)
            channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum", **(arguments or {})})
            channel.queue_bind(self.queue, self.exchange, pattern)
            connection.sleep(SETTLE_S)
            connection.close()

    def start(self):
        self.outlet = RabbitOutlet(self.address, SystemClock())
        self.slots = Slots(self.path, SystemDisk())
        self.sending = Sending(self.outlet, lambda: self.slots, SOURCE, 0, SystemClock(), self._sent)

    def _sent(self, events, unrouted, took_ns):
        self.unrouted += unrouted

    def follower(self, journal):
        return Follower(journal, self.sending, SystemClock(), self.at_once)


@pytest.fixture
def broker(own_rabbitmq):
    if not own_rabbitmq.is_alive():
        own_rabbitmq.start()
    return own_rabbitmq


def check(broker, relay, journal):
    found = read_queue(broker, relay.queue)
    for route, properties, event in found:
        assert route == f"{event['tenant']}.{event['type'].removeprefix('tallystick.')}"
        assert properties.delivery_mode == 2
        assert properties.content_type == "application/cloudevents+json; charset=UTF-8"
    assert taken_once(event for *_, event in found) == positions_told(journal)
    return found


def test_every_event_arrives_in_order_under_its_tenant_and_type(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor")
    run(relay.follower(journal), journal)
    found = check(broker, relay, journal)
    assert len(found) == sum(map(len, positions_told(journal).values())), "and once, since nothing happened"
    assert relay.unrouted == 0
    relay.outlet.close()


def test_a_broker_that_is_away_is_told_before_there_is_anything_to_send(broker, tmp_path):
    relay = Relay(broker, tmp_path / "cursor")
    follower = relay.follower(MemoryJournal())
    broker.kill()
    waits = [follower.step() for _ in range(3)]
    assert waits == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert str(relay.address) in follower.progress().trouble
    broker.start()
    assert follower.step() == POLL_S
    assert follower.progress().trouble == ""
    relay.outlet.close()


def test_a_receiver_gets_what_it_is_bound_for_and_the_rest_is_counted(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", pattern="*.account.#")
    run(relay.follower(journal), journal)
    found = read_queue(broker, relay.queue)
    assert found
    assert all(event["type"].startswith("tallystick.account.") for *_, event in found)
    told = sum(map(len, positions_told(journal).values()))
    assert relay.unrouted == told - len(found) > 0
    relay.outlet.close()


def test_an_exchange_that_nobody_is_bound_to_stops_nothing(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", pattern=None)
    run(relay.follower(journal), journal)
    assert relay.unrouted == sum(map(len, positions_told(journal).values()))
    relay.outlet.close()


def test_a_relay_that_dies_before_its_cursor_moves_repeats_a_slice_at_most(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor")
    for _ in range(4):
        follower = relay.follower(journal)
        follower.step()
        follower.step()
        relay.slots.store = None  # the next one is sent, and dies there
        with pytest.raises(TypeError):
            follower.step()
        relay.outlet.close()
        relay.start()
    run(relay.follower(journal), journal)
    found = check(broker, relay, journal)
    assert 4 <= len(found) - sum(map(len, positions_told(journal).values())) <= 4 * 200
    relay.outlet.close()


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
    relay.outlet.close()


def test_what_is_not_confirmed_is_not_taken_as_sent(broker, tmp_path, journal, monkeypatch):
    monkeypatch.setattr(rabbitmq, "SILENT_S", 2.0)
    relay = Relay(broker, tmp_path / "cursor")
    follower = relay.follower(journal)
    follower.step()
    before = relay.sending.stored()
    broker.pause(True)
    try:
        assert follower.step() > 0
        assert "silent" in follower.progress().trouble
        assert relay.sending.stored() == before
    finally:
        broker.pause(False)
    run(follower, journal)
    check(broker, relay, journal)
    relay.outlet.close()


def test_a_queue_that_takes_no_more_holds_the_relay_up_and_says_so(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", arguments={"x-max-length": 5, "x-overflow": "reject-publish"})
    follower = relay.follower(journal)
    for _ in range(3):
        follower.step()
    assert "took no event" in follower.progress().trouble
    assert relay.sending.stored().next_seq < journal.end()
    relay.outlet.close()


def test_a_session_outlives_an_idle_time_if_it_is_tended(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor")
    follower = relay.follower(journal)
    follower.step()
    session, waiting = relay.outlet._session, threading.Event()
    for _ in range(120):  # three heartbeats
        relay.outlet.tend()
        waiting.wait(0.1)
    assert relay.outlet._session is session
    follower.step()
    assert relay.outlet._session is session
    relay.outlet.close()


def test_an_exchange_of_another_type_is_refused(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", pattern=None)
    connection = broker.connect()
    connection.channel().exchange_declare(relay.exchange, "fanout", durable=True)
    connection.close()
    with pytest.raises(Invalid, match="type"):
        relay.follower(journal).step()


def test_a_broker_that_is_away_is_one_line_and_no_end(broker, tmp_path, journal):
    relay = Relay(broker, tmp_path / "cursor", pattern=None)
    broker.kill()
    with pytest.raises(Unavailable) as caught:
        relay.sending.take(list(journal.read(0))[:3], None)
    assert "\n" not in str(caught.value)
    assert broker.password not in str(caught.value)
