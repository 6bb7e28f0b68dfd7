"""The tables and views of one shard's projection in PostgreSQL, and how they come to be.

The role that follows the journal owns them and makes them; nothing of them is worth a migration, since all is made from
the journal again. An index ends with `seq` where SQLite's ends with the row's number: its rows come in the journal's
order, so that a page is read along it and nothing is sorted.
"""

from collections.abc import Callable
from importlib import resources

from psycopg import sql

from tallystick.errors import Unavailable
from tallystick.postgresql.connecting import Connection
from tallystick.projector.columns import OWN_FIELDS
from tallystick.records.commands import AccountFlag, TransferFlag
from tallystick.records.endings import Ending

VERSION = 2
_LOCK = 0x70726F6A
"""Of the advisory lock that is held while tables are made: "proj"."""

_WHOLE = "bigint"
_BYTES = "bytea"
_BALANCES = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
COLUMNS: dict[str, dict[str, str]] = {
    "accounts": {
        "seq": _WHOLE,
        "tenant": _WHOLE,
        "id": _BYTES,
        **dict.fromkeys(_BALANCES, _BYTES),
        "user_data_128": _BYTES,
        "user_data_64": _WHOLE,
        "user_data_32": _WHOLE,
        "ledger": _WHOLE,
        "code": _WHOLE,
        "flags": _WHOLE,
        "timestamp": _WHOLE,
        "credit_limit": _BYTES,
        "frozen": _WHOLE,
        "lines": _WHOLE,
    },
    "transfers": {
        "seq": _WHOLE,
        "tenant": _WHOLE,
        "timestamp": _WHOLE,
        "decided_at": _WHOLE,
        "id": _BYTES,
        "debit": _WHOLE,
        "credit": _WHOLE,
        "amount": _BYTES,
        "pending_seq": _WHOLE,
        "user_data_128": _BYTES,
        "user_data_64": _WHOLE,
        "user_data_32": _WHOLE,
        **dict.fromkeys(("timeout", "ledger", "code", "flags", "flags_asked", "ending"), _WHOLE),
        "debit_flags": _WHOLE,
        "credit_flags": _WHOLE,
        "balances": _BYTES,
        "debit_sequence": _WHOLE,
        "credit_sequence": _WHOLE,
        "amount_key": _WHOLE,
        "metadata": _BYTES,
    },
    "resolutions": {
        **dict.fromkeys(("seq", "tenant", "decided_at", "type", "pending_seq", "debit_flags", "credit_flags"), _WHOLE),
        "balances": _BYTES,
        **dict.fromkeys(("debit", "credit", "debit_sequence", "credit_sequence"), _WHOLE),
    },
    "notes": {
        **dict.fromkeys(("account", "seq", "sequence", "decided_at", "opcode"), _WHOLE),
        "value": _BYTES,
    },
    "totals": {
        **dict.fromkeys(("tenant", "ledger", "code", "accounts"), _WHOLE),
        **dict.fromkeys(_BALANCES, _BYTES),
    },
    "cursor": {"id": _WHOLE, "next_seq": _WHOLE, "decided_at": _WHOLE, "block_hash": _BYTES},
}
"""By table, in the order of SQLite's; what they mean is said there (`projector.schema`)."""
_KEYS = {"notes": "account, seq", "totals": "tenant, ledger, code", "cursor": "id"}
_NULL = {*OWN_FIELDS, "pending_seq", "metadata"}
_FILLED = {"accounts": 50, "transfers": 90}
"""Per cent of a page that new rows may take: a changed row then fits beside its old one, and no index is touched."""
_NOT_COUNTED = {"transfers": ("tenant", "debit", "credit", "ledger", "code"), "accounts": ("tenant", "ledger", "code")}
"""Columns that nothing is gathered of: who is frequent over all may be long gone, and the planner would walk back along
the primary key to find their last row. Knowing nothing, it goes along the index that the statement was written for."""
_INDEXES = (
    "create unique index accounts_by_id on accounts (tenant, id)",
    "create index accounts_by_uuid on accounts ((encode(id, 'hex')::uuid))",
    "create index transfers_by_amount on transfers (tenant, amount_key, seq)",
    "create index transfers_by_metadata on transfers (tenant, metadata, seq) where metadata is not null",
    *(f"create index {table}_by_tenant on {table} (tenant, seq)" for table in ("accounts", "transfers", "resolutions")),
    *(
        f"create index {table}_by_{side} on {table} ({side}, seq)"
        for table in ("transfers", "resolutions")
        for side in ("debit", "credit")
    ),
    *(
        f"create index {table}_by_{field} on {table} (tenant, {field}, seq)"
        for table in ("accounts", "transfers")
        for field in ("ledger", "code")
    ),
    *(
        f"create index {table}_by_{field} on {table} (tenant, {field}, seq) where {field} is not null"
        for table in ("accounts", "transfers")
        for field in OWN_FIELDS
    ),
)


