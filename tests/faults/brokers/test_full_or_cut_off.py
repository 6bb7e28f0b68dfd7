"""The intakes on Kafka and RabbitMQ while the broker's disk is full, or the network to it is cut."""

import secrets

import pytest

from services.kafka import Kafka
from services.rabbitmq import RabbitMQ
from services.server import CannotStart
from tallystick.blockfile.disk import SystemDisk
from tallystick.brokers.address import parse
from tallystick.clock import SystemClock, system_entropy
from tallystick.intake.kafka import KafkaIntake
from tallystick.intake.rabbitmq import RabbitIntake
from tests.faults.brokers.submitting import Submitting, check, received

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
BACK_S = 90.0
"""Within it requests are acknowledged again: a submit gives up after 8 s, a client goes back to a broker after some."""


class OnKafka:
    """A broker in a folder, and one shard's intake on it."""

    kind = Kafka

    def __init__(self, folder, claims):
        self.broker = self.kind(folder)
        self.claims = claims
        self.name = f"test{secrets.token_hex(6)}"
        self.open_ones = []

    def open(self):
        self.open_ones.append(self.make(parse(self.broker.url(self.name), "TALLY_INTAKE")))
        return self.open_ones[-1]

    def make(self, address):
        return KafkaIntake(address, self.claims, SystemDisk(), SystemClock(), 0, 0, 2)

    def close(self):
        for intake in self.open_ones:
            intake.close()
        self.broker.kill()


class OnRabbitMQ(OnKafka):
    kind = RabbitMQ

    def make(self, address):
        return RabbitIntake(address, SystemClock(), system_entropy)


@pytest.fixture(params=[OnKafka, OnRabbitMQ])
def started(request, tmp_path):
    """Starts a broker in a folder; returns a shard's intake on it."""
    there = []

    def start(folder):
        try:
            there.append(request.param(folder / "broker", tmp_path / "claims"))
        except CannotStart as error:
            pytest.skip(f"SKIPPED: {error}")
        there[-1].broker.start()
        return there[-1]

    yield start
    for each in there:
        each.close()


def test_a_full_disk_is_waited_out_and_nothing_acknowledged_is_lost_or_doubled(started, small_disk):
    shard = started(small_disk.folder)
    submitting = Submitting(shard.open())
    submitting.wait_for(100)
    small_disk.fill(left=100_000)
    submitting.wait_for_doubt(BACK_S)
    small_disk.room()
    # As its makers advise: Kafka has ended itself by then, RabbitMQ may have queues that it has given up.
    shard.broker.kill()
    shard.broker.start()
    submitting.wait_for(len(submitting.acknowledged) + 100, BACK_S)
    submitting.stop()
    check(received(shard.open(), {}, submitting.acknowledged), submitting)


@pytest.mark.parametrize("started", [OnRabbitMQ], indirect=True)
def test_a_broker_that_takes_nothing_for_want_of_disk_goes_on_by_itself(started, small_disk):
    shard = started(small_disk.folder)
    submitting = Submitting(shard.open())
    submitting.wait_for(100)
    small_disk.fill(left=200_000_000)  # less than its `disk_free_limit`
    submitting.wait_for_doubt(BACK_S)
    small_disk.room()
    submitting.wait_for(len(submitting.acknowledged) + 100, BACK_S)
    submitting.stop()
    check(received(shard.open(), {}, submitting.acknowledged), submitting)


def test_a_network_that_is_cut_is_waited_out_and_nothing_acknowledged_is_lost_or_doubled(started, network, tmp_path):
    with network.inside():
        shard = started(tmp_path)
        submitting = Submitting(shard.open())
        submitting.wait_for(100)
        network.cut()
        submitting.wait_for_doubt(BACK_S)
        network.heal()
        submitting.wait_for(len(submitting.acknowledged) + 100, BACK_S)
        submitting.stop()
        check(received(shard.open(), {}, submitting.acknowledged), submitting)
