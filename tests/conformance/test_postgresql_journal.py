"""The journal's promises, kept by PostgreSQL itself."""

import pytest

from tallystick.conformance.journal import JournalConformance
from tallystick.journal.postgresql import schema
from tallystick.journal.postgresql.reading import PostgresJournalReader
from tallystick.journal.postgresql.writing import PostgresJournal

pytestmark = pytest.mark.service


class TestPostgresJournal(JournalConformance):
    @pytest.fixture
    def journal_url(self, database):
        schema.migrate(database)
        return database

    @pytest.fixture
    def opened(self):
        opened = []
        yield opened
        for each in opened:
            each.close()

    @pytest.fixture
    def open_journal(self, journal_url, opened):
        def open_one():
            opened.append(PostgresJournal.open(journal_url, lease_s=0.5))
            return opened[-1]

        return open_one

    @pytest.fixture
    def open_reader(self, journal_url, opened):
        def open_one():
            opened.append(PostgresJournalReader(journal_url))
            return opened[-1]

        return open_one
