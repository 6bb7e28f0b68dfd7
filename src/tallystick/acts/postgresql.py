"""A log of acts in PostgreSQL: the lock of the log's one row numbers what processes append beside each other.

It is not derived. Every commit waits until it is kept, on a synchronous standby too; and nobody reads an act before the
commit of it has returned, since a signer must not sign what a fail-over may take back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import LiteralString

from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.postgresql import making
from tallystick.postgresql.connecting import Connection
from tallystick.postgresql.sessions import ANSWER_S_MAX, Session

SERVICE = "acts"
VERSION = 1
_TABLES = """
create table ends (
    log text primary key,
    identity text not null default gen_random_uuid()::text,  -- one that was begun anew is not taken for this
    next bigint not null default 0,
    durable bigint not null default 0                        -- what is before it was told to whoever appended it
);
create table acts (log text, number bigint, entry bytea not null, primary key (log, number))
"""


def make_tables(connection: Connection, shard: int, place: str) -> None:
    """Make the shard's tables, unless they are there. Raises as `making.make`."""
    making.make(connection, making.schema_of(SERVICE, shard), VERSION, _TABLES, place)


class PostgresActs:
    """As `port.ActLog`. Used by one thread at a time."""

    def __init__(self, url: str, shard: int, log: str, create: bool = True, answer_s_max: float = ANSWER_S_MAX) -> None:
        """Creates tables and log, unless told not to. Raises `Invalid` for a URL that cannot be understood,
        `Unavailable`."""
        self._shard = shard
        self._schema = making.schema_of(SERVICE, shard)
        self._log = log
        self._may_create = create
        self._seen = 0
        name = f"tallystick acts {shard}"
        self._session = Session(url, "TALLY_SERVICES", name, self._look, answer_s_max)
        # What is noted is noted again by the next append or session: it need not wait for a disk.
        self._notes = Session(url, "TALLY_SERVICES", f"{name}, notes", self._check, answer_s_max, waits=False)
        self._place = f"{self._session.place}, log {log}"
        try:
            rows = self._session.read(self._with("select identity from {}.ends where log = %b"), (log,))
            if not rows:
                raise Unavailable(f"{self._place} is gone: somebody deleted the log of acts")
        except BaseException:
            self.close()
            raise
        self._identity = str(rows[0][0])
        self._may_create = False  # what was deleted meanwhile is not begun anew: nobody would notice what is gone

    def _look(self, connection: Connection, place: str) -> None:
        if self._may_create:
            make_tables(connection, self._shard, place)
            connection.execute(self._with("insert into {}.ends (log) values (%b) on conflict do nothing"), (self._log,))
        self._check(connection, place)
        # Whoever appended may have ended before it could say so, or a crash took that back. This commit waits, and with
        # it all is kept that stands before it.
        settle = self._with("update {}.ends set durable = next where log = %b and durable < next")
        connection.execute(settle, (self._log,))

    def _check(self, connection: Connection, place: str) -> None:
        making.check(connection, self._schema, VERSION, place)

    def append(self, entries: Sequence[bytes], expected: int | None = None) -> int:
        with self._telling(), self._session.together() as cursor:
            found = cursor.execute(
                self._with("update {}.ends set next = next + %b where log = %b and identity = %b returning next"),
                (len(entries), self._log, self._identity),
            ).fetchone()
            if found is None:
                raise Unavailable(f"{self._place} is gone, or another than the one that was opened")
            first = int(found[0]) - len(entries)
            if expected not in (None, first):
                raise Unavailable(f"{self._place} has {first} acts, not {expected}: another process appended")
            rows = [(self._log, number, entry) for number, entry in enumerate(entries, first)]
            cursor.executemany(self._with("insert into {}.acts values (%b, %b, %b)"), rows)
        self._note_durable(first + len(entries))
        return first

    def _note_durable(self, end: int) -> None:
        """Let readers see them. If this fails, who appends next does it, or whoever connects."""
        query = self._with("update {}.ends set durable = %b where log = %b and identity = %b and durable < %b")
        for _ in range(2):  # a session that broke since the last time is told now
            with suppress(Unavailable, OutcomeUnknown):
                self._notes.write(query, (end, self._log, self._identity, end))
                return
            self._notes.close()

    def end(self) -> int:
        query = self._with("select next, durable from {}.ends where log = %b and identity = %b")
        rows = self._session.read(query, (self._log, self._identity))
        if not rows:
            raise Unavailable(f"{self._place} is gone, or another than the one that was opened")
        there, durable = rows[0]
        self._seen = max(self._seen, int(durable))  # a crash may take it back; what was seen is there
        return min(self._seen, int(there))

    def read(self, first: int, count: int) -> list[bytes]:
        count = min(count, max(0, self.end() - first))
        query = self._with("select number, entry from {}.acts where log = %b and number >= %b order by number limit %b")
        rows = self._session.read(query, (self._log, first, count))
        for expected in range(first, first + count):
            if expected - first >= len(rows) or rows[expected - first][0] != expected:
                raise Corrupt(f"{self._place}: act {expected} is not there")
        return [bytes(entry) for _, entry in rows]

    def close(self) -> None:
        self._session.close()
        self._notes.close()

    def _with(self, query: str) -> LiteralString:
        return query.format(self._schema)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OutcomeUnknown as error:
            # It may be noted; that it was asked for is true, and whoever asked must not go on.
            raise Unavailable(f"{error} (it is not known whether this act was noted)") from error
