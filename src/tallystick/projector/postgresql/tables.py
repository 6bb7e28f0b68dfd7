"""The adapter: statements as SQLite has them, many rows at once as PostgreSQL takes them best.

A statement is SQLite's text with its hints left out: `INDEXED BY`, and joins in the order they are written. The planner
is told instead to go along indexes, row by row, since it would guess at tables that grow, from numbers that it has not
gathered yet. Rows are added by binary COPY, and changed by one statement over arrays.

**Commits do not wait for the disk** (`synchronous_commit` off): a crash of the server may take the newest ones, effect
and cursor together, and they are made from the journal again. A commit there is never half.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.numeric import Int8BinaryDumper

from tallystick.clock import Clock
from tallystick.errors import Corrupt, Unavailable
from tallystick.postgresql.connecting import UNDONE, Connection, connect, line, opened, shown
from tallystick.postgresql.sessions import roll_back, whole
from tallystick.postgresql.statements import translated
from tallystick.projector.port import Found, Row
from tallystick.projector.postgresql import schema

ANSWER_S_MAX = 120.0
"""For one statement: a copy of 65,536 rows takes seconds on a busy server."""
LATE_S = 5.0
"""How long an answer may come after the server itself should have given up."""
ROWS_AT_ONCE = 10_000
"""Of a walk."""
_SETTINGS = """
select set_config('synchronous_commit', 'off', false), set_config('client_min_messages', 'warning', false),
       set_config('jit', 'off', false), set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('tcp_keepalives_idle', '5', false),
       set_config('tcp_keepalives_interval', '2', false), set_config('tcp_keepalives_count', '3', false),
       set_config('search_path', %s, false), set_config('default_transaction_read_only', %s, false)
