"""The projector's tables in SQLite: one file in the data folder, or memory. See `port` for what is promised."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tallystick.clock import Clock
from tallystick.errors import Corrupt
from tallystick.projector.port import Row
from tallystick.projector.schema import connect, telling
from tallystick.sqlitefiles import whole

LOG_BYTES_MAX = 1 << 30
"""Of SQLite's write-ahead log; a commit of a projector that catches up may write a good part of this."""
INSTRUCTIONS = 50_000
"""Of SQLite, between two looks at the clock: about a millisecond."""
CACHE_KIB = 16_384
"""Of a reader."""


class _SqliteTables:
    """What reading and writing have in common."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.connection = connection
        self._path = path

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)

    def walk(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        return self.connection.execute(statement, values)

    def telling(self) -> AbstractContextManager[None]:
        return telling(self._path)

    @contextmanager
    def at_one_moment(self, left_s: float | None = None) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                self.connection.execute("COMMIT")

    def damage(self) -> str | None:
        [said] = self.connection.execute("PRAGMA integrity_check(1)").fetchone()  # indexes too
        return None if said == "ok" else str(said)

    def close(self) -> None:
        with telling(self._path):
            self.connection.close()


class SqliteReader(_SqliteTables):
    """A connection that only reads the file of another."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """There must be a file at `path`. Raises `Unavailable` if it cannot be opened."""
        with telling(path):
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        super().__init__(connection, path)
        self._clock = clock
        self._deadline_ns: int | None = None
        connection.set_progress_handler(self._is_late, INSTRUCTIONS)

    def _is_late(self) -> bool:
        return self._deadline_ns is not None and self._clock.monotonic_ns() > self._deadline_ns

    @contextmanager
    def at_one_moment(self, left_s: float | None = None) -> Iterator[None]:
        self._deadline_ns = None if left_s is None else self._clock.monotonic_ns() + round(left_s * 1e9)
        with super().at_one_moment():
            yield


class SqliteTables(_SqliteTables):
    """The file at `path`, made if it is not there; None: in memory."""

    def __init__(self, path: Path | None) -> None:
        """Its folder must exist. Raises `Corrupt` if it is none of ours, `Unavailable` if it cannot be opened."""
        super().__init__(connect(path), path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with whole(self.connection):
            yield
        self._trim_log()

    def _trim_log(self) -> None:
        """Begin SQLite's log anew where it has grown: by itself it does that in a moment without readers only, and
        readers that follow closely on each other leave none. New ones need no log once all of it is in the file."""
        if self._path is None:
            return
        log = self._path.with_name(self._path.name + "-wal")
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # a reader that stays only delays it

    def insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self.connection.executemany(_INSERT[table], rows)
        except sqlite3.IntegrityError as error:
            raise Corrupt(f"{table} holds a row twice: {error}") from error

    def update(self, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        values = ", ".join(f"{name} = ?" for name in names)
        self.connection.executemany(f"UPDATE {table} SET {values} WHERE seq = ?", rows)

    def find(self, table: str, wanted: str, keys: Sequence[tuple[int, bytes]]) -> list[Row | None]:
        statement = f"SELECT {wanted} FROM {table} INDEXED BY {table}_by_id WHERE tenant = ? AND id = ?"
        return [self.connection.execute(statement, key).fetchone() for key in keys]


_INSERT = {
    table: f"INSERT INTO {table} VALUES ({', '.join('?' * count)})"
    for table, count in (
        ("accounts", 17),
        ("transfers", 25),
        ("resolutions", 12),
        ("notes", 6),
    )
}
