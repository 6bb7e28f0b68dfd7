"""Backups on the simulated disk, without trouble: what they hold, what they refuse, and what restoring believes."""

from pathlib import Path

import pytest

from tallystick.backup import making, restoring
from tallystick.backup.making import BackupMaker, Source
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.conformance.samples import append, command_bytes
from tallystick.errors import Corrupt, Fenced, Invalid
from tallystick.intake.files import FileIntake, lane_folders
from tallystick.journal.files import FileJournal
from tallystick.lab.simulated_clock import SimulatedClock

DATA, BACKUP = Path("/data"), Path("/backup")
SEGMENT_BYTES = 4096


class Folder:
    """A data folder in use: a journal, and two lanes."""

    def __init__(self, seed=0, data=DATA, disk=None):
        self.disk = disk or SimulatedDisk(seed)
        self.data = data
        self.clock = SimulatedClock()
        entropy = iter(range(1, 100))
        self.intake = FileIntake(
            data / "intake", self.disk, self.clock, lambda n: next(entropy).to_bytes(n, "big"), SEGMENT_BYTES, 0
        )
        self.lane = self.intake.open_lane(False)
        self.control = self.intake.open_lane(True)
        self.journal = FileJournal.open(data / "journal", self.disk, SEGMENT_BYTES)
        self.positions = {}

    def pay(self, blocks=1, decided=True):
        for _ in range(blocks):
            number = self.lane.submit(command_bytes(2))
            if decided:
                self.positions[self.lane.id] = number
                append(self.journal, 3, self.positions, mark=7)

    def backup(self, to=BACKUP, to_move=False, shard=0, pace=lambda copied: None):
        folders = lambda: {id: f"intake/{name}" for id, name in lane_folders(self.data / "intake", self.disk).items()}  # noqa: E731
        source = Source(self.data, shard, folders, {"keys.json": b"[]"}, to_move)
        return BackupMaker(source, to, self.disk.another_process(), self.clock.wall_ns, "test", None, pace).make()


def test_a_backup_ends_where_the_journal_did_and_its_lanes_end_with_it():
    folder = Folder()
    folder.pay(5)
    folder.pay(3, decided=False)
    made = folder.backup().manifest
    assert (made.position, made.undecided_commands) == (15, 0)
    assert [lane.segments[-1].next for lane in made.lanes] == [6]


def test_to_move_takes_along_what_is_undecided():
    folder = Folder()
    folder.pay(5)
    folder.pay(3, decided=False)
    made = folder.backup(to_move=True).manifest
    assert (made.position, made.undecided_commands) == (15, 6)
    data = Path("/moved")
    restoring.restore(BACKUP, folder.disk, data)
    intake = FileIntake(data / "intake", folder.disk, folder.clock, bytes, SEGMENT_BYTES, 0)
    waiting = intake.receive(folder.positions, 1000, 8190)
    assert [block.header.first for block in waiting] == [6, 7, 8]


def test_a_second_backup_copies_only_what_is_new():
    folder = Folder()
    folder.pay(40)
    first = folder.backup()
    assert first.kept_bytes == 0
    folder.pay(1)
    second = folder.backup()
    assert second.kept_bytes > 3 * SEGMENT_BYTES
    assert second.copied_bytes < 3 * SEGMENT_BYTES
    assert restoring.check(BACKUP, folder.disk).position == second.manifest.position == 123


def test_a_backup_of_what_has_not_changed_copies_no_entry():
    folder = Folder()
    folder.pay(10)
    folder.backup()
    made = folder.backup()
    assert made.kept_bytes == sum(each.end - each.start for each in made.manifest.journal.segments)


def test_it_asks_for_leave_to_go_on_as_it_copies(monkeypatch):
    monkeypatch.setattr(making, "PACED_BYTES", 4096)
    folder = Folder()
    folder.pay(40)
    asked = []
    made = folder.backup(pace=asked.append)
    assert asked == sorted(asked)
    assert len(asked) > 10
    assert made.copied_bytes - asked[-1] < 4096


