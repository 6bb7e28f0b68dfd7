"""The intake's promises, kept by every adapter."""

from itertools import count
from pathlib import Path

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.conformance.intake import IntakeConformance
from tallystick.intake.files import FileIntake
from tallystick.intake.memory import MemoryIntake

SEGMENT_BYTES = 2_228_224  # just over the largest block


class TestFileIntake(IntakeConformance):
    @pytest.fixture
    def open_intake(self, tmp_path):
        return lambda: FileIntake(tmp_path / "in", SystemDisk(), SystemClock(), system_entropy, SEGMENT_BYTES, 0)


class TestFileIntakeOnASimulatedDisk(IntakeConformance):
    @pytest.fixture
    def open_intake(self):
        disk = SimulatedDisk(1)
        ids = count(1)

        def entropy(size):
            return next(ids).to_bytes(size, "big")

        folder = Path("/lanes/shard-0")
        return lambda: FileIntake(folder, disk.another_process(), SystemClock(), entropy, SEGMENT_BYTES, 0)


class OneForAll(MemoryIntake):
    """Stands for the intake of every process of the test, so that none of them ends the others'."""

    def close(self):
        pass


class TestMemoryIntake(IntakeConformance):
    @pytest.fixture
    def open_intake(self):
        intake = OneForAll(system_entropy)
        return lambda: intake
