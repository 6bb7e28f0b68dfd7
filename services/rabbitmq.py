"""RabbitMQ as processes of ours: the broker, and the port mapper that Erlang wants beside it.

The machine's own (3.10.8 on Debian 12), or 4.0.5 in a system of its own (`services.debian13`). Debian's commands on
PATH switch user and use the system's folders and addresses; the scripts behind them do not.
"""

import os
import secrets
import shutil
import signal
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pika
import pika.exceptions

from services import certificates, debian13
from services.server import (
    CannotStart,
    Process,
    Running,
    alive,
    children,
    free_port,
    kill,
    send,
    spawn,
    stop,
    wait_ready,
)

PACKAGE = "rabbitmq-server"
USER = "tally"
SETTINGS = """\
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {tls}/ca.crt
ssl_options.certfile = {tls}/server.crt
ssl_options.keyfile = {tls}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
default_user = {user}
default_pass = {password}
loopback_users.{user} = true
disk_free_limit.absolute = 500MB
vm_memory_high_watermark.absolute = 1GiB
"""


def scripts() -> Path | None:
    """The folder of the broker's own scripts; None if it is not installed."""
    places = [
        *Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"),
        *Path("/opt").glob("rabbitmq_server-*/sbin"),
    ]
    found = [place for place in places if (place / "rabbitmq-server").exists()]
    return max(found) if found and shutil.which("epmd") else None


class RabbitMQ:
    """One broker in one folder. Not safe for concurrent calls."""

    def __init__(self, folder: Path, newer: bool = False) -> None:
        """`newer`: the one of Debian 13. Raises `CannotStart` without the programs."""
        found = debian13.broker_scripts() if newer else scripts()
        if found is None:
            wish = "python -m services start rabbitmq4, as root" if newer else f"apt-get install {PACKAGE}"
            raise CannotStart(f"RabbitMQ is not installed: {wish}")
        self.folder = folder
        self._newer = newer
        self.log = folder / "rabbitmq.log"
        self.authority = folder / "tls" / "ca.crt"
        self.port = 0
        self.processes: list[Process] = []
        self._scripts = found
        self._secret = folder / "password"
        self._pid_file = folder / "pid"
        self._ports: Sequence[int] = ()

    @property
    def password(self) -> str:
        """Of the user `tally`."""
        return self._secret.read_text()

    def url(self, name: str = "tally") -> str:
        """As `TALLY_INTAKE` takes it."""
        login = f"{USER}:{quote(self.password, safe='')}"
        return f"rabbitmq://{login}@127.0.0.1:{self.port}/{name}?tls=on&ca={quote(str(self.authority))}"

    def connect(self) -> "pika.BlockingConnection":
        """A session of the user `tally`."""
        context = ssl.create_default_context(cafile=str(self.authority))
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1",
                self.port,
                credentials=pika.PlainCredentials(USER, self.password),
                ssl_options=pika.SSLOptions(context, "127.0.0.1"),
                socket_timeout=5,
                blocked_connection_timeout=5,
            )
        )

    def start(self) -> None:
        """Start it, made at the first call; returns when a client could log in. Raises `CannotStart`."""
        if not self._secret.exists():
            self._make()
        self.port = self.port or free_port()
        mapper_port, node_port = self._ports = self._ports or (free_port(), free_port())
        self._write_settings()
        environment = self._environment(mapper_port, node_port)
        # As a child of ours: else the broker starts one that outlives it.
        mapping = self._command("epmd", "-address", "127.0.0.1", "-port", str(mapper_port))
        mapper = spawn(mapping, self.folder, self.log, environment=environment)
        serving = self._command(str(self._scripts / "rabbitmq-server"))
        broker = spawn(serving, self.folder, self.log, environment=environment)
        self.processes = [mapper, broker]
        try:
            wait_ready(broker, self._complaint, self.log)
        except CannotStart:
            kill(self.processes)
            raise

    def stop(self) -> None:
        """Stop it as an administrator would."""
        stop(self.processes)

    def kill(self) -> None:
        """End the broker at once, by kill -9: the shell that waits for it, and Erlang below that."""
        kill([*self._erlang(), *self.processes])

    def pause(self, paused: bool) -> None:
        """Let it stand still, or go on."""
        for process in self._erlang():
            send(process, signal.SIGSTOP if paused else signal.SIGCONT)

    def is_alive(self) -> bool:
        """Whether all of it runs."""
        return bool(self.processes) and all(alive(process) for process in self.processes)

    def control(self, *words: str) -> str:
        """`rabbitmqctl`; 1 s a call. Raises `CannotStart` with what it said."""
        environment = {**os.environ, **self._environment(*self._ports), "HOME": str(self.folder / "home")}
        command = self._command(str(self._scripts / "rabbitmqctl"), *words)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise CannotStart(f"rabbitmqctl {words[0]} failed: {done.stdout.strip()} {done.stderr.strip()}")
        return done.stdout

    def version(self) -> str:
        """As the broker itself says."""
        with closing(self.connect()) as session:
            return str(session._impl.server_properties["version"])

    def _command(self, *words: str) -> list[str]:
        return debian13.inside(words, self.folder) if self._newer else list(words)

    def _erlang(self) -> list[Process]:
        return children(self.processes[1]) if len(self.processes) == 2 else []

    def _make(self) -> None:
        for name in ("home", "mnesia", "log", "generated"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        certificates.make(self.folder / "tls")
        (self.folder / "environment").touch()
        (self.folder / "plugins").write_text("[].\n")
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_urlsafe(24))

    def _write_settings(self) -> None:
        settings = self.folder / "rabbitmq.conf"
        settings.touch(mode=0o600)
        settings.write_text(SETTINGS.format(port=self.port, tls=self.folder / "tls", user=USER, password=self.password))

    def _environment(self, mapper_port: int, node_port: int) -> Mapping[str, str]:
        folder = self.folder
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "HOME": str(folder / "home"),  # Erlang's cookie is written there
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_NODENAME": "tally@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(node_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
            "RABBITMQ_CTL_ERL_ARGS": loopback,
        }

    def _complaint(self) -> str:
        try:
            self.connect().close()
        except (pika.exceptions.AMQPError, OSError) as error:
            return f"{type(error).__name__} {error}"
        return ""


class RabbitMQServer:
    """As `make services` has it."""

    name = "rabbitmq"
    by_default = True

    def packages(self) -> Sequence[str]:
        return [] if scripts() else [PACKAGE]

    def start(self, folder: Path, port: int = 0) -> Running:
        return _running(RabbitMQ(folder), port)


class NewerRabbitMQServer:
    """4.0.5, whose defaults differ where money is; for those who ask, since only root can have it."""

    name = "rabbitmq4"
    by_default = False

    def packages(self) -> Sequence[str]:
        return []

    def start(self, folder: Path, port: int = 0) -> Running:
        debian13.fetch()
        return _running(RabbitMQ(folder, newer=True), port)


def _running(server: RabbitMQ, port: int) -> Running:
    server.port = port
    server.start()
    address = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": USER,
        "password": server.password,
        "authority": str(server.authority),
        "url": server.url(),
    }
    return Running(server.processes, address)


SERVER = RabbitMQServer()
NEWER = NewerRabbitMQServer()
