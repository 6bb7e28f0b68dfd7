"""PostgreSQL as a process of ours: made, started, stopped, killed, with a standby, promoted.

`initdb` and `postgres` refuse root: as root they run as the user `postgres` that the package makes, who must be able to
enter the folder and everything above it.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg

from services import certificates
from services.server import (
    CannotStart,
    Process,
    Running,
    alive,
    free_port,
    is_installed,
    is_running,
    kill,
    run,
    spawn,
    stop,
    wait_ready,
    wait_until,
)

VERSION_MIN = 15
PACKAGE = "postgresql-15"
SUPERUSER = "tally"
REPLICATION_USER = "replication"
SETTINGS = """
listen_addresses = '127.0.0.1'
# no socket file: its path may be too long, and its lock outlives a killed server
unix_socket_directories = ''
shared_buffers = '256MB'
max_wal_size = '4GB'
random_page_cost = 1.1
jit = off
ssl = on
ssl_ca_file = 'ca.crt'
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
"""
ACCESS = """
# Every client comes by TLS, with a password.
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl replication all 127.0.0.1/32 scram-sha-256
"""


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian's, or that on PATH; None if there is none of a known version."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists() and _version(place) >= VERSION_MIN:
            return place
    return None


def _version(place: Path) -> int:
    told = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True).stdout.split()
    return int(told[2].split(".")[0])


class PostgreSQL:
    """One server in one folder. Not safe for concurrent calls."""

    def __init__(self, folder: Path, name: str = "primary") -> None:
        """`name` is what a standby calls itself to its primary. Raises `CannotStart` without the programs."""
        found = programs()
        if found is None:
            raise CannotStart(f"PostgreSQL {VERSION_MIN} or newer is not installed: apt-get install {PACKAGE}")
        self.folder = folder
        self.name = name
        self.log = folder / "postgresql.log"
        self.authority = folder / "data" / "ca.crt"
        self._programs = found
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = folder / "data"
        self._secret = folder / "password"
        self.port = 0
        self.process: Process | None = None
        self.standbys: list[PostgreSQL] = []

    @property
    def password(self) -> str:
        """Of the superuser and of the role for standbys."""
        return self._secret.read_text()

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None, **more: str) -> str:
        """Where a client finds it; `more` are further settings of libpq."""
        settings = urlencode(
            {"sslmode": "verify-full", "sslrootcert": str(self._data / "ca.crt"), **more}, quote_via=quote
        )
        login = f"{quote(user)}:{quote(self.password if password is None else password)}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}?{settings}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """A session of the superuser, where each statement commits."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def start(self) -> None:
        """Start it, made at the first call; returns when a logged-in client got an answer. Raises `CannotStart`."""
        if not self.is_made():
            self._make()
        self.port = self.port or free_port()
        self._bury()
        self.process = spawn(
            [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)],
            self.folder,
            self.log,
            self._user,
            stop_signal=signal.SIGINT,
        )
        wait_ready(self.process, self._complaint, self.log)

    def stop(self) -> None:
        """Stop it as an administrator would: sessions are ended, all is on disk."""
        if self.process:
            stop([self.process])

    def kill(self) -> None:
        """End it at once with all its sessions, by kill -9."""
        if self.process:
            kill([self.process])

    def recover(self) -> None:
        """Have it answer again after it crashed: waited for while it mends itself, started if it ended. Raises
        `CannotStart`.
        """
        if self.is_alive() and self.process:
            with suppress(CannotStart):
                wait_ready(self.process, self._complaint, self.log)
                return
        self.start()

    def is_alive(self) -> bool:
        """Whether its first process runs."""
        return self.process is not None and alive(self.process)

    def standby(self, folder: Path, name: str = "standby", port: int = 0) -> "PostgreSQL":
        """Another server that follows this one, started, not yet waited for by commits."""
        with self.connect() as session:
            known = session.execute("select 1 from pg_roles where rolname = %s", [REPLICATION_USER]).fetchone()
            if not known:
                session.execute(f"create role {REPLICATION_USER} login replication password '{self.password}'")
        other = PostgreSQL(folder, name)
        other.port = port
        other._prepare_folder()
        other._secret.write_text(self.password)
        # for pg_basebackup no database is named
        source = self.url("", REPLICATION_USER)
        options = f"-R -X stream -C -S {name} -c fast"
        self._tool(["pg_basebackup", "-D", str(other._data), *options.split(), "-d", source])
        with (other._data / "postgresql.conf").open("a") as settings:
            # after the primary died it asks again soon, instead of after five seconds
            settings.write(f"cluster_name = '{name}'\nwal_retrieve_retry_interval = '200ms'\n")
        other.start()
        self.standbys.append(other)
        return other

    def wait_for_standby(self, name: str = "standby") -> None:
        """From now on each commit waits until standby `name` has it on disk.

        By `alter system`, after the base backup: in a file that the standby inherits it would, once promoted, wait for
        itself.
        """
        with self.connect() as session:
            session.execute(f"alter system set synchronous_standby_names = 'FIRST 1 ({name})'")
            session.execute("select pg_reload_conf()")
            told = "select sync_state from pg_stat_replication where application_name = %s"
            wait_until(lambda: session.execute(told, [name]).fetchone() == ("sync",), 30, f"{name} did not join")

    def is_made(self) -> bool:
        """Whether its data folder is there."""
        return (self._data / "PG_VERSION").exists()

    def is_standby(self) -> bool:
        """Whether it follows another, or would if it were started."""
        return (self._data / "standby.signal").exists()

    def promote(self) -> None:
        """Make a standby the primary; returns once it takes writes."""
        self._tool(["pg_ctl", "-D", str(self._data), "-w", "-t", "60", "promote"])

    def _make(self) -> None:
        self._prepare_folder()
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_urlsafe(24))
        made = certificates.make(self.folder / "tls")
        handed = self.folder / "password.initdb"
        shutil.copy(self._secret, handed)
        self._own(handed)
        options = f"-U {SUPERUSER} -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --data-checksums --no-sync"
        self._tool(["initdb", "-D", str(self._data), f"--pwfile={handed}", *options.split()])
        handed.unlink()
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        (self._data / "pg_hba.conf").write_text(ACCESS)
        for source in (made.authority, made.certificate, made.key):
            copy = Path(shutil.copy(source, self._data / source.name))
            self._own(copy)
            copy.chmod(0o600)

    def _bury(self) -> None:
        """Remove the lock of a server that was killed and not yet waited for: to `postgres` its pid is still there."""
        lock = self._data / "postmaster.pid"
        if lock.exists() and not is_running(int(lock.read_text().split()[0])):
            lock.unlink()

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(mode=0o700, exist_ok=True)
        self.log.touch()
        self._own(self._data)
        self.folder.chmod(0o711)
        for above in self._data.parents:
            if self._user and not above.stat().st_mode & 0o001:
                raise CannotStart(f"{above} cannot be entered by the user {self._user}: choose another folder")

    def _own(self, path: Path) -> None:
        if self._user:
            record = pwd.getpwnam(self._user)
            os.chown(path, record.pw_uid, record.pw_gid)

    def _tool(self, command: Sequence[str]) -> None:
        run([str(self._programs / command[0]), *command[1:]], self.folder, self._user)

    def _complaint(self) -> str:
        try:
            with self.connect() as session:
                session.execute("select 1")
        except psycopg.OperationalError as error:
            return str(error)
        return ""


