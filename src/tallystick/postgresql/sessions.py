"""Sessions of one database, and what their failures mean.

psycopg cancels what it waits for when it is interrupted. A commit that waits for a synchronous standby and is cancelled
reports success, with a warning (SQLSTATE 01000): "committed locally, but might not have been replicated". So nothing
here ever cancels: a wait has a deadline of ours, after which the session is dropped and the outcome is unknown; and the
warning, whoever caused it, means an outcome that is unknown.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow

from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.postgresql.connecting import UNDONE, Connection, line, opened, shown

ANSWER_S_MAX = 30.0
"""A commit may wait for a standby that is gone without end, and statement_timeout does not end that wait."""
NOT_REPLICATED = "01000"

Row = tuple[Any, ...]
_SETTINGS = """
select set_config('synchronous_commit', case when not %s then 'off' when current_setting('synchronous_commit') in
           ('off', 'local', 'remote_write') then 'on' else current_setting('synchronous_commit') end, false),
       set_config('client_min_messages', 'warning', false), set_config('jit', 'off', false),
       set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
       set_config('tcp_keepalives_count', '3', false), set_config('search_path', 'pg_catalog', false),
       current_setting('fsync'), current_setting('full_page_writes')
"""


def make_durable(connection: Connection, place: str, waits: bool = True) -> list[str]:
    """Make its commits wait until they are kept, whatever the database says, and refuse a server that does not keep
    them; returns the list that gets what the server warns of: an outcome that is unknown.

    Raises `Unavailable`. Without `waits`, commits return before any disk has them.
    """
    warnings: list[str] = []

    def warned(notice: errors.Diagnostic) -> None:
        if notice.sqlstate == NOT_REPLICATED:
            warnings.append(f"{notice.message_primary}: {notice.message_detail or 'the commit was not waited for'}")

    connection.add_notice_handler(warned)
    *_, fsync, full_pages = connection.execute(_SETTINGS, (waits,)).fetchone() or ("", "")
    if (fsync, full_pages) != ("on", "on"):
        raise Unavailable(f"{place}: fsync and full_page_writes must be on: what is committed must be kept")
    return warnings


def commit(connection: Connection, place: str, warnings: list[str]) -> None:
    """Commit the transaction that is open there; `warnings` is the list of `make_durable`.

    Raises `Unavailable` if it was rolled back. `OutcomeUnknown` if the answer did not come, or the wait for a standby
    was cancelled: the connection is then closed, since what it reads may be taken back.
    """
    try:
        said = connection.execute("COMMIT").statusmessage
    except psycopg.Error as error:
        _close(connection)
        raise OutcomeUnknown(f"{place}: {line(error)}") from error
    committed(connection, place, warnings, said)


def committed(connection: Connection, place: str, warnings: list[str], said: str | None) -> None:
    """What a COMMIT was answered, and warned of. Raises as `commit`."""
    if said != "COMMIT":
        raise Unavailable(f"{place}: the transaction was rolled back")
    if warnings:
        _close(connection)
        raise OutcomeUnknown(f"{place}: {warnings[0]}")


@contextmanager
def whole(connection: Connection, place: str, warnings: list[str], begin: LiteralString = "BEGIN") -> Iterator[None]:
    """A transaction: committed at the end, or nothing of it is there after an error. Raises as `commit`."""
    try:
        connection.execute(begin)
        yield
    except BaseException:
        roll_back(connection)
        raise
    warnings.clear()
    commit(connection, place, warnings)


def roll_back(connection: Connection) -> None:
    """End the transaction that is open there, also a failed one; the end of a session ends it as well."""
    with suppress(psycopg.Error):
        connection.execute("ROLLBACK")


def _close(connection: Connection) -> None:
    with suppress(psycopg.Error):
        connection.close()


class Session:
    """One connection, made when it is needed and made again after it broke. One call at a time, from any thread."""

    def __init__(
        self,
        url: str,
        setting: str,
        name: str,
        look: Callable[[Connection, str], None],
        answer_s_max: float = ANSWER_S_MAX,
        waits: bool = True,
        remedy: str = "",
    ) -> None:
        """`name` is what the server's tables show. `look` is called with each new connection and the place, and raises
        `Unavailable` if what is there will not do; `remedy` is said where rights or tables are missing. Without `waits`
        a write returns before any disk has it.

        Raises `Invalid`, naming the `setting`, for a URL that cannot be understood.
        """
        self.place = shown(url, setting)
        self._url = url
        self._name = name
        self._look = look
        self._remedy = remedy
        self._answer_s_max = answer_s_max
        self._waits = waits
        self._connection: Connection | None = None
        self._warnings: list[str] = []
        self._lock = threading.Lock()

    def read(self, query: LiteralString, values: Row = ()) -> list[Row]:
        """The rows of one statement that changes nothing. Raises `Unavailable`."""
        with self._lock, self._translated(writes=False) as connection:
            return connection.execute(query, values, binary=True).fetchall()

    def write(self, query: LiteralString, values: Row = ()) -> int:
        """Run one statement, a transaction of its own; returns how many rows it touched. **Durable when it returns.**

        Raises `Unavailable` if nothing was written, `OutcomeUnknown` if it may have been.
        """
        with self._lock, self._translated(writes=True) as connection:
            return connection.execute(query, values, binary=True).rowcount

    @contextmanager
    def together(self) -> Iterator["psycopg.Cursor[TupleRow]"]:
        """Several statements that are committed together. Raises as `write`."""
        with self._lock, self._translated(writes=True) as connection, connection.transaction():
            yield connection.cursor(binary=True)

    def close(self) -> None:
        """End the session, and with it all locks that it holds."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    @contextmanager
    def _translated(self, writes: bool) -> Iterator[Connection]:
        connection = self._connected()
        warnings = self._warnings
        warnings.clear()
        try:
            yield connection
        except errors.ReadOnlySqlTransaction as error:
            self.close()
            raise Unavailable(f"{self.place} is a standby, which takes no writes; is the primary down?") from error
        except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.UndefinedColumn) as error:
            raise Unavailable(f"{self.place}: {line(error)}{self._remedy}") from error
        except psycopg.Error as error:
            # What the server itself told before the commit undid the transaction: nothing is there.
            if (error.sqlstate or "").startswith(UNDONE):
                raise Unavailable(f"{self.place}: {line(error)}") from error
            self.close()
            kind = OutcomeUnknown if writes else Unavailable
            raise kind(f"{self.place}: {line(error)}") from error
        except BaseException:
            self.close()  # in the middle of an answer, perhaps: nobody may read its rest as another one's
            raise
        if writes and warnings:
            self.close()
            raise OutcomeUnknown(f"{self.place}: {warnings[0]}")

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = opened(self._url, self.place, self._name, self._answer_s_max, self._prepare)
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        self._warnings = make_durable(connection, self.place, self._waits)
        self._look(connection, self.place)
        if self._warnings:
            raise Unavailable(f"{self.place}: {self._warnings[0]}")
