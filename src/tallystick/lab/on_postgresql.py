"""Databases of the lab's own on a PostgreSQL server, and that server's own bench as a reference."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tallystick.clock import system_entropy
from tallystick.compose import migrating
from tallystick.errors import Invalid, Unavailable

SCALE = 16
"""Branches: as many as sessions, or they wait for each other's row."""
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


@contextmanager
def database(url: str, tables: bool = True) -> Iterator[str]:
    """The URL of a new database on the server of `url`, with a journal's tables, dropped afterwards.

    Raises `Unavailable` if the role may not make one.
    """
    name = f"tally_lab_{system_entropy(6).hex()}"
    head, question, settings = url.partition("?")
    mine = f"{head[: head.index('/', head.index('://') + 3)]}/{name}{question}{settings}"
    _on(url, "create database {}", name)
    try:
        if tables:
            migrating.migrate(mine, None, None)
        yield mine
    finally:
        _on(url, "drop database if exists {} with (force)", name)


def _on(url: str, statement: str, name: str) -> None:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as session:
            session.execute(sql.SQL(statement).format(sql.Identifier(name)).as_string())
    except psycopg.Error as error:
        raise Unavailable(f"the server: {' '.join(str(error).split())}") from error


def writable_host(url: str) -> int:
    """Which of the hosts that `url` names takes writes, from 0. Raises `Unavailable` if none does."""
    settings = conninfo_to_dict(url)
    hosts, ports = (str(settings.get(name) or "").split(",") for name in ("host", "port"))
    for number, host in enumerate(hosts):
        port = ports[number] if number < len(ports) else ports[0]
        mine = {**settings, "host": host, "port": port, "target_session_attrs": "any", "connect_timeout": "5"}
        with suppress(psycopg.OperationalError), psycopg.connect(**mine) as session:  # type: ignore[arg-type]
            if session.execute("select pg_is_in_recovery()").fetchone() == (False,):
                return number
    raise Unavailable("none of the database's servers takes writes just now")


def tpc_b(url: str, seconds: int) -> float:
    """Transactions a second of pgbench's TPC-B on the server of `url`. Raises `Invalid` if it is not installed."""
    program = _pgbench()
    with tempfile.TemporaryDirectory(prefix="tally-pgbench-") as folder, database(url, tables=False) as mine:
        settings = conninfo_to_dict(mine)
        secret = Path(folder) / "pass"  # where other users cannot read it, as they could the process list
        secret.touch(mode=0o600)
        password = str(settings.pop("password", "") or "")
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        secret.write_text(f"*:*:*:*:{escaped}\n")
        place = make_conninfo(**{**settings, "passfile": str(secret)})  # type: ignore[arg-type]
        _run([program, "-i", "-q", "-s", str(SCALE), place])
        said = _run([program, "-c", "16", "-j", "2", "-T", str(seconds), place])
    found = _TPS.search(said)
    if found is None:
        raise Unavailable(f"pgbench told no rate: {said.strip()}")
    return float(found[1])


def _pgbench() -> str:
    for found in (shutil.which("pgbench"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)):
        if found is not None:
            return str(found)
    raise Invalid("--journal", "the reference needs pgbench: apt-get install postgresql-contrib")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"pgbench: {done.stderr.strip()}")
    return done.stdout