class PostgreSQLServer:
    """As `make services` has it."""

    name = "postgresql"
    by_default = True

    def packages(self) -> Sequence[str]:
        return [] if programs() or is_installed(PACKAGE) else [PACKAGE]

    def start(self, folder: Path, port: int = 0) -> Running:
        server = PostgreSQL(folder)
        server.port = port
        server.start()
        assert server.process is not None
        # The authority where anybody who may read the addresses can read it: not in the data folder.
        authority = folder / "tls" / "ca.crt"
        address = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": SUPERUSER,
            "password": server.password,
            "authority": str(authority),
            "url": server.url(sslrootcert=str(authority)),
        }
        return Running([server.process], address)


class PostgreSQLPairServer:
    """A primary and its synchronous standby, for those who ask for them: either may be killed, the other promoted."""

    name = "postgresql-pair"
    by_default = False
    count = 2

    def packages(self) -> Sequence[str]:
        return SERVER.packages()

    def start(self, folder: Path, port: int = 0) -> Running:
        """Both, made at the first call. `port` is not needed: where they were is kept in the folder."""
        first, second = self._both(folder)
        if second.is_made() and first.is_standby() == second.is_standby():
            raise CannotStart(f"neither of the two is the other's standby any more: delete {folder} to make a new pair")
        primary = second if first.is_standby() else first
        primary.start()
        if second.is_made():
            (first if primary is second else second).start()
        else:
            second = primary.standby(second.folder, second.name, second.port)
            primary.wait_for_standby(second.name)
        assert first.process is not None
        assert second.process is not None
        hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        url = first.url(target_session_attrs="read-write", connect_timeout="5")
        address = {
            "host": "127.0.0.1",
            "port": first.port,
            "user": SUPERUSER,
            "password": first.password,
            "authority": str(first.authority),
            "url": url.replace(f"127.0.0.1:{first.port}", hosts),
        }
        return Running([first.process, second.process], address)

    def start_one(self, folder: Path, processes: Sequence[Process], number: int) -> Process:
        """It comes back as the other's synchronous standby, from a new base backup: never as it was."""
        both = self._both(folder)
        old, primary = both[number - 1], both[2 - number]
        shutil.rmtree(old.folder)
        new = primary.standby(old.folder, old.name, old.port)
        assert new.process is not None
        try:
            primary.wait_for_standby(new.name)
        except CannotStart:
            new.kill()
            raise
        return new.process

    def promote(self, folder: Path, processes: Sequence[Process], number: int) -> None:
        self._both(folder)[number - 1].promote()

    def _both(self, folder: Path) -> tuple[PostgreSQL, PostgreSQL]:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        known = folder / "ports.json"
        ports = json.loads(known.read_text()) if known.exists() else [free_port(), free_port()]
        known.write_text(json.dumps(ports))
        first, second = (PostgreSQL(folder / name, name) for name in ("one", "two"))
        first.port, second.port = ports
        return first, second


SERVER = PostgreSQLServer()
PAIR = PostgreSQLPairServer()
