"""A projection that differs from its journal is found out, whatever differs, and named."""

import sqlite3
from contextlib import closing

import pytest

from tallystick.clock import SystemClock
from tallystick.compose import projecting
from tallystick.projector.projection import Projection
from tallystick.projector.schema import INDEXES
from tallystick.projector.sqlite import SqliteTables
from tallystick.projector.verification import first_difference
from tests.unit.projector.histories import RandomHistory


@pytest.fixture
def history():
    return RandomHistory(5, steps=150)


@pytest.fixture
def made(place, history):
    """A projection by the name of `made`."""
    with closing(Projection(place.open("made"), history.writer.journal)) as projection:
        projection.catch_up()
    return place


def difference(place, history):
    with closing(place.reader("made")) as tables, closing(SqliteTables(None)) as scratch:
        return first_difference(tables, history.writer.journal, scratch)


def test_one_that_was_left_alone_has_no_difference_even_if_the_journal_went_on(made, history):
    history.writer.account(10**6)
    history.writer.seal()
    assert difference(made, history) is None


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE accounts SET debits_posted = zeroblob(16) WHERE debits_posted != zeroblob(16)", "accounts holds"),
        ("UPDATE accounts SET frozen = frozen + 1 WHERE seq = 2", "accounts holds"),
        ("UPDATE transfers SET ending = 2 WHERE ending = 1", "transfers holds"),
        ("UPDATE transfers SET balances = zeroblob(128)", "transfers holds"),
        ("DELETE FROM transfers WHERE seq = (SELECT max(seq) FROM transfers)", "transfers holds nothing more"),
        ("DELETE FROM resolutions", "resolutions holds nothing more"),
        ("UPDATE cursor SET block_hash = zeroblob(32)", "cursor holds"),
    ],
)
def test_a_row_that_was_changed_is_named(made, history, statement, named):
    assert made.change("made", statement) > 0
    assert named in difference(made, history)


@pytest.fixture
def path(files, history):
    """The file of a projection by the name of `made`."""
    with closing(Projection(files.open("made"), history.writer.journal)) as projection:
        projection.catch_up()
    return files.path("made")


def test_an_index_that_does_not_fit_its_table_is_found(path, files, history):
    connection = sqlite3.connect(path)
    # The rows are right, the index lost its own: a search would miss them.
    connection.execute("PRAGMA writable_schema = ON")
    lost = INDEXES["transfers_by_code"] + " WHERE code = 77"
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'transfers_by_code'", (lost,))
    connection.commit()
    connection.close()
    connection = sqlite3.connect(path)
    connection.execute("REINDEX transfers_by_code")
    connection.execute("PRAGMA writable_schema = ON")
    kept = INDEXES["transfers_by_code"]
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'transfers_by_code'", (kept,))
    connection.commit()
    connection.close()
    assert "transfers_by_code" in difference(files, history)


def test_bytes_that_are_no_database_are_a_difference_too(files, history):
    files.path("projection").write_bytes(b"\xff" * 8192)
    assert "delete it" in projecting.difference(projecting.Kept(files.folder), history.writer.journal, SystemClock())
