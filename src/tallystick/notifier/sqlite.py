"""The notifier's tables in SQLite: a file in the data folder. See `port` for what is promised."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
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

    def run(self, statement: str, *values: Any) -> int:
        return self.connection.execute(statement, values).rowcount

    def run_all(self, statement: str, values: Iterable[tuple[Any, ...]]) -> int:
        return self.connection.executemany(statement, values).rowcount

    def add(self, statement: str, *values: Any) -> int:
        return self.connection.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def commit(self, durable: bool = False) -> Iterator[None]:
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

    def close(self) -> None:
        with telling(self.path):
            self.connection.close()
