"""The intake's promises, kept on real brokers."""

import secrets

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.brokers.address import parse
from tallystick.clock import SystemClock, system_entropy
from tallystick.conformance.intake import IntakeConformance
from tallystick.intake.kafka import KafkaIntake
from tallystick.intake.rabbitmq import RabbitIntake


@pytest.mark.service
class TestKafkaIntake(IntakeConformance):
    @pytest.fixture
    def open_intake(self, kafka_url, tmp_path):
        address = parse(kafka_url.replace("/tally?", f"/test{secrets.token_hex(6)}?"), "TALLY_INTAKE")
        return lambda: KafkaIntake(address, tmp_path / "claims", SystemDisk(), SystemClock(), 0, partitions=4)


@pytest.mark.service
class TestRabbitIntake(IntakeConformance):
    @pytest.fixture
    def open_intake(self, rabbitmq_url):
        address = parse(rabbitmq_url.replace("/tally?", f"/test{secrets.token_hex(6)}?"), "TALLY_INTAKE")
        return lambda: RabbitIntake(address, SystemClock(), system_entropy, settle_s=0)


@pytest.mark.service
class TestNewerRabbitIntake(IntakeConformance):
    """4.0.5: its defaults differ where money is."""

    @pytest.fixture
    def open_intake(self, rabbitmq4_url):
        address = parse(rabbitmq4_url.replace("/tally?", f"/test{secrets.token_hex(6)}?"), "TALLY_INTAKE")
        return lambda: RabbitIntake(address, SystemClock(), system_entropy, settle_s=0)
