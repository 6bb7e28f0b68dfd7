"""A projection that is not what its journal says is found out without making it again, and what differs is named."""

from contextlib import closing

import pytest

from tallystick.projector.projection import Projection
from tallystick.projector.reconciling import first_difference
from tests.unit.projector.engine_histories import EngineHistory
from tests.unit.projector.histories import RandomHistory


@pytest.fixture(scope="module")
def journal():
    return EngineHistory(5, 150).journal


def project(place, name, journal):
    """Make one; returns how far it is."""
    with closing(Projection(place.open(name), journal)) as projection:
        return projection.catch_up()


def difference(place, name, journal, progress=None):
    with closing(place.reader(name)) as tables:
        return first_difference(tables, journal, progress)


@pytest.mark.parametrize("seed", range(3))
def test_one_that_was_left_alone_has_no_difference(place, seed):
    for name, journal in (("e", EngineHistory(seed, 80).journal), ("r", RandomHistory(seed, 300).writer.journal)):
        project(place, name, journal)
        assert difference(place, name, journal) is None


def test_it_is_compared_as_of_its_cursor_and_says_how_far_it_is(place):
    history = RandomHistory(5, steps=150)
    end = project(place, "projection", history.writer.journal)
    history.writer.account(10**6)
    history.writer.seal()
    told = []
    assert difference(place, "projection", history.writer.journal, lambda *each: told.append(each)) is None
    assert told[-1] == (end, end)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM transfers WHERE seq = (SELECT seq FROM transfers LIMIT 1 OFFSET 20)", "transfers holds"),
        ("DELETE FROM transfers WHERE seq = (SELECT max(seq) FROM transfers)", "transfers holds nothing more"),
        ("UPDATE transfers SET debit_sequence = debit_sequence + 1 WHERE seq > 40", "transfers holds"),
        ("UPDATE transfers SET amount = zeroblob(16) WHERE amount != zeroblob(16)", "transfers holds"),
        ("UPDATE accounts SET debits_posted = zeroblob(16) WHERE debits_posted != zeroblob(16)", "stands at"),
        ("UPDATE accounts SET debits_pending = credits_posted WHERE credits_posted != zeroblob(16)", "stands at"),
        ("UPDATE accounts SET lines = lines + 1 WHERE seq = (SELECT max(seq) FROM accounts)", "stands at"),
        ("UPDATE accounts SET code = 9 WHERE seq = 2", "accounts holds"),
        ("DELETE FROM resolutions WHERE seq = (SELECT max(seq) FROM resolutions)", "resolutions and notes holds"),
        ("DELETE FROM notes WHERE seq = (SELECT max(seq) FROM notes)", "resolutions and notes holds"),
        ("UPDATE totals SET accounts = accounts + 1", "the totals of ledger"),
        ("UPDATE cursor SET next_seq = 1000000", "but the journal ends"),
    ],
)
def test_what_was_changed_is_named(place, journal, statement, named):
    project(place, "projection", journal)
    assert place.change("projection", statement) > 0
    assert named in difference(place, "projection", journal)
