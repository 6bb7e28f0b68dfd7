"""The journal's promises, kept by every adapter."""

from pathlib import Path

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.conformance.journal import JournalConformance
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.memory import KeptBlocks, MemoryJournal, MemoryJournalReader

SEGMENT_BYTES = 6_000_128  # just over the largest block


class TestFileJournal(JournalConformance):
    @pytest.fixture
    def open_journal(self, tmp_path):
        return lambda: FileJournal.open(tmp_path / "journal", SystemDisk(), SEGMENT_BYTES)

    @pytest.fixture
    def open_reader(self, tmp_path):
        return lambda: FileJournalReader(tmp_path / "journal", SystemDisk())


class TestFileJournalOnASimulatedDisk(JournalConformance):
    @pytest.fixture
    def disk(self):
        return SimulatedDisk(1)

    @pytest.fixture
    def open_journal(self, disk):
        return lambda: FileJournal.open(Path("/journal"), disk.another_process(), SEGMENT_BYTES)

    @pytest.fixture
    def open_reader(self, disk):
        return lambda: FileJournalReader(Path("/journal"), disk.another_process())


class TestMemoryJournal(JournalConformance):
    @pytest.fixture
    def kept(self):
        return KeptBlocks()

    @pytest.fixture
    def open_journal(self, kept):
        return lambda: MemoryJournal(kept=kept)

    @pytest.fixture
    def open_reader(self, kept):
        return lambda: MemoryJournalReader(kept)
