"""A log of acts in an SQLite file: processes append beside each other, and the file's one writer lock numbers them.

It is not derived: a backup must hold it (`copied`). Every commit is synced before it is told (`synchronous = FULL`).
"""

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

from tallystick.errors import Corrupt, Unavailable
from tallystick.sqlitefiles import translated, whole, write_ahead

SUFFIX = ".db"
FILE_MODE = 0o600
WAIT_S = 5.0
"""How long to wait for another process that appends."""
_APPLICATION_ID = 0x7A11_57E9
_TABLE = "CREATE TABLE IF NOT EXISTS acts (number INTEGER PRIMARY KEY, entry BLOB NOT NULL)"


class SqliteActs:
    """As `port.ActLog`. Used by one thread."""

    def __init__(self, path: Path, create: bool = True) -> None:
        """Creates the file, and its folder, unless told not to. Raises `Unavailable`, `Corrupt`."""
        self._path = path
        with _telling(path):
            if create:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=FILE_MODE)
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            self._connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                write_ahead(self._connection, path)
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(_TABLE)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            except BaseException:
                self._connection.close()
                raise

    def append(self, entries: Sequence[bytes], expected: int | None = None) -> int:
        with _telling(self._path):
            self._refuse_replaced()
            with whole(self._connection):
                first = self._end()
                if expected not in (None, first):
                    raise Unavailable(f"{self._path} has {first} acts, not {expected}: another process appended")
                self._connection.executemany("INSERT INTO acts VALUES (?, ?)", enumerate(entries, first))
        return first

    def end(self) -> int:
        with _telling(self._path):
            self._refuse_replaced()
            return self._end()

    def read(self, first: int, count: int) -> list[bytes]:
        with _telling(self._path):
            self._refuse_replaced()
            rows = self._connection.execute(
                "SELECT number, entry FROM acts WHERE number >= ? ORDER BY number LIMIT ?", (first, count)
            ).fetchall()
        for expected, (number, _) in enumerate(rows, first):
            if number != expected:
                raise Corrupt(f"{self._path}: act {expected} is not there; the next one has number {number}")
        return [entry for _, entry in rows]

    def close(self) -> None:
        with _telling(self._path):
            self._connection.close()

    def _refuse_replaced(self) -> None:
        """What is written to a file whose name is gone is lost when it is closed."""
        try:
            found = self._path.stat()
        except FileNotFoundError as error:
            raise Unavailable(f"{self._path} is gone: somebody deleted the log of acts") from error
        if (found.st_dev, found.st_ino) != self._file:
            raise Unavailable(f"{self._path} is another file than the one that was opened")

    def _end(self) -> int:
        found = self._connection.execute("SELECT max(number) FROM acts").fetchone()[0]
        return 0 if found is None else int(found) + 1


def copied(path: Path) -> bytes | None:
    """The bytes of a file like the one at `path`, which may be in use; None if there is none."""
    if not path.exists():
        return None
    with (
        _telling(path),
        closing(sqlite3.connect(path, timeout=WAIT_S)) as source,
        closing(sqlite3.connect(":memory:")) as target,
    ):
        source.backup(target)
        return target.serialize()


def _telling(path: Path) -> AbstractContextManager[None]:
    return translated(path, "it is damaged, or no log of acts; take it from a backup")