def tables_of(shard: int) -> str:
    """The schema of the shard's tables."""
    return f"projector_{shard}"


def views_of(shard: int) -> str:
    """The schema of the shard's views."""
    return f"ledger_{shard}"


def version(connection: Connection, shard: int) -> int:
    """Of the tables that are there; 0 if there are none."""
    name = f"{tables_of(shard)}.about"
    if connection.execute("select to_regclass(%s) is not null", [name]).fetchone() != (True,):
        return 0
    row = connection.execute(f"select version from {name}".encode()).fetchone()
    return int(row[0]) if row else 0


def check(connection: Connection, shard: int, place: str) -> None:
    """Raises `Unavailable` unless the tables are those of this program."""
    found = version(connection, shard)
    if found == 0:
        raise Unavailable(f"{place} holds no projection of shard {shard} yet; `tally up projector` makes one")
    if found < VERSION:
        raise Unavailable(
            f"{place} has a projection of version {found}, {VERSION} is needed: the projector makes it anew"
        )
    _refuse_newer(found, place)


def make(connection: Connection, shard: int, place: str, reader_role: str, say: Callable[[str], None]) -> None:
    """Make tables and views, unless they are there; those of an earlier version are dropped first, and that is said.

    Lets `reader_role`, if there is one, use the views, and nothing else. All in one transaction; whoever calls this
    owns what is made. Raises `psycopg.Error`, and `Unavailable` for tables of a later version.
    """
    tables, views = tables_of(shard), views_of(shard)
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s::int, %s::int)", [_LOCK, shard])
        found = version(connection, shard)
        _refuse_newer(found, place)
        if found and found < VERSION:
            say(f"{place} has a projection of version {found}: it is dropped, and made again from the journal")
            connection.execute(f"drop schema {tables}, {views} cascade".encode())
        if found < VERSION:
            for statement in _statements(tables, views):
                connection.execute(statement.encode())
        if reader_role:
            for right in ("usage on schema {views}", "select on all tables in schema {views}"):
                grant = f"grant {right.format(views=views)} to {{role}}"
                connection.execute(sql.SQL(grant).format(role=sql.Identifier(reader_role)))


def clear(connection: Connection, shard: int) -> None:
    """Empty the tables, in one transaction; what may be done with them, and the views, stay."""
    tables = tables_of(shard)
    names = ", ".join(f"{tables}.{table}" for table in COLUMNS)
    with connection.transaction():
        connection.execute(f"truncate {names}".encode())
        connection.execute(_beginning(tables).encode())


def _refuse_newer(found: int, place: str) -> None:
    if found > VERSION:
        raise Unavailable(f"{place} has a projection of version {found}, this program knows {VERSION}: upgrade it")


def _statements(tables: str, views: str) -> list[str]:
    made = [f"create schema if not exists {tables}", f"create schema if not exists {views}"]
    for table, types in COLUMNS.items():
        columns = ", ".join(f"{name} {kind}{'' if name in _NULL else ' not null'}" for name, kind in types.items())
        filled = f" with (fillfactor = {_FILLED[table]})" if table in _FILLED else ""
        made.append(f"create table {tables}.{table} ({columns}, primary key ({_KEYS.get(table, 'seq')})){filled}")
    for table, names in _NOT_COUNTED.items():
        made += [f"alter table {tables}.{table} alter {name} set statistics 0" for name in names]
    made += [each.replace(" on ", f" on {tables}.", 1) for each in _INDEXES]
    made.append(_beginning(tables))
    made.append(f"create table {tables}.about (version bigint not null)")
    made.append(f"insert into {tables}.about values ({VERSION})")
    text = (resources.files(__package__) / "views.sql").read_text()
    made.append(text.format(tables=tables, views=views, **_words(views)))
    return made


def _beginning(tables: str) -> str:
    return f"insert into {tables}.cursor values (1, 0, 0, decode(repeat('00', 32), 'hex'))"


def _words(views: str) -> dict[str, str]:
    """What stands for numbers in the views."""
    states = " ".join(f"when {int(each)} then '{each.name.lower()}'" for each in Ending if each)
    return {
        "frozen": "case frozen when 0 then 'none' when 1 then 'debits' when 2 then 'credits' else 'both' end",
        "account_flags": _flags("flags", AccountFlag),
        "transfer_flags": _flags("t.flags", TransferFlag),
        "state": f"case t.ending {states} end",
        # a sum of u128 may need more than 16 bytes
        **{
            name: f"{views}.whole(substr({name}, 9)) + {views}.whole(decode(repeat('00', 8), 'hex') || "
            f"substr({name}, 1, 8)) * 340282366920938463463374607431768211456"
            for name in _BALANCES
        },
    }


def _flags(column: str, flags: type[AccountFlag] | type[TransferFlag]) -> str:
    each = ", ".join(f"case when {column} & {int(flag)} <> 0 then '{str(flag.name).lower()}' end" for flag in flags)
    return f"array_remove(array[{each}], null)"
