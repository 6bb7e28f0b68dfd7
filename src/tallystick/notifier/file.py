"""The notifier's file as the other modules use it: statements, and commits that are whole or not there."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tallystick.notifier.schema import connect, telling

_SIGN, _MODULUS = 1 << 63, 1 << 64


class File:
    """One connection, used by one thread. Every error of SQLite's comes out as `Unavailable` or `Corrupt`."""

    def __init__(self, path: Path) -> None:
        """Raises `Corrupt` if the file at `path` is none of ours, `Unavailable` if it cannot be opened."""
        self.path = path
        self.connection = connect(path)
        self._undone: list[Callable[[], None]] = []

    def after_rollback(self, load: Callable[[], None]) -> None:
        """Call `load` whenever a commit did not come about: what is remembered of the file must be read again."""
        self._undone.append(load)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """What a query finds."""
        with telling(self.path):
            return self.connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> Any:
        """The first row that a query finds, or None."""
        with telling(self.path):
            return self.connection.execute(statement, values).fetchone()

    def run(self, statement: str, *values: Any) -> int:
        """Change something, inside `commit`; returns how many rows."""
        return self.connection.execute(statement, values).rowcount

    def run_all(self, statement: str, values: Iterable[tuple[Any, ...]]) -> int:
        """Change something for each of `values`, inside `commit`; returns how many rows in all."""
        return self.connection.executemany(statement, values).rowcount

    def add(self, statement: str, *values: Any) -> int:
        """Insert a row, inside `commit`; returns its number."""
        return self.connection.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def commit(self, durable: bool = False) -> Iterator[None]:
        """What is done inside is committed whole at the end, or nothing of it is there.

        What a person was told is `durable`: it survives a power cut when this returns. The rest, which the journal and
        the receivers' memory of ids make up for, is safe from everything but a power cut, which may take the newest
        commits, the cursor with them.
        """
        try:
            with telling(self.path):
                if durable:
                    self.connection.execute("PRAGMA synchronous = FULL")
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
                finally:
                    if durable:
                        self.connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            for load in self._undone:
                load()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with telling(self.path):
            self.connection.close()


def signed(tenant: int) -> int:
    """A tenant's number as SQLite's integer."""
    return tenant - _MODULUS if tenant >= _SIGN else tenant


def unsigned(kept: int) -> int:
    """A tenant's number again."""
    return kept % _MODULUS
