"""Sealed text in PostgreSQL, in a schema of the shard's own that its owner alone may see."""

from collections.abc import Iterator, Sequence
from typing import LiteralString

from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.metadata.port import Row
from tallystick.postgresql import making
from tallystick.postgresql.connecting import Connection
from tallystick.postgresql.sessions import ANSWER_S_MAX, Session

SERVICE = "texts"
ROWS_AT_ONCE = 1_000
VERSION = 1
_TABLES = """
create table texts (
    tenant bytea not null,      -- 8 bytes
    commitment bytea not null,  -- 32 bytes
    person text not null,       -- opaque
    sealed bytea not null,
    primary key (tenant, commitment)
);
create index texts_by_person on texts (tenant, person)
"""
# A text that is there already is written again: the commit then waits for all that was written before, so that a text
# whose first commit was told to be unknown is surely kept when this returns.
_KEEP = """
insert into {}.texts values (%b, %b, %b, %b)
    on conflict (tenant, commitment) do update set person = excluded.person
"""


def make_tables(connection: Connection, shard: int, place: str) -> None:
    """Make the shard's tables, unless they are there. Raises as `making.make`."""
    making.make(connection, making.schema_of(SERVICE, shard), VERSION, _TABLES, place)


class PostgresTexts:
    """As `port.SealedTexts`. One session, made when first needed; threads take turns."""

    def __init__(self, url: str, shard: int, answer_s_max: float = ANSWER_S_MAX) -> None:
        """Raises `Invalid` for a URL that cannot be understood; all else raises `Unavailable`, at the first call."""
        self._shard = shard
        self._schema = making.schema_of(SERVICE, shard)
        self._session = Session(url, "TALLY_SERVICES", f"tallystick texts {shard}", self._look, answer_s_max)

    def _look(self, connection: Connection, place: str) -> None:
        make_tables(connection, self._shard, place)

    def keep(self, rows: Sequence[Row]) -> None:
        try:
            with self._session.together() as cursor:
                cursor.executemany(self._with(_KEEP), [(_bytes(row[0]), *row[1:]) for row in rows])
        except OutcomeUnknown as error:
            # No payment will name it: what may be there of it does no harm.
            raise Unavailable(f"{error} (it is not known whether the text was kept)") from error

    def find(self, tenant: int, commitment: bytes) -> tuple[str, bytes] | None:
        query = self._with("select person, sealed from {}.texts where tenant = %b and commitment = %b")
        rows = self._session.read(query, (_bytes(tenant), commitment))
        return (str(rows[0][0]), bytes(rows[0][1])) if rows else None

    def of_tenant(self, tenant: int) -> Iterator[list[Row]]:
        query = self._with(
            "select commitment, person, sealed from {}.texts where tenant = %b and commitment > %b "
            "order by commitment limit %b"
        )
        after = b""
        while found := self._session.read(query, (_bytes(tenant), after, ROWS_AT_ONCE)):
            yield [(tenant, bytes(row[0]), str(row[1]), bytes(row[2])) for row in found]
            after = bytes(found[-1][0])

    def count(self, tenant: int, person: str) -> int:
        query = self._with("select count(*) from {}.texts where tenant = %b and person = %b")
        return int(self._session.read(query, (_bytes(tenant), person))[0][0])

    def close(self) -> None:
        self._session.close()

    def _with(self, query: str) -> LiteralString:
        return query.format(self._schema)


def _bytes(tenant: int) -> bytes:
    return tenant.to_bytes(8, "big")
