"""Backups through power cuts, kills, full disks and I/O errors, on the simulated disk. Each seed is a life story.

A journal and a lane grow, backups are made of them into one folder, and whatever happens that folder holds a whole
backup once one was acknowledged: what is restored from it is a prefix of the journal, and its lanes end with it.
"""

from pathlib import Path
from random import Random

import pytest

from tallystick.backup import restoring
from tallystick.backup.making import BackupMaker, Source
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.conformance.samples import append, command_bytes
from tallystick.errors import Corrupt, Invalid, OutcomeUnknown, Unavailable
from tallystick.intake.files import FileIntake, lane_folders
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.lab.simulated_clock import SimulatedClock

DATA, BACKUP = Path("/data"), Path("/backup")
SEGMENT_BYTES = 4096
STORIES = range(250)
FAULTS = [fault for fault in Fault if not fault.name.startswith("READ")]


class Story:
    """What was journaled, and which backup was acknowledged last."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk(seed, clock=self.clock)
        self.position = 0  # of the newest backup that was acknowledged
        self.restored = 0
        self.made = 0
        self.torn = 0

    def intake(self, data, disk):
        return FileIntake(data / "intake", disk, self.clock, self.random.randbytes, SEGMENT_BYTES, 0)

    def grow(self):
        """Payments: submitted, and some of them decided."""
        intake = self.intake(DATA, self.disk)
        lane = intake.open_lane(False)
        journal = FileJournal.open(DATA / "journal", self.disk, SEGMENT_BYTES)
        positions = dict(journal.tail().positions)
        for _ in range(self.random.randint(1, 6)):
            for _ in range(self.random.randint(1, 3)):
                number = lane.submit(command_bytes(self.random.randint(1, 4)))
            positions[lane.id] = self.random.randint(max(1, positions.get(lane.id, 0)), number)
            append(journal, self.random.randint(1, 4), positions, mark=self.random.getrandbits(32))
        self.hashes = [block.header.hash for block in journal.read(0)]
        self.ends = [block.header.next for block in journal.read(0)]
        journal.close()
        lane.close()
        intake.close()

    def backup(self):
        disk = self.disk.another_process()
        source = Source(
            DATA,
            0,
            lambda: {id: f"intake/{name}" for id, name in lane_folders(DATA / "intake", disk).items()},
            {"keys.json": b"[]\n"},
        )
        return BackupMaker(source, BACKUP, disk, self.clock.wall_ns, "test").make()

    def trouble(self):
        if self.random.random() < 0.5:
            self.disk.cut_after(self.random.randint(0, 80))
        elif self.random.random() < 0.8:
            self.disk.inject(self.random.choice(FAULTS), self.random.randint(0, 10))

    def try_backup(self):
        """A backup that may fail in any way; an acknowledged one is remembered."""
        self.trouble()
        try:
            self.position = self.backup().manifest.position
            self.made += 1
        except PowerCut:
            self.torn += 1
        except (Unavailable, OutcomeUnknown):
            self.torn += 1
        self.disk = self.disk.cut() if self.random.random() < 0.5 else self.disk.kill()
        self.disk.machine.cut_at = None
        self.disk.calm()

    def check(self):
        """What stands in the backup's folder is whole, and no older than what was acknowledged."""
        try:
            manifest = restoring.check(BACKUP, self.disk)
        except (Invalid, Corrupt):
            assert self.position == 0, "a whole backup is gone"
            return
        assert manifest.position >= self.position
        data = Path(f"/restored-{self.restored}")
        self.restored += 1
        assert restoring.restore(BACKUP, self.disk, data) == manifest
        reader = FileJournalReader(data / "journal", self.disk)
        found = [block.header.hash for block in reader.read(0)]
        count = self.ends.index(manifest.position) + 1
        assert found == self.hashes[:count]
        journal = FileJournal.open(data / "journal", self.disk, SEGMENT_BYTES)
        positions = journal.tail().positions
        journal.close()
        intake = self.intake(data, self.disk)
        assert intake.receive(positions, 1000, 8190) == [], "the copy would decide what the original decides"
        lane = intake.open_lane(False)
        assert lane.submit(command_bytes(1)) == positions.get(lane.id, 0) + 1
        assert self.disk.open(data / "keys.json").read(0, 9) == b"[]\n"


@pytest.mark.parametrize("first", range(STORIES.start, STORIES.stop, 50))
def test_a_torn_backup_is_told_from_a_whole_one_and_harms_none(first):
    made = torn = 0
    for seed in range(first, first + 50):
        story = Story(seed)
        for _ in range(4):
            story.grow()
            story.try_backup()
            story.check()
        made, torn = made + story.made, torn + story.torn
    assert made > 20
    assert torn > 30
