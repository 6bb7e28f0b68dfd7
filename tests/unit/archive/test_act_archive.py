"""The archive of a log of acts, and what it refuses, on the simulated disk without trouble."""

from pathlib import Path

import pytest

from tallystick.archive.actfiles import ENTRIES, FileActArchive, FileActArchiveReader
from tallystick.archive.port import ArchivedActs
from tallystick.auditor.archiving import archive_acts
from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.errors import Corrupt, Fenced
from tallystick.tlog import merkle
from tests.unit.tlog.trees import naive_root

ARCHIVE, TREE = Path("/archive"), Path("/tree")


class Acts:
    """As `acts.port.ActReader`."""

    def __init__(self, *entries):
        self.entries = list(entries)

    def end(self):
        return len(self.entries)

    def read(self, first, count):
        return self.entries[first : first + count]

    def close(self):
        pass


@pytest.fixture
def disk():
    return SimulatedDisk(1)


def acts_of(count, mark=b"x"):
    return Acts(*(mark * (number % 700) + b"%d" % number for number in range(count)))


def tree_of(disk, acts, folder=TREE):
    levels = LevelFiles(folder, disk)
    levels.append(b"".join(map(merkle.leaf_hash, acts.entries)))
    levels.flush()
    return levels


def read(disk, first=0):
    return [entry for some in FileActArchiveReader(ARCHIVE, disk).read(first) for entry in some]


def test_an_archive_holds_every_act_and_the_root_of_their_tree(disk):
    acts = acts_of(9_000)
    archive = FileActArchive(ARCHIVE, disk)
    archive_acts(archive, acts, tree_of(disk, acts))
    root = naive_root([merkle.leaf_hash(entry) for entry in acts.entries])
    assert archive.end() == FileActArchiveReader(ARCHIVE, disk).end() == ArchivedActs(9_000, root)
    assert read(disk) == acts.entries
    assert read(disk, 8_990) == acts.entries[8_990:]
    assert read(disk, 9_000) == []


def test_an_archive_grows_with_its_log_and_has_one_writer(disk):
    acts = acts_of(3)
    archive = FileActArchive(ARCHIVE, disk)
    archive_acts(archive, acts, tree_of(disk, acts))
    with pytest.raises(Fenced):
        FileActArchive(ARCHIVE, disk)
    archive.close()
    acts.entries += acts_of(5).entries
    archive = FileActArchive(ARCHIVE, disk)
    archive_acts(archive, acts, tree_of(disk, acts, Path("/again")))
    assert read(disk) == acts.entries


def test_acts_that_were_changed_or_deleted_are_not_archived_over(disk):
    acts = acts_of(300)
    archive = FileActArchive(ARCHIVE, disk)
    archive_acts(archive, acts, tree_of(disk, acts))
    with pytest.raises(Corrupt, match="deleted"):
        archive_acts(archive, Acts(), tree_of(disk, acts_of(299), Path("/shorter")))
    other = acts_of(301)
    other.entries[7] = b"another"
    with pytest.raises(Corrupt, match="not those that were archived"):
        archive_acts(archive, other, tree_of(disk, other, Path("/other")))
    assert archive.end().count == 300


def test_an_archive_that_lost_its_entries_says_so(disk):
    acts = acts_of(300)
    archive = FileActArchive(ARCHIVE, disk)
    archive_acts(archive, acts, tree_of(disk, acts))
    archive.close()
    disk.remove(ARCHIVE / ENTRIES)
    with pytest.raises(Corrupt, match="missing"):
        read(disk)
    disk.create(ARCHIVE / ENTRIES).write(0, [b"\0\1x"])
    with pytest.raises(Corrupt, match="were archived"):
        read(disk)
