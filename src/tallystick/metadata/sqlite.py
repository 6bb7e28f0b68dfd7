"""Sealed text in an SQLite file. A backup may hold it, and must not hold the keys."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tallystick.metadata.port import Row
from tallystick.sqlitefiles import translated, whole, write_ahead

FILE_MODE = 0o600
WAIT_S = 5.0
ROWS_AT_ONCE = 1_000
_TABLE = """
CREATE TABLE IF NOT EXISTS texts (
    tenant BLOB NOT NULL,       -- 8 bytes
    commitment BLOB NOT NULL,   -- 32 bytes
    person TEXT NOT NULL,       -- opaque
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, commitment)
) WITHOUT ROWID"""


class SqliteTexts:
    """As `port.SealedTexts`. Threads take turns."""

    def __init__(self, path: Path) -> None:
        """The file is made when it is first used."""
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def keep(self, rows: Sequence[Row]) -> None:
        with self._telling() as connection, whole(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?)", [(_bytes(row[0]), *row[1:]) for row in rows]
            )

    def find(self, tenant: int, commitment: bytes) -> tuple[str, bytes] | None:
        with self._telling() as connection:
            found: tuple[str, bytes] | None = connection.execute(
                "SELECT person, sealed FROM texts WHERE tenant = ? AND commitment = ?", (_bytes(tenant), commitment)
            ).fetchone()
        return found

    def count(self, tenant: int, person: str) -> int:
        with self._telling() as connection:
            [count] = connection.execute(
                "SELECT count(*) FROM texts WHERE tenant = ? AND person = ?", (_bytes(tenant), person)
            ).fetchone()
        return int(count)

    def of_tenant(self, tenant: int) -> Iterator[list[Row]]:
        after = b""
        while True:
            with self._telling() as connection:
                found = connection.execute(
                    "SELECT commitment, person, sealed FROM texts WHERE tenant = ? AND commitment > ? "
                    "ORDER BY commitment LIMIT ?",
                    (_bytes(tenant), after, ROWS_AT_ONCE),
                ).fetchall()
            if not found:
                return
            yield [(tenant, *row) for row in found]
            after = found[-1][0]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _telling(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self._path, "take it from a backup"):
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=FILE_MODE)
        connection = sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        write_ahead(connection, self._path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        return connection


def _bytes(tenant: int) -> bytes:
    return tenant.to_bytes(8, "big")
