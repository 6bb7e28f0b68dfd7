"""Tables of a service filled with the rows of its SQLite file, once, and held against them.

Rows are compared by count and by one hash over all of them in the order of their keys, so that neither side is ever
held in memory whole. Knows no service.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from tallystick.postgresql.connecting import Connection

ROWS_AT_ONCE = 1_000

Row = Sequence[Any]
Step = Callable[[int], None]
"""Told of each so many rows that are done."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table, on both sides; or those of its rows in the database that are of one file."""

    name: str
    columns: Sequence[str]
    order: Sequence[str]
    """Of its primary key: numbers and bytes, which both sides order alike."""
    where: str = ""
    """Which of the database's rows are meant, as SQL; empty: all."""
    given: Sequence[tuple[str, str]] = ()
    """Columns that the file has not got, before the others, and their value."""


class Sum(NamedTuple):
    """What a table holds, in short."""

    rows: int
    hash: str


def tables(source: sqlite3.Connection, where: str = "", given: Sequence[tuple[str, str]] = ()) -> list[Table]:
    """The file's tables, in the order in which they were made: those that others refer to come first."""
    names = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    )
    found = []
    for (name,) in names.fetchall():
        columns = source.execute(f"PRAGMA table_info({name})").fetchall()  # number, name, type, not null, default, key
        keys = sorted((place, column) for _, column, _, _, _, place in columns if place)
        found.append(Table(name, [column[1] for column in columns], [column for _, column in keys], where, given))
    return found


def count(source: sqlite3.Connection, table: Table) -> int:
    """How many rows the file has."""
    [found] = source.execute(f"SELECT count(*) FROM {table.name}").fetchone()
    return int(found)


def in_file(source: sqlite3.Connection, table: Table) -> Iterator[Row]:
    """The file's rows, in order, without what is given."""
    query = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.order)}"
    for row in source.execute(query):  # noqa: UP028  `yield from` would close the cursor, after its file perhaps
        yield row


def in_database(connection: Connection, schema: str, table: Table) -> Iterator[Row]:
    """The database's, likewise. In a transaction."""
    with psycopg.ServerCursor(connection, f"rows_of_{table.name}") as found:
        found.itersize = ROWS_AT_ONCE
        where = f" where {table.where}" if table.where else ""
        found.execute(
            f"select {', '.join(table.columns)} from {schema}.{table.name}{where} "
            f"order by {', '.join(table.order)}".encode(),
            binary=True,
        )
        yield from found


def fill(connection: Connection, schema: str, source: sqlite3.Connection, table: Table, step: Step) -> None:
    """Copy the file's rows into the table. In a transaction."""
    names = [name for name, _ in table.given] + list(table.columns)
    values = [value for _, value in table.given]
    with connection.cursor().copy(f"copy {schema}.{table.name} ({', '.join(names)}) from stdin".encode()) as copy:
        for row in _told(in_file(source, table), step):
            copy.write_row([*values, *row])
    if list(table.order) == ["number"]:
        _go_on_counting(connection, schema, source, table)


def _go_on_counting(connection: Connection, schema: str, source: sqlite3.Connection, table: Table) -> None:
    """Numbers that were given are not given again, be their rows still there or not."""
    [last] = source.execute(f"SELECT coalesce(max(number), 0) FROM {table.name}").fetchone()
    kept = "SELECT seq FROM sqlite_sequence WHERE name = ?"
    if source.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone() != (0,):
        last = max(last, *(seq for (seq,) in source.execute(kept, [table.name])), 0)
    if last:  # the database may not count them itself: then there is no sequence, and nothing to set
        connection.execute(
            "select setval(pg_catalog.pg_get_serial_sequence(%s, 'number'), %s)", [f"{schema}.{table.name}", last]
        )


def summed(rows: Iterable[Row], step: Step = lambda done: None) -> Sum:
    """Count and hash of rows, each value with its type and its length."""
    hashed, count = hashlib.sha256(), 0
    for row in _told(rows, step):
        count += 1
        for value in row:
            data = _bytes(value)
            hashed.update(len(data).to_bytes(8, "big") + data)
    return Sum(count, hashed.hexdigest())


def _bytes(value: object) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return b"s" + value.encode()
    return b"i%d" % value if isinstance(value, int) else b"b" + bytes(value)  # type: ignore[call-overload]


def _told(rows: Iterable[Row], step: Step) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % ROWS_AT_ONCE == 0:
            step(ROWS_AT_ONCE)
