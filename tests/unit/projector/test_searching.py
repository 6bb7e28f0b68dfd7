"""Every search goes along one index, in order: SQLite's plan says so for every filter there is."""

import itertools

import pytest

from tallystick.errors import Invalid
from tallystick.projector import queries, shown
from tallystick.projector.projection import Projection
from tallystick.projector.searching import Search, of_tenant, search_of_tenant, searches_of_account
from tallystick.projector.sqlite import SqliteTables
from tallystick.records.filters import (
    LIMIT_MAX,
    AccountFilter,
    AccountFilterFlag,
    ChangeEventsFilter,
    QueryFilter,
    QueryFilterFlag,
)
from tests.unit.projector.histories import NOW, RandomHistory, Writer

FIELDS = {"user_data_128": 2**127 + 1, "user_data_64": 2**64 - 1, "user_data_32": 3, "code": 1, "ledger": 1}


@pytest.fixture(scope="module")
def tables():
    projection = Projection(SqliteTables(None), RandomHistory(9, steps=200).writer.journal)
    projection.catch_up()
    return projection.tables


def every_search(tables):
    times = ({}, {"timestamp_min": NOW + 9}, {"timestamp_max": NOW + 900})
    for count in range(len(FIELDS) + 1):
        for names in itertools.combinations(FIELDS, count):
            fields = {name: FIELDS[name] for name in names}
            for time, backwards in itertools.product(times, (False, True)):
                asked = QueryFilter(flags=QueryFilterFlag(backwards), **fields, **time)
                yield search_of_tenant(tables, "transfers", 1, asked), shown.TRANSFER
                yield search_of_tenant(tables, "accounts", 1, asked), shown.ACCOUNT
                fields.pop("ledger", None)
                flags = AccountFilterFlag.DEBITS | AccountFilterFlag.CREDITS
                flags |= AccountFilterFlag.REVERSED if backwards else AccountFilterFlag(0)
                asked = AccountFilter(account_id=1, flags=flags, **fields, **time)
                for search in searches_of_account(tables, 1, asked, 1):
                    yield search, shown.TRANSFER
                    yield search, shown.BALANCES
    for table, wanted in (("transfers", shown.CHANGE), ("resolutions", shown.RESOLUTION)):
        yield Search(table, [of_tenant(table, 1)], 0, 10**6, False, 10), wanted


def test_no_filter_reads_a_whole_table_or_sorts(tables):
    searches = 0
    for search, wanted in every_search(tables):
        sql, values = search.statement(tables, wanted)
        plan = [row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert plan[0].startswith(f"SEARCH t USING INDEX {search.table}_by_"), plan
        assert "rowid>? AND rowid<?" in plan[0], plan
        by_row = tuple(f"SEARCH {table} USING INTEGER PRIMARY KEY" for table in "dcpx")
        assert all(step.startswith(by_row) for step in plan[1:]), plan
        searches += 1
    assert searches > 500


def test_a_search_goes_along_the_field_that_is_rarest():
    writer = Writer()
    writer.account(1)
    writer.account(2)
    for number in range(1200):
        rare = {"code": 5} if number % 400 == 7 else {}
        writer.transfer(number + 10, 1, 2, 1, user_data_32=6, **rare)
    writer.seal()
    projection = Projection(SqliteTables(None), writer.journal)
    projection.catch_up()
    asked = QueryFilter(code=5, user_data_32=6, ledger=1)
    sql, _ = search_of_tenant(projection.tables, "transfers", 1, asked).statement(projection.tables, shown.TRANSFER)
    assert "INDEXED BY transfers_by_code" in sql
    assert [each.id for each in queries.query_transfers(projection.tables, 1, asked)] == [17, 417, 817]
    asked = QueryFilter(code=1, user_data_32=6, ledger=1)
    sql, _ = search_of_tenant(projection.tables, "transfers", 1, asked).statement(projection.tables, shown.TRANSFER)
    assert "INDEXED BY transfers_by_code" in sql  # 1,197 of 1,200


def test_at_most_8190_results_come_however_high_the_limit():
    writer = Writer()
    writer.account(1)
    writer.account(2)
    for _ in range(3):
        for _ in range(3000):
            writer.transfer(writer.next_seq, 1, 2, 1)
        writer.seal()
    projection = Projection(SqliteTables(None), writer.journal)
    projection.catch_up()
    tables = projection.tables
    assert len(queries.query_transfers(tables, 1, QueryFilter(limit=2**32 - 1))) == LIMIT_MAX == 8190
    assert len(queries.get_account_transfers(tables, 1, AccountFilter(account_id=1, limit=9000))) == LIMIT_MAX
    assert len(queries.get_change_events(tables, 1, ChangeEventsFilter(limit=9000))) == LIMIT_MAX
    newest = queries.query_transfers(tables, 1, QueryFilter(limit=1, flags=QueryFilterFlag.REVERSED))
    assert [each.id for each in newest] == [9003]  # two accounts before, and two seals between


def test_an_account_nobody_opened_gives_nothing(tables):
    assert queries.get_account_transfers(tables, 1, AccountFilter(account_id=5)) == []
    assert queries.get_account_balances(tables, 1, AccountFilter(account_id=5)) == []


def test_a_filter_that_breaks_a_rule_is_refused_by_every_query(tables):
    for query in (queries.get_account_transfers, queries.get_account_balances):
        with pytest.raises(Invalid, match="limit"):
            query(tables, 1, AccountFilter(account_id=1, limit=0))
    for query in (queries.query_accounts, queries.query_transfers):
        with pytest.raises(Invalid, match="limit"):
            query(tables, 1, QueryFilter(limit=0))
    with pytest.raises(Invalid, match="limit"):
        queries.get_change_events(tables, 1, ChangeEventsFilter(limit=0))
