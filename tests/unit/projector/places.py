"""Where a test's projections are: each has a name, and whatever is opened under one name sees the same tables."""

import re
import sqlite3
from contextlib import closing

import psycopg

from tallystick.clock import SystemClock
from tallystick.projector.postgresql.tables import PostgresReader, PostgresTables
from tallystick.projector.sqlite import SqliteReader, SqliteTables
from tallystick.projector.verification import TABLES


class SqlitePlace:
    """Files in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return self.folder / f"{name}.db"

    def open(self, name=None):
        """The tables to write; without a name a projection of its own."""
        return SqliteTables(None if name is None else self.path(name))

    def reader(self, name):
        return SqliteReader(self.path(name), SystemClock())

    def change(self, name, statement):
        """Change rows behind the projector's back; returns how many."""
        with closing(sqlite3.connect(self.path(name), isolation_level=None)) as connection:
            return connection.execute(statement).rowcount


class PostgresPlace:
    """Shards of a database."""

    def __init__(self, url):
        self.url = url
        self.shards = {}

    def shard(self, name):
        return self.shards.setdefault(name or object(), len(self.shards))

    def open(self, name=None):
        return PostgresTables(self.url, self.shard(name), SystemClock())

    def reader(self, name):
        return PostgresReader(self.url, self.shard(name), "test", SystemClock())

    def change(self, name, statement):
        statement = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", statement)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"set search_path to projector_{self.shard(name)}")
            return connection.execute(statement).rowcount


def rows_of(tables):
    """All that is kept, by table."""
    with tables.telling(), tables.at_one_moment():
        return {table: list(tables.walk(f"SELECT * FROM {table} ORDER BY 1, 2, 3")) for table in TABLES}
