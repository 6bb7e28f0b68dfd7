"""Where a test's projections are: each has a name, and whatever is opened under one name sees the same tables."""

import sqlite3
from contextlib import closing

from tallystick.clock import SystemClock
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


def rows_of(tables):
    """All that is kept, by table."""
    with tables.telling(), tables.at_one_moment():
        return {table: list(tables.walk(f"SELECT * FROM {table} ORDER BY 1, 2, 3")) for table in TABLES}
