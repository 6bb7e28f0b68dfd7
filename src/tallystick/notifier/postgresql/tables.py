"""The adapter: one session, which holds the shard's lock, so that no two notifiers follow one shard in one database.

**What is remembered holds as long as the session does.** When that breaks, another notifier may take the lock; so a
commit never connects again, and whoever does reads all again first. A session that is gone is noticed by the server
within seconds, and its lock with it.

What is changed in one commit goes there in one stream, without waiting for answers in between; a commit that has a
`then` is not waited for either: the server works at it while webhooks are sent.

Commits that nobody was told of do not wait for the disk (`synchronous_commit` off): a crash of the server may take the
newest ones, effect and cursor together. A commit there is never half.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8BinaryDumper

from tallystick.errors import Corrupt, OutcomeUnknown, TallystickError, Unavailable
from tallystick.postgresql import making
from tallystick.postgresql.connecting import UNDONE, Connection, line, opened, shown
from tallystick.postgresql.sessions import ANSWER_S_MAX, committed, make_durable, roll_back
from tallystick.postgresql.statements import translated

VERSION = 1
SERVICE = "notifier"
NAME = "tallystick notifier"
_LOCK = 0x6E6F7469
"""Of the advisory locks, one a shard, that a notifier's session holds as long as it lives: "noti"."""
_LOCK_MS = 3_000
"""How long to wait for it: what a session takes to end whose process was killed."""
_SETTINGS = """
select set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
       set_config('search_path', %s, false), set_config('lock_timeout', %s, false)
"""
_WHOLE = "bigint"
_KINDS = {"webhook_id": "text", "type": "text", "body": "bytea", "reason": "text", "error": "text"}
"""Of columns that are filled many rows at once; the others are whole numbers."""
_DAMAGED = (errors.DataCorrupted, errors.IndexCorrupted, errors.IntegrityError)


def _arrays(names: Sequence[str]) -> str:
    return f"unnest({', '.join(f'%b::{_KINDS.get(name, _WHOLE)}[]' for name in names)})"


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A commit that nobody has waited for yet."""

    pipeline: ExitStack
    said: psycopg.Cursor[TupleRow]
    then: Callable[[], None] | None


class PostgresTables:
    """As `port.Tables`."""

    def __init__(self, url: str, shard: int) -> None:
        """Raises `Invalid` for a URL that cannot be understood, `Unavailable` if the database is not there or not fit,
        or another notifier has the shard."""
        self.place = shown(url, "TALLY_SERVICES")
        self._url = url
        self._shard = shard
        self._undone: list[Callable[[], None]] = []
        self.connection: Connection | None = None
        self._warnings: list[str] = []
        self._last: psycopg.Cursor[TupleRow] | None = None
        self._sent: _Sent | None = None
        self._is_within = self._is_stale = False
        self.settle()

    def settle(self) -> None:
        self._finish()
        if self.connection is None or self.connection.closed:
            self._is_stale = True
            self.connection = opened(self._url, self.place, f"{NAME} {self._shard}", ANSWER_S_MAX, self._prepare)
        if self._is_stale:
            self._is_stale = False  # `load` reads by `rows`
            try:
                for load in self._undone:
                    load()
            except BaseException:
                self._is_stale = True
                raise

    def _prepare(self, connection: Connection) -> None:
        # Always of one size, whatever the number: else each size is another statement to plan.
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        self._warnings = make_durable(connection, self.place)
        schema = making.schema_of(SERVICE, self._shard)
        connection.execute(_SETTINGS, (schema, str(_LOCK_MS)))
        try:
            connection.execute("select pg_advisory_lock(%s::int, %s::int)", (_LOCK, self._shard))
        except errors.LockNotAvailable as error:
            raise Unavailable(f"{self.place}: another notifier has shard {self._shard}'s webhooks") from error
        making.make(connection, schema, VERSION, (resources.files(__package__) / "tables.sql").read_text(), self.place)

    def after_rollback(self, load: Callable[[], None]) -> None:
        self._undone.append(load)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        if not self._is_within:
            self.settle()
        with self._telling():
            return self._held().execute(translated(statement), values, binary=True).fetchall()

    def row(self, statement: str, *values: Any) -> Any:
        return next(iter(self.rows(statement, *values)), None)

    def run(self, statement: str, *values: Any) -> None:
        self._last = self._held().execute(translated(statement), values)

    def insert(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]], otherwise: str) -> None:
        given = f"SELECT * FROM {_arrays(names)} given"
        statement = f"INSERT INTO {table} ({', '.join(names)}) {given} ON CONFLICT {otherwise}"
        self._last = self._held().execute(statement.encode(), _columns(names, rows))

    def update(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        keyed = (*names, "number")
        values = ", ".join(f"{name} = given.{name}" for name in names)
        given = f"{_arrays(keyed)} given({', '.join(keyed)})"
        statement = f"UPDATE {table} SET {values} FROM {given} WHERE {table}.number = given.number"
        self._held().execute(statement.encode(), _columns(keyed, rows))

    def touched(self) -> int:
        assert self._last is not None
        with self._held().pipeline():
            pass  # one within another waits at its end for all that was sent
        return self._last.rowcount

    def add(self, statement: str, *values: Any) -> int:
        [number] = self._held().execute(translated(f"{statement} RETURNING number"), values).fetchone() or [0]
        return int(number)

    @contextmanager
    def commit(self, durable: bool = False, then: Callable[[], None] | None = None) -> Iterator[None]:
        self._finish()
        with self._all_or_nothing():
            connection = self._held()
            self._is_within = True
            self._warnings.clear()
            with ExitStack() as pipeline:
                pipeline.enter_context(connection.pipeline())
                try:
                    connection.execute("BEGIN")
                    if not durable:
                        connection.execute("SET LOCAL synchronous_commit = off")
                    yield
                    said = connection.execute("COMMIT")
                except Exception:
                    raise
                except BaseException:
                    self._drop()  # before the pipeline waits for its end
                    raise
                self._sent = _Sent(pipeline.pop_all(), said, then)
        if then is None:
            self._finish()

    def _finish(self) -> None:
        """Wait for the commit that was sent last, and hear what came of it."""
        sent, self._sent = self._sent, None
        if sent is None:
            return
        with self._all_or_nothing():
            connection = self._held()
            try:
                sent.pipeline.close()
            except psycopg.Error as error:
                if (error.sqlstate or "").startswith(UNDONE):
                    raise
                self._drop()
                raise OutcomeUnknown(f"{self.place}: {line(error)}") from error
            committed(connection, self.place, self._warnings, sent.said.statusmessage)
        if sent.then is not None:
            sent.then()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever is raised within: the transaction is no more, and what is remembered of it is read again."""
        try:
            with self._telling():
                yield
        except Exception:
            if self.connection is not None:
                roll_back(self.connection)
            self._is_within, self._is_stale = False, True
            with suppress(TallystickError):
                self.settle()  # else whoever uses it next does it
            raise
        except BaseException:
            self._drop()  # in the middle of an answer, perhaps: nobody may read its rest as another one's
            raise
        finally:
            self._is_within = False

    def close(self) -> None:
        self._drop()

    def _held(self) -> Connection:
        """The session that all was read in: to decide by that in another one would be too late."""
        if self.connection is None or self.connection.closed or self._is_stale:
            raise Unavailable(f"{self.place}: the connection broke")
        return self.connection

    def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(UNDONE):
                self._drop()
            if isinstance(error, _DAMAGED):
                raise Corrupt(f"{self.place}: {line(error)}") from error
            raise Unavailable(f"{self.place}: {line(error)}") from error
