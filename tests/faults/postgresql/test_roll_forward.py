"""A journal in PostgreSQL that comes back from yesterday is rolled forward from an archive in files."""

import secrets
from contextlib import closing

import psycopg
import pytest

from tallystick.archive.files import FileArchive, FileArchiveReader
from tallystick.archive.rolling import roll_forward
from tallystick.auditor.archiving import ArchivedFirst
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.sequencer import Sequencer
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.conformance import samples
from tallystick.errors import Corrupt
from tallystick.journal.follow import catch_up
from tallystick.journal.postgresql import schema
from tallystick.journal.postgresql.reading import PostgresJournalReader
from tallystick.journal.postgresql.writing import PostgresJournal

pytestmark = pytest.mark.service
LANE, DISK = b"l" * 16, SystemDisk()


@pytest.fixture
def copy_of(postgresql_url):
    """Copies a database as it is now, as a restored backup of it would be."""
    made = []

    def copy(url):
        name = f"test_{secrets.token_hex(6)}"
        original = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(postgresql_url, autocommit=True) as session:
            session.execute(f"create database {name} template {original}")
        made.append(name)
        return url.replace(f"/{original}?", f"/{name}?")

    yield copy
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        for name in made:
            session.execute(f"drop database {name} with (force)")


def write(url, *counts, mark=0):
    """By a writer of its own, so that each call is of another epoch."""
    with closing(PostgresJournal.open(url, lease_s=0.5)) as journal:
        for count in counts:
            samples.append(journal, count, {LANE: journal.tail().next_seq + count}, mark=mark)


def archived(url, folder):
    DISK.make_folder(folder / "audit")
    with closing(PostgresJournalReader(url)) as reader, closing(FileArchive(folder / "archive", DISK)) as archive:
        levels = LevelFiles(folder / "audit" / "tree", DISK)
        state = Slots(folder / "audit" / "state", DISK)
        catch_up(reader, ArchivedFirst(archive, reader, Sequencer(levels, state)))
        levels.close()
        state.close()


def bodies(url):
    with closing(PostgresJournalReader(url)) as reader:
        return [(block.header, block.details.tobytes()) for block in reader.read(0)]


def rolled(url, folder):
    with closing(PostgresJournal.open(url, lease_s=0.5)) as journal:
        return roll_forward(journal, FileArchiveReader(folder / "archive", DISK, newest=True))


@pytest.fixture
def url(database):
    schema.migrate(database)
    return database


def test_a_database_of_yesterday_gets_the_very_same_blocks_and_goes_on_above_their_epochs(url, copy_of, tmp_path):
    write(url, 3, 20)
    yesterday = copy_of(url)
    for count in (40, 1, 7):  # by writers that came and went
        write(url, count)
    archived(url, tmp_path)
    assert rolled(yesterday, tmp_path) == 48
    assert bodies(yesterday) == bodies(url)
    with closing(PostgresJournal.open(yesterday, lease_s=0.5)) as journal:
        assert journal.epoch > bodies(url)[-1][0].epoch
        assert (journal.tail().next_seq, journal.tail().positions) == (71, {LANE: 71})
        samples.append(journal, 2)
    assert rolled(yesterday, tmp_path) == 0
    archived(yesterday, tmp_path)  # the archive goes on with it
    assert FileArchiveReader(tmp_path / "archive", DISK).end().next_seq == 73


def test_rolling_forward_goes_on_where_it_was_killed(url, copy_of, tmp_path):
    write(url, 3)
    yesterday = copy_of(url)
    write(url, *range(1, 9))
    archived(url, tmp_path)

    class Killed(Exception):
        pass

    def kill(seq, _end):
        if seq > 20:
            raise Killed

    with closing(PostgresJournal.open(yesterday, lease_s=0.5)) as journal, pytest.raises(Killed):
        roll_forward(journal, FileArchiveReader(tmp_path / "archive", DISK), kill)
    assert 0 < rolled(yesterday, tmp_path) < 36
    assert bodies(yesterday) == bodies(url)


def test_a_database_that_went_another_way_is_refused_and_stays_as_it_is(url, copy_of, tmp_path):
    write(url, 3)
    yesterday = copy_of(url)
    write(url, 5, 5)
    archived(url, tmp_path)
    write(yesterday, 4, mark=9)
    before = bodies(yesterday)
    with pytest.raises(Corrupt):
        rolled(yesterday, tmp_path)
    assert bodies(yesterday) == before
