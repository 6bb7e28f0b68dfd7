"""The projector's tables in PostgreSQL: what people query, who may, and a server that goes away in the middle."""

import secrets

import psycopg
import pytest

from tallystick.clock import SystemClock
from tallystick.errors import Unavailable
from tallystick.journal.follow import Follower
from tallystick.postgresql import sessions
from tallystick.projector.postgresql.tables import PostgresReader, PostgresTables
from tallystick.projector.projection import Projection
from tallystick.projector.sqlite import SqliteTables
from tests.docs.pages import ROOT, blocks
from tests.unit.projector.histories import RandomHistory, Writer
from tests.unit.projector.places import PostgresPlace, rows_of

pytestmark = pytest.mark.service
BIG = 2**127 + 1
PAGE_SQL = [block for block in blocks(ROOT / "docs" / "postgresql.md") if block.language == "sql"]


@pytest.fixture
def writer():
    writer = Writer()
    for number in (10, 11):
        writer.account(number)
    writer.transfer(20, 10, 11, BIG, flags=2, timeout=60, user_data_64=2**64 - 1)
    writer.seal()
    return writer


def test_a_reader_queries_transfers_in_plain_sql_and_sees_nothing_but_the_views(database, writer):
    role = f"analyst_{secrets.token_hex(4)}"
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"create role {role}")
        try:
            Projection(PostgresTables(database, 0, SystemClock(), role), writer.journal).catch_up()
            session.execute(f"set role {role}")
            found = session.execute(
                "select id::text, amount, state, flags, user_data_64, decided_at, timestamp_ns from ledger_0.transfers "
                "where debit_account_id = '0000000000000000000000000000000a'"
            ).fetchall()
            [(id, amount, state, flags, own, decided_at, timestamp_ns)] = found
            assert (id[-2:], int(amount), state, flags) == ("14", BIG, "open", ["pending"])
            assert (int(own), round(decided_at.timestamp())) == (2**64 - 1, timestamp_ns // 10**9)
            [shown] = PAGE_SQL
            assert [int(row[1]) for row in session.execute(shown.text.encode())] == [BIG]
            [total] = session.execute("select debits_pending from ledger_0.totals").fetchall()
            assert int(total[0]) == BIG
            [balances] = session.execute("select credits_pending from ledger_0.accounts where id::text like '%b'")
            assert int(balances[0]) == BIG
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("select * from projector_0.transfers")
        finally:
            session.execute("reset role")
            session.execute(f"drop owned by {role}; drop role {role}")


def test_it_holds_what_sqlite_holds_and_goes_on_after_its_session_was_ended_at_any_time(database, monkeypatch):
    journal = RandomHistory(2, steps=300, accounts=3).writer.journal
    whole = Projection(SqliteTables(None), journal)
    whole.catch_up()
    place = PostgresPlace(database)
    follower = Follower(journal, Projection(place.open("followed"), journal), SystemClock(), 20)
    tables = follower._effects.tables
    calls, ended = 0, 0

    def at_any_time(call):
        def counted(*given):
            nonlocal calls, ended
            calls += 1
            if calls > ended and tables._connection is not None:  # each time one statement further
                calls = 0
                pid = tables._connection.info.backend_pid
                with psycopg.connect(database, autocommit=True) as other:
                    other.execute("select pg_terminate_backend(%s, 5000)", [pid])
                ended += 1
            return call(*given)

        return counted

    monkeypatch.setattr(tables, "_connected", at_any_time(tables._connected))
    monkeypatch.setattr("tallystick.postgresql.sessions.commit", at_any_time(sessions.commit))
    while follower.progress().next_seq < journal.end():
        follower.step()
    monkeypatch.undo()
    assert ended > 10
    assert rows_of(tables) == rows_of(whole.tables)


def test_tables_of_another_version_are_refused_in_one_line_or_made_anew(database, writer):
    Projection(PostgresTables(database, 0, SystemClock()), writer.journal).catch_up()
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("update projector_0.about set version = version + 1")
        for tables in (PostgresTables(database, 0, SystemClock()), PostgresReader(database, 0, "r", SystemClock())):
            with pytest.raises(Unavailable, match="upgrade it"):
                rows_of(tables)
        session.execute("update projector_0.about set version = -1")
    said = []
    projection = Projection(PostgresTables(database, 0, SystemClock(), say=said.append), writer.journal)
    assert projection.next_seq == 0
    assert "made again" in said[0]
    with pytest.raises(Unavailable, match="cannot be reached"):
        PostgresReader("postgresql://nobody@127.0.0.1:1/none", 0, "r", SystemClock()).execute("SELECT 1")
