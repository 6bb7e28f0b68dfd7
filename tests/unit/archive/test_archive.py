"""The archive in files, and what rolling forward refuses, on the simulated disk without trouble."""

from pathlib import Path

import pytest

from tallystick.archive.files import FileArchive, FileArchiveReader
from tallystick.archive.port import Archived
from tallystick.archive.rolling import roll_forward
from tallystick.auditor.archiving import ArchivedFirst
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.conformance import samples
from tallystick.errors import Corrupt, Fenced, Unavailable
from tallystick.intake import lost
from tallystick.intake.files import FileIntake
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import Cursor, catch_up
from tallystick.lab.simulated_clock import SimulatedClock

JOURNAL, ARCHIVE, SEGMENT_BYTES = Path("/data/journal"), Path("/archive"), 65_536
LANE = b"l" * 16


class Tree:
    """Effects that only count; a real one is in tests/faults."""

    def __init__(self, next_seq=0):
        self.at = Cursor(next_seq, None) if next_seq else Cursor()

    def cursor(self):
        return self.at

    def take(self, blocks, after):
        self.at = after


@pytest.fixture
def disk():
    return SimulatedDisk(1)


def journal_of(disk, *counts, folder=JOURNAL, mark=0):
    journal = FileJournal.open(folder, disk, SEGMENT_BYTES)
    for number, count in enumerate(counts, 1):
        samples.append(journal, count, {LANE: number}, mark=mark)
    return journal


def archived(disk, file_bytes=10_000):
    archive = FileArchive(ARCHIVE, disk, file_bytes)
    reader = FileJournalReader(JOURNAL, disk)
    catch_up(reader, ArchivedFirst(archive, reader, Tree()), 1)
    return archive


def blocks(disk, folder=JOURNAL):
    return [(block.header, block.details.tobytes()) for block in FileJournalReader(folder, disk).read(0)]


def test_an_archive_holds_whole_blocks_details_included(disk):
    journal_of(disk, 1, 20, 3, 40, 2)
    archive = archived(disk)
    assert archive.end() == Archived(66, blocks(disk)[-1][0].hash, {LANE: 5})
    reader = FileArchiveReader(ARCHIVE, disk)
    assert [(block.header, block.details.tobytes()) for block in reader.read(0)] == blocks(disk)
    assert [block.header.first for block in reader.read(24)] == [24, 64]
    assert list(reader.read(66)) == []
    assert len([name for name in disk.list(ARCHIVE) if name.endswith(".blocks")]) > 1


def test_blocks_that_are_there_already_are_passed_over_if_they_are_the_same(disk):
    journal = journal_of(disk, 3, 4)
    archive = archived(disk)
    archive.add(list(journal.read(0)))
    samples.append(journal, 5)
    archive.add(list(journal.read(3)))
    assert archive.end().next_seq == 12
    other = journal_of(disk, 3, 4, 5, 6, folder=Path("/other"), mark=9)
    with pytest.raises(Corrupt, match="two histories"):
        archive.add(list(other.read(0)))
    with pytest.raises(Corrupt, match="two histories"):
        archive.add(list(other.read(12)))


def test_an_archive_that_is_new_gets_all_that_is_in_the_tree_before_the_tree_goes_on(disk):
    journal = journal_of(disk, 3, 4, 5)
    archive, reader = FileArchive(ARCHIVE, disk), FileJournalReader(JOURNAL, disk)
    effects = ArchivedFirst(archive, reader, Tree(7))
    assert effects.cursor().next_seq == 7
    assert archive.end().next_seq >= 7
    samples.append(journal, 2)
    catch_up(reader, effects)
    assert archive.end().next_seq == 14


def test_one_writer_at_a_time(disk):
    archive = FileArchive(ARCHIVE, disk)
    with pytest.raises(Fenced):
        FileArchive(ARCHIVE, disk)
    archive.close()
    FileArchive(ARCHIVE, disk).close()


def test_a_damaged_archive_gives_nothing_that_does_not_verify(disk):
    journal_of(disk, 3, 4, 5)
    archived(disk)
    name = next(name for name in disk.list(ARCHIVE) if name.endswith(".blocks"))
    disk.flip_bit(ARCHIVE / name, 8 * 400)
    with pytest.raises(Corrupt):
        list(FileArchiveReader(ARCHIVE, disk).read(0))


def test_yesterdays_journal_rolls_forward_to_the_very_same_blocks(disk):
    journal_of(disk, 3, 4, 5, 30)
    archived(disk)
    yesterday = Path("/restored")
    journal = FileJournal.open(yesterday, disk, SEGMENT_BYTES)
    for block in list(FileJournalReader(JOURNAL, disk).read(0))[:2]:
        from tallystick.records.blocks import buffers_of

        journal.adopt(buffers_of(block), block.header.first)
    assert roll_forward(journal, FileArchiveReader(ARCHIVE, disk)) == 35
    assert roll_forward(journal, FileArchiveReader(ARCHIVE, disk)) == 0
    assert blocks(disk, yesterday) == blocks(disk)
    journal.close()
    again = FileJournal.open(yesterday, disk, SEGMENT_BYTES)
    assert again.epoch > blocks(disk)[-1][0].epoch
    samples.append(again, 1)


@pytest.mark.parametrize("counts", [(3,), (2, 2), (3, 4, 5), (3, 4, 5, 6)])
def test_a_journal_with_another_history_is_not_rolled_forward(disk, counts):
    journal_of(disk, 3, 4, 5)
    archived(disk)
    other = journal_of(disk, *counts, folder=Path("/other"), mark=9)
    with pytest.raises(Corrupt):
        roll_forward(other, FileArchiveReader(ARCHIVE, disk))
    assert other.end() == sum(counts)


def test_a_lane_that_a_restore_left_too_short_is_given_up_for_good(disk):
    clock, entropy = SimulatedClock(), iter(range(1, 100))

    def intake():
        return FileIntake(
            Path("/data/intake"), disk, clock, lambda n: next(entropy).to_bytes(n, "big"), SEGMENT_BYTES, 0
        )

    first = intake()
    short, long, control = first.open_lane(False), first.open_lane(False), first.open_lane(True)
    for lane, count in ((short, 2), (long, 5), (control, 1)):
        for _ in range(count):
            lane.submit(samples.command_bytes(1))
    positions = {short.id: 3, long.id: 4, control.id: 1, b"g" * 16: 7, b"n" * 16: 0}
    with pytest.raises(Fenced):
        first.give_up(positions)
    for lane in (short, long, control):
        lane.close()
    assert set(intake().give_up(positions)) == {short.id, b"g" * 16}
    assert lost.read(Path("/data/intake"), disk) == {short.id, b"g" * 16}
    again = intake()
    assert [block.header.first for block in again.receive(positions, 1000, 8190)] == [5]
    assert again.open_lane(False).id == long.id
    assert again.open_lane(False).id not in positions
    with pytest.raises(Corrupt, match="is missing"):
        again.receive({**positions, b"x" * 16: 1}, 1000, 8190)


def test_what_cannot_be_archived_now_does_not_enter_the_tree(disk):
    class Full:
        def end(self):
            return Archived()

        def add(self, blocks):
            raise Unavailable("no room")

    journal_of(disk, 3, 4)
    tree, reader = Tree(), FileJournalReader(JOURNAL, disk)
    with pytest.raises(Unavailable):
        catch_up(reader, ArchivedFirst(Full(), reader, tree))
    assert tree.at == Cursor()
