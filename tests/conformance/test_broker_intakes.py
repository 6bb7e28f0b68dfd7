"""The intake's promises, kept on real brokers."""

import secrets

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.conformance.intake import IntakeConformance
from tallystick.intake.address import parse
from tallystick.intake.kafka import KafkaIntake


@pytest.mark.service
class TestKafkaIntake(IntakeConformance):
    @pytest.fixture
    def open_intake(self, kafka_url, tmp_path):
        address = parse(kafka_url.replace("/tally?", f"/test{secrets.token_hex(6)}?"), "TALLY_INTAKE")
        return lambda: KafkaIntake(address, tmp_path / "claims", SystemDisk(), SystemClock(), 0, partitions=4)
