"""The journal on a PostgreSQL whose disk is full, or whose network is cut while blocks are appended."""

from contextlib import closing

import pytest

from services.postgresql import PostgreSQL
from services.server import CannotStart, kill
from tallystick.conformance.samples import append
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.journal.postgresql import schema
from tallystick.journal.postgresql.reading import PostgresJournalReader
from tallystick.journal.postgresql.writing import PostgresJournal

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
MANY = 8_000


@pytest.fixture
def start():
    """Starts one in a folder, ended after the test."""
    started = []

    def start(folder):
        folder.chmod(0o711)
        try:
            started.append(PostgreSQL(folder / "postgresql"))
        except CannotStart as error:
            pytest.skip(f"SKIPPED, no PostgreSQL here: {error}")
        started[-1].start()
        schema.migrate(started[-1].url())
        return started[-1]

    yield start
    for server in started:
        if server.process:
            kill([server.process])


def append_until_it_fails(journal):
    """How many entries were acknowledged. A block of many is some 3 MB; twenty fit nowhere here."""
    for _ in range(20):
        append(journal, MANY)
    pytest.fail("it never failed")


def firsts(url):
    with closing(PostgresJournalReader(url)) as reader:
        return [block.header.first for block in reader.read(0)]


def test_a_full_disk_is_no_loss_and_when_there_is_room_again_the_next_writer_goes_on(start, small_disk):
    server = start(small_disk.folder)
    with closing(PostgresJournal.open(server.url())) as journal:
        append(journal)
        small_disk.fill(left=24_000_000)
        with pytest.raises((OutcomeUnknown, Unavailable)):
            append_until_it_fails(journal)
        acknowledged = journal.tail().next_seq
        with pytest.raises((OutcomeUnknown, Unavailable)):
            append(journal, MANY)  # a writer in doubt appends nothing more
    small_disk.room()
    server.recover()
    with closing(PostgresJournal.open(server.url())) as journal:
        assert journal.tail().next_seq in (acknowledged, acknowledged + MANY)
        first, _ = append(journal)
    assert firsts(server.url()) == [0, *range(1, first, MANY), first]


def test_a_network_that_is_cut_makes_it_unknown_in_time_and_the_next_writer_finds_what_is_there(
    start, network, services_folder, tmp_path_factory
):
    folder = services_folder / "cut-off"
    folder.mkdir()
    with network.inside():
        server = start(folder)
        with closing(PostgresJournal(server.url(), answer_s_max=2.0)) as journal:
            for _ in range(10):
                append(journal)
            network.cut()
            with pytest.raises((OutcomeUnknown, Unavailable)):
                append(journal)
            with pytest.raises((OutcomeUnknown, Unavailable)):
                append(journal)
            with pytest.raises(Unavailable):
                PostgresJournal.open(server.url())
            network.heal()
        with closing(PostgresJournal.open(server.url())) as journal:
            assert journal.tail().next_seq in (10, 11)
            append(journal)
        assert len(firsts(server.url())) in (11, 12)
