"""Tables of a service that are not derived: a schema for each shard, made when it is first opened, and never remade."""

from tallystick.errors import Unavailable
from tallystick.postgresql.connecting import Connection

# Not to_regclass: what a session found missing once it goes on missing, although another has made it meanwhile.
_IS_THERE = """
select 1 from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
 where nspname = %s and relname = 'about'
"""


def schema_of(service: str, shard: int) -> str:
    """The schema of a service's tables."""
    return f"{service}_{shard}"


def is_there(connection: Connection, schema: str) -> bool:
    """Whether tables are there, of whatever version."""
    return connection.execute(_IS_THERE, [schema]).fetchone() is not None


def version(connection: Connection, schema: str) -> int:
    """Of the tables that are there; 0 if there are none."""
    if not is_there(connection, schema):
        return 0
    row = connection.execute(f"select version from {schema}.about".encode()).fetchone()
    return int(row[0]) if row else 0


def check(connection: Connection, schema: str, wanted: int, place: str) -> None:
    """Raises `Unavailable` unless the tables there are of the version `wanted`, which is this program's."""
    found = version(connection, schema)
    if found == 0:
        raise Unavailable(f"{place} has no tables {schema}; were they deleted?")
    if found != wanted:
        raise Unavailable(
            f"{place} has tables {schema} of version {found}, this program knows {wanted}: "
            + ("upgrade it" if found > wanted else "take the program that made them")
        )


def make(connection: Connection, schema: str, wanted: int, statements: str, place: str) -> None:
    """Make schema and tables, unless they are there; in one transaction, by one process at a time.

    Whoever calls this owns what is made; nobody else may see it. Raises `psycopg.Error`, and `Unavailable` as `check`.
    """
    if version(connection, schema) == 0:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"tallystick {schema}"])
            if version(connection, schema) == 0:
                connection.execute(f"create schema {schema}".encode())
                connection.execute(f"set local search_path to {schema}".encode())
                connection.execute(statements.encode())
                connection.execute(f"create table {schema}.about (version bigint not null)".encode())
                connection.execute(f"insert into {schema}.about values ({wanted})".encode())
    check(connection, schema, wanted, place)
