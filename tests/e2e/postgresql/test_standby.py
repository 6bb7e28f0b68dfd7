"""An engine that stands by has followed the journal: it takes over with the books, ids and rights of a start."""

from contextlib import ExitStack

import psycopg
import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import parts
from tallystick.compose.journals import Place
from tallystick.compose.library import Ledger
from tallystick.compose.standby import Standby
from tallystick.engine import placing
from tallystick.engine.writer import Writer
from tallystick.errors import Fenced
from tallystick.journal.postgresql import schema
from tallystick.records.placements import Home
from tests.e2e.postgresql.paying import open_two_accounts, pay

pytestmark = pytest.mark.service
SIZES = parts.Sizes(accounts_max=1_000, window_ids=256, pendings_max=1_000)


@pytest.fixture
def first(database, tmp_path):
    """The ledger that writes, in a folder of its own."""
    schema.migrate(database)
    with Ledger.open(tmp_path / "first", journal=database, accounts_max=1_000, window_ids=256) as ledger:
        open_two_accounts(ledger)
        yield ledger


@pytest.fixture
def standby(database, tmp_path):
    return Standby(Place.named(tmp_path / "second", database), SystemDisk(), system_entropy, SIZES)


def open_parts(database, folder, standby):
    """An engine's parts in `folder`, which may have been `standby`'s."""
    return parts.open_files(
        *(folder, SystemDisk(), SystemClock(), system_entropy),
        accounts_max=SIZES.accounts_max,
        pendings_max=SIZES.pendings_max,
        window_ids=SIZES.window_ids,
        segment_bytes=1 << 23,
        journal_at=database,
        standby=standby,
    )


def take_over(database, tmp_path, standby):
    """The second ledger, and whether it has what `standby` followed."""
    took = []

    class Watched:
        def take(self, journal, place):
            found = standby.take(journal, place)
            took.append(found is not None)
            return found

    opened = open_parts(database, tmp_path / "second", Watched())
    return Ledger(opened, SystemClock(), system_entropy), took[0]


def test_it_takes_over_with_what_it_has_followed_and_knows_every_id(first, standby, database, tmp_path):
    for start in range(100, 2_100, 500):
        assert pay(first, start, start + 500) == {"CREATED"}
        standby.step()
    with pytest.raises(Fenced):
        take_over(database, tmp_path, standby)
    assert pay(first, 2_100, 2_600) == {"CREATED"}
    standby.step()
    assert pay(first, 2_600, 2_700) == {"CREATED"}  # which it has to catch up with
    first.close()
    ledger, followed = take_over(database, tmp_path, standby)
    with ledger:
        assert followed
        assert pay(ledger, 100, 2_700) == {"EXISTS"}
        assert pay(ledger, 2_700, 3_000) == {"CREATED"}
        assert ledger.lookup_accounts([2])[0].credits_posted == 2_900


def test_what_it_followed_is_not_used_if_the_journal_went_on_otherwise(first, standby, database, tmp_path):
    assert pay(first, 100, 600) == {"CREATED"}
    standby.step()
    first.close()
    with psycopg.connect(database, autocommit=True) as session:  # an asynchronous standby had not got these
        session.execute("delete from tallystick.blocks where first >= 100")
        (end,) = session.execute("select max(next) from tallystick.blocks").fetchone()
        session.execute("update tallystick.writers set next_seq = %s, durable_seq = %s", [end, end])
    with Ledger.open(tmp_path / "third", journal=database, accounts_max=1_000, window_ids=256) as third:
        assert pay(third, 5_000, 5_600) == {"CREATED"}
    ledger, followed = take_over(database, tmp_path, standby)
    with ledger:
        assert not followed
        assert pay(ledger, 5_000, 5_600) == {"EXISTS"}
        assert "CREATED" in pay(ledger, 100, 600)


def test_a_server_that_is_away_is_said_and_followed_again_later(own_postgresql, tmp_path):
    server = own_postgresql()
    schema.migrate(server.url())
    standby = Standby(Place.named(tmp_path / "second", server.url()), SystemDisk(), system_entropy, SIZES)
    with Ledger.open(tmp_path / "first", journal=server.url(), accounts_max=1_000, window_ids=256) as ledger:
        open_two_accounts(ledger)
        assert pay(ledger, 100, 600) == {"CREATED"}
        standby.step()
    server.kill()
    standby.step()
    server.start()
    standby.step()
    ledger, followed = take_over(server.url(), tmp_path, standby)
    with ledger:
        assert followed
        assert pay(ledger, 100, 600) == {"EXISTS"}


def test_its_folder_is_nobody_elses(standby, database, tmp_path):
    with pytest.raises(Fenced), ExitStack() as stack:
        stack.enter_context(Place.named(tmp_path / "second", database).held(SystemDisk()))


class _Silent:
    """A gate for answers that nobody waits for."""

    def decided(self, answers, position):
        pass

    def durable(self, positions):
        pass


def test_it_knows_where_tenants_live_as_the_last_block_left_it(first, standby, database, tmp_path):
    assert pay(first, 100, 600) == {"CREATED"}
    standby.step()
    first.close()
    opened = open_parts(database, tmp_path / "first", None)
    draft = placing.place(opened.decider, 7, Home(1), opened.decider.last_timestamp + 1)
    Writer(opened.journal, _Silent(), system_entropy, 0).step(draft)
    opened.close()
    opened = open_parts(database, tmp_path / "second", standby)
    assert not opened.decider.homes.here(7)
    assert opened.decider.homes.here(8)
    opened.close()