def test_older_files_are_deleted_and_no_others():
    folder = Folder()
    for _ in range(3):
        folder.pay(4)
        made = folder.backup().manifest
    disk = folder.disk
    found = {name for name in disk.list(BACKUP) if name not in ("TALLYSTICK-BACKUP", "lock", "journal", "intake")}
    assert found == {"manifest-0000000003.json", "keys.json.0000000003"}
    names = {segment.name for segment in made.journal.segments}
    assert {f"journal/{name}" for name in disk.list(BACKUP / "journal")} == names


def test_a_missing_copy_of_a_whole_segment_is_made_again():
    folder = Folder()
    folder.pay(40)
    made = folder.backup().manifest
    folder.disk.remove(BACKUP / made.journal.segments[1].name)
    with pytest.raises(Corrupt, match="is missing"):
        restoring.check(BACKUP, folder.disk)
    folder.pay(1)
    folder.backup()
    assert restoring.check(BACKUP, folder.disk).position == 123


@pytest.mark.parametrize("segment", [0, -1])
def test_a_flipped_bit_is_found(segment):
    folder = Folder()
    folder.pay(40)
    made = folder.backup().manifest
    folder.disk.flip_bit(BACKUP / made.journal.segments[segment].name, 8 * 700)
    with pytest.raises(Corrupt, match="not as it was written"):
        restoring.check(BACKUP, folder.disk)
    with pytest.raises(Corrupt, match="not as it was written"):
        restoring.restore(BACKUP, folder.disk, Path("/restored"))


def test_a_manifest_that_was_changed_is_none():
    folder = Folder()
    folder.pay()
    folder.backup()
    folder.disk.flip_bit(BACKUP / "manifest-0000000001.json", 8 * 200)
    with pytest.raises(Corrupt, match="was not finished, or is damaged"):
        restoring.read(BACKUP, folder.disk)


def test_a_damaged_block_of_the_original_is_not_copied_and_the_earlier_backup_stays():
    folder = Folder()
    folder.pay(5)
    folder.backup()
    folder.pay(40)
    folder.disk.flip_bit(DATA / "journal" / f"{10 * 4096:020d}", 8 * 900)
    with pytest.raises(Corrupt, match="hash"):
        folder.backup()
    assert restoring.check(BACKUP, folder.disk).position == 15


def test_the_backup_of_another_journal_is_not_replaced():
    folder = Folder()
    folder.pay(5)
    folder.backup()
    other = Folder(data=Path("/other"), disk=folder.disk)
    for _ in range(10):
        append(other.journal, 3, {}, mark=9)
    with pytest.raises(Invalid, match="another journal"):
        other.backup()


def test_a_journal_that_lost_entries_does_not_replace_its_backup():
    folder = Folder()
    folder.pay(40)
    folder.backup()
    shorter = Folder(data=Path("/shorter"), disk=folder.disk)
    shorter.pay(1)
    with pytest.raises(Corrupt, match="entries were lost"):
        shorter.backup()


def test_a_folder_that_holds_other_things_is_left_alone():
    folder = Folder()
    folder.pay()
    folder.disk.make_folder(BACKUP)
    folder.disk.create(BACKUP / "thesis.doc")
    with pytest.raises(Invalid, match="holds other things"):
        folder.backup()
    assert folder.disk.list(BACKUP) == ["thesis.doc"]


def test_two_backups_into_one_folder_do_not_meet():
    folder = Folder()
    folder.pay()
    folder.backup()
    lock = folder.disk.lock(BACKUP / "lock")
    with pytest.raises(Fenced):
        folder.backup()
    lock.release()


def test_restoring_never_mixes_with_what_is_there():
    folder = Folder()
    folder.pay()
    folder.backup()
    with pytest.raises(Invalid, match="not empty"):
        restoring.restore(BACKUP, folder.disk, DATA)


def test_a_lane_that_is_shorter_than_the_journal_says_is_no_backup():
    folder = Folder()
    folder.pay(3)
    append(folder.journal, 1, {folder.lane.id: 9})
    with pytest.raises(Corrupt, match="ends at block 3"):
        folder.backup()
