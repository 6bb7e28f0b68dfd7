"""The tables, and how they come to be: numbered files of SQL, each applied once, in order (ADR 0012).

Whoever owns them applies the files (`tally migrate`); engine and followers only look whether all are there.
"""

import re
from importlib import resources

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from tallystick.errors import Invalid, Unavailable

NAME = "tallystick"
_LOCK = 0x74616C6C79
"""Of the advisory lock that one migration at a time holds: "tally"."""
ENGINE_MAY = (
    "grant usage on schema tallystick to {role}",
    "grant select on all tables in schema tallystick to {role}",
    "grant insert on tallystick.blocks to {role}",
    "grant insert, update on tallystick.writers to {role}",
)
"""An engine adds blocks; it can neither change nor delete one."""
FOLLOWER_MAY = (
    "grant usage on schema tallystick to {role}",
    "grant select on all tables in schema tallystick to {role}",
)


def migrations() -> dict[int, str]:
    """SQL by version, from 1 on, without a gap."""
    folder = resources.files(__package__) / "migrations"
    found = {
        int(each.name[:4]): each.read_text() for each in folder.iterdir() if re.fullmatch(r"\d{4}\.sql", each.name)
    }
    return dict(sorted(found.items()))


VERSION = max(migrations())
"""What this program needs, exactly."""


def version(connection: "psycopg.Connection[TupleRow]") -> int:
    """The version of the tables there; 0 if there are none."""
    row = connection.execute("select to_regclass('tallystick.migrations') is not null").fetchone()
    if row != (True,):
        return 0
    row = connection.execute("select coalesce(max(version), 0) from tallystick.migrations").fetchone()
    return int(row[0]) if row else 0


def check(connection: "psycopg.Connection[TupleRow]", place: str) -> None:
    """Raises `Unavailable` unless the tables are those of this program."""
    found = version(connection)
    if found < VERSION:
        what = f"has tables of version {found}" if found else "holds no journal yet"
        raise Unavailable(f"{place} {what}, version {VERSION} is needed: run `tally migrate` as their owner")
    if found > VERSION:
        raise Unavailable(f"{place} has tables of version {found}, this program knows {VERSION}: upgrade it")


def migrate(url: str, engine_role: str | None = None, follower_role: str | None = None) -> tuple[int, int]:
    """Bring the tables to this program's version, and let these roles use them; returns the versions before and after.

    All in one transaction. Raises `Invalid` for a role that is not there, `Unavailable` for all else.
    """
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            before = version(connection)
            if before > VERSION:
                raise Unavailable(f"the tables have version {before}, this program knows {VERSION}: upgrade it")
            connection.execute("create schema if not exists tallystick")
            connection.execute(
                "create table if not exists tallystick.migrations "
                "(version integer primary key, applied_at timestamptz not null default now())"
            )
            for number, statements in migrations().items():
                if number > before:
                    connection.execute(statements.encode())
                    connection.execute("insert into tallystick.migrations (version) values (%s)", [number])
            for role, rights in ((engine_role, ENGINE_MAY), (follower_role, FOLLOWER_MAY)):
                for right in rights if role else ():
                    connection.execute(sql.SQL(right).format(role=sql.Identifier(role or "")))
        return before, VERSION
    except psycopg.errors.UndefinedObject as error:
        raise Invalid("role", f"{error}".splitlines()[0]) from error
    except psycopg.Error as error:
        raise Unavailable(" ".join(str(error).split())) from error