"""
_TOO_LATE = "57014"
"""A statement that ran into its time-out; the session is as good as before."""
_KIND = {"bigint": "int8", "bytea": "bytea"}


class _PostgresTables:
    """One session, made when it is needed and made again after it broke: what reading and writing have in common."""

    reads_only = True

    def __init__(self, url: str, shard: int, name: str, clock: Clock) -> None:
        """`name` is what the server's tables show. Raises `Invalid` for a URL that cannot be understood; all else
        raises `Unavailable` when it is first used."""
        self.place = shown(url, "TALLY_SERVICES")
        self.shard = shard
        self._url = url
        self._name = name
        self._clock = clock
        self._connection: Connection | None = None
        self._is_within = False
        """A transaction: what breaks in it is not connected again before its end."""
        self._deadline_ns: int | None = None

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Found:
        if self._deadline_ns is not None and self._clock.monotonic_ns() > self._deadline_ns:
            raise Unavailable(f"{self.place}: interrupted, its asker's time is over")
        return self._connected().execute(translated(statement), values, binary=True)

    def walk(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        connection = self._connected()
        with psycopg.ServerCursor(connection, f"walk_{self._clock.monotonic_ns()}") as found:
            found.itersize = ROWS_AT_ONCE
            found.execute(translated(statement), values, binary=True)
            yield from found

    @contextmanager
    def telling(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith((*UNDONE, _TOO_LATE)):
                self._drop()
            if isinstance(error, (errors.DataCorrupted, errors.IndexCorrupted)):
                raise Corrupt(f"{self.place}: {line(error)}") from error
            raise Unavailable(f"{self.place}: {line(error)}") from error

    @contextmanager
    def at_one_moment(self, left_s: float | None = None) -> Iterator[None]:
        timeout_ms = 0 if left_s is None else max(1, round(left_s * 1000))
        connection = self._connected()
        connection.answer_s_max = ANSWER_S_MAX if left_s is None else left_s + LATE_S
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {timeout_ms}"
        with self._within():
            try:
                connection.execute(begin.encode())
                self._deadline_ns = None if left_s is None else self._clock.monotonic_ns() + round(left_s * 1e9)
                yield
            finally:
                self._deadline_ns = None
                roll_back(connection)  # there is nothing to commit

    @contextmanager
    def _within(self) -> Iterator[None]:
        self._is_within = True
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self._drop()  # in the middle of an answer, perhaps: nobody may read its rest as another one's
            raise
        finally:
            self._is_within = False

    def damage(self) -> str | None:
        return None  # pages have checksums there, if the server was made with them; `pg_amcheck` looks into indexes

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _connected(self) -> Connection:
        if self._connection is not None and (self._is_within or not self._connection.closed):
            return self._connection
        if self._is_within:
            raise Unavailable(f"{self.place}: the connection broke")
        self._connection = opened(self._url, self.place, self._name, ANSWER_S_MAX, self._prepare)
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        # Always of one size, whatever the number: else each size is another statement to plan.
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        tables = schema.tables_of(self.shard)
        connection.execute(_SETTINGS, (tables, "on" if self.reads_only else "off"))
        self._look(connection)

    def _look(self, connection: Connection) -> None:
        schema.check(connection, self.shard, self.place)


class PostgresReader(_PostgresTables):
    """A session that only reads."""

    def exists(self) -> bool:
        """Whether the database holds a projection of this shard. Raises `Unavailable` if it does not say."""
        try:
            with connect(self._url, self._name, LATE_S) as connection:
                return schema.version(connection, self.shard) > 0
        except psycopg.Error as error:
            raise Unavailable(f"{self.place} cannot be reached: {line(error)}") from error


class PostgresTables(_PostgresTables):
    """The session of whoever follows the journal: owner of the tables, which are made if they are not there."""

    reads_only = False

    def __init__(
        self,
        url: str,
        shard: int,
        clock: Clock,
        reader_role: str = "",
        say: Callable[[str], None] = lambda said: None,
        name: str = "tallystick projector",
    ) -> None:
        """`reader_role` may use the views; `say` hears that tables of an earlier version are made anew."""
        super().__init__(url, shard, name, clock)
        self._reader_role = reader_role
        self._say = say

    def _look(self, connection: Connection) -> None:
        schema.make(connection, self.shard, self.place, self._reader_role, self._say)

    def clear(self) -> None:
        """Empty all tables, to be made from the journal anew. Raises `Unavailable`."""
        with self.telling():
            schema.clear(self._connected(), self.shard)

    @contextmanager
    def writing(self) -> Iterator[None]:
        connection = self._connected()
        # The lock of the one row keeps others out until the end, as SQLite's BEGIN IMMEDIATE does. The commit waits for
        # no standby, so nothing can end that wait, and warn of it.
        begin = "BEGIN; SELECT next_seq FROM cursor FOR UPDATE"
        with self._within(), whole(connection, self.place, [], begin):
            yield

    def insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        kinds = [_KIND[kind] for kind in schema.COLUMNS[table].values()]
        try:
            with self._connected().cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()) as copy:
                copy.set_types(kinds)
                for row in rows:
                    copy.write_row(row)
        except errors.UniqueViolation as error:
            raise Corrupt(f"{self.place}: {line(error)}") from error

    def update(self, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        types = schema.COLUMNS[table]
        arrays = ", ".join(f"%b::{types[name]}[]" for name in (*names, "seq"))
        values = ", ".join(f"{name} = changed.{name}" for name in names)
        self._connected().execute(
            f"UPDATE {table} SET {values} FROM unnest({arrays}) changed({', '.join(names)}, seq) "
            f"WHERE {table}.seq = changed.seq".encode(),
            [list(column) for column in columns],
            binary=True,
        )

    def find(self, table: str, wanted: str, keys: Sequence[tuple[int, bytes]]) -> list[Row | None]:
        found: list[Row | None] = [None] * len(keys)
        columns = ", ".join(f"t.{name.strip()}" for name in wanted.split(","))
        rows = self._connected().execute(
            f"SELECT asked.number, {columns} FROM unnest(%b::bigint[], %b::bytea[]) WITH ORDINALITY "
            f"asked(tenant, id, number) JOIN {table} t ON t.tenant = asked.tenant AND t.id = asked.id".encode(),
            [[tenant for tenant, _ in keys], [id for _, id in keys]],
            binary=True,
        )
        for row in rows:
            found[row[0] - 1] = row[1:]
        return found
