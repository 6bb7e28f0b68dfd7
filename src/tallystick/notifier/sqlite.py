"""The notifier's tables in SQLite: a file in the data folder. See `port` for what is promised."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tallystick.notifier.schema import connect, telling
from tallystick.sqlitefiles import whole


class SqliteTables:
    """As `port.Tables`: one connection. Every error of SQLite's comes out as `Unavailable` or `Corrupt`."""

    def __init__(self, path: Path) -> None:
        """Raises `Corrupt` if the file at `path` is none of ours, `Unavailable` if it cannot be opened."""
        self.path = path
        self.connection = connect(path)
        self._undone: list[Callable[[], None]] = []
        self._touched = 0

    def settle(self) -> None:
        """What is remembered was read again when a commit failed."""

    def after_rollback(self, load: Callable[[], None]) -> None:
        self._undone.append(load)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        with telling(self.path):
            return self.connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> Any:
        with telling(self.path):
            return self.connection.execute(statement, values).fetchone()

    def run(self, statement: str, *values: Any) -> None:
        self._touched = self.connection.execute(statement, values).rowcount

    def insert(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]], otherwise: str) -> None:
        values = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) ON CONFLICT {otherwise}"
        self._touched = self.connection.executemany(statement, rows).rowcount

    def update(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        values = ", ".join(f"{name} = ?" for name in names)
        self.connection.executemany(f"UPDATE {table} SET {values} WHERE number = ?", rows)

    def touched(self) -> int:
        return max(0, self._touched)

    def add(self, statement: str, *values: Any) -> int:
        return self.connection.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def commit(self, durable: bool = False, then: Callable[[], None] | None = None) -> Iterator[None]:
        try:
            with telling(self.path):
                if durable:
                    self.connection.execute("PRAGMA synchronous = FULL")
                try:
                    with whole(self.connection):
                        yield
                finally:
                    if durable:
                        self.connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            for load in self._undone:
                load()
            raise
        if then is not None:
            then()

    def close(self) -> None:
        with telling(self.path):
            self.connection.close()
