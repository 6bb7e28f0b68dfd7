"""How a filter is searched for: along one index, in order, up to the limit. No filter sorts or reads a whole table.

A range of timestamps becomes a range of rows by bisection, since a tenant's rows are in order of both. Where a
filter names several fields, the search goes along the one that the fewest rows have.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from tallystick.projector import columns
from tallystick.projector.columns import OWN_FIELDS
from tallystick.projector.port import Tables
from tallystick.records.filters import LIMIT_MAX, AccountFilter, AccountFilterFlag, QueryFilter, QueryFilterFlag

ROW_LAST = (1 << 63) - 1
_COUNTED_MAX = 131_072
"""Up to how many rows an index is asked how many there are: a few ms."""


class Wanted(NamedTuple):
    """What to give of each row `t` that is found, and the joins that this takes."""

    columns: str
    joins: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A column that must have a value, and the index whose rows with that value come in order of seq."""

    index: str
    terms: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Rows of one table: all conditions, between two rows (both included), newest first or last, at most `limit`."""

    table: str
    conditions: list[Condition]
    first: int
    last: int
    reversed: bool
    limit: int

    def statement(self, tables: Tables, wanted: Wanted) -> tuple[str, list[Any]]:
        """SQL and its values."""
        along = self._along(tables)
        terms = " AND ".join(condition.terms for condition in self.conditions)
        values: list[Any] = [value for condition in self.conditions for value in condition.values]
        order = "DESC" if self.reversed else "ASC"
        return (
            f"SELECT {wanted.columns} FROM {self.table} t INDEXED BY {along.index} {wanted.joins} "
            f"WHERE {terms} AND t.seq BETWEEN ? AND ? ORDER BY t.seq {order} LIMIT ?",
            [*values, self.first, self.last, self.limit],
        )

    def rows(self, tables: Tables, wanted: Wanted) -> list[tuple[Any, ...]]:
        """What is found, in order."""
        return tables.execute(*self.statement(tables, wanted)).fetchall()

    def _along(self, tables: Tables) -> Condition:
        """The condition that the fewest rows meet; the first one where all meet many."""
        bound = 1024
        while len(self.conditions) > 1 and bound <= _COUNTED_MAX:
            counts = [self._count(tables, condition, bound) for condition in self.conditions]
            if min(counts) < bound:
                return self.conditions[counts.index(min(counts))]
            bound *= 128
        return self.conditions[0]

    def _count(self, tables: Tables, condition: Condition, bound: int) -> int:
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.table} t INDEXED BY {condition.index} "
            f"WHERE {condition.terms} AND t.seq BETWEEN ? AND ? LIMIT ?) counted"
        )
        [count] = tables.execute(sql, [*condition.values, self.first, self.last, bound]).fetchone()
        return int(count)


def searches_of_account(tables: Tables, tenant: int, asked: AccountFilter, seq: int) -> list[Search]:
    """One search for each side of the account (`seq`: its row) that the filter asks for."""
    span = rows_between(tables, "transfers", "timestamp", tenant, asked.timestamp_min, asked.timestamp_max)
    found = []
    for side, flag in (("debit", AccountFilterFlag.DEBITS), ("credit", AccountFilterFlag.CREDITS)):
        if asked.flags & flag:
            conditions = [Condition(f"transfers_by_{side}", f"t.{side} = ?", (seq,))]
            conditions += _fields("transfers", tenant, asked)
            backwards = bool(asked.flags & AccountFilterFlag.REVERSED)
            found.append(Search("transfers", conditions, *span, backwards, min(asked.limit, LIMIT_MAX)))
    return found


def search_of_tenant(tables: Tables, table: str, tenant: int, asked: QueryFilter) -> Search:
    """The search of accounts or transfers that the filter asks for."""
    span = rows_between(tables, table, "timestamp", tenant, asked.timestamp_min, asked.timestamp_max)
    conditions = _fields(table, tenant, asked) or [of_tenant(table, tenant)]
    backwards = bool(asked.flags & QueryFilterFlag.REVERSED)
    return Search(table, conditions, *span, backwards, min(asked.limit, LIMIT_MAX))


def of_tenant(table: str, tenant: int) -> Condition:
    """All of a tenant's rows."""
    return Condition(f"{table}_by_tenant", "t.tenant = ?", (columns.to_signed(tenant),))


def _fields(table: str, tenant: int, asked: AccountFilter | QueryFilter) -> list[Condition]:
    """What the filter asks of fields, those first that are likely to be rare."""
    found = []
    for field in (*OWN_FIELDS, "code", "ledger"):
        number = getattr(asked, field, 0)
        if number:
            value = columns.blob(number) if field == "user_data_128" else columns.to_signed(number)
            terms = f"t.tenant = ? AND t.{field} = ?"
            found.append(Condition(f"{table}_by_{field}", terms, (columns.to_signed(tenant), value)))
    return found


def rows_between(tables: Tables, table: str, column: str, tenant: int, least: int, most: int) -> tuple[int, int]:
    """The rows of the tenant whose `column` (ns) lies in the range, both ends included; 0 leaves an end open."""
    first = _first_row_from(tables, table, column, tenant, least) if least else 0
    last = _first_row_from(tables, table, column, tenant, most + 1) - 1 if most else ROW_LAST
    return first, last


def _first_row_from(tables: Tables, table: str, column: str, tenant: int, timestamp: int) -> int:
    """The tenant's first row whose `column` is at least `timestamp`; the one after its last if there is none."""
    sql = (
        f"SELECT seq, {column} FROM {table} INDEXED BY {table}_by_tenant WHERE tenant = ? AND seq >= ? "
        "ORDER BY seq LIMIT 1"
    )
    [end] = tables.execute("SELECT next_seq FROM cursor").fetchone()
    low, high = 0, int(end)
    while low < high:
        middle = (low + high) // 2
        row = tables.execute(sql, (columns.to_signed(tenant), middle)).fetchone()
        if row is None or row[1] >= timestamp:
            high = middle
        else:
            low = row[0] + 1
    return low
