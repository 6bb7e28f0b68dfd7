"""Kafka in KRaft mode as a process of ours: one broker that is its own controller, TLS and a password for clients.

The jars come from Maven Central by `mvn`, once for all checkouts of a user; only `make services` fetches them.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services import certificates
from services.server import CannotStart, Process, Running, alive, free_port, kill, run, send, spawn, stop, wait_ready

VERSION = "4.3.1"
USER = "tally"
PROGRAMS = {"java": "default-jre-headless", "mvn": "maven"}
"""Commands, and what Debian calls the packages that have them."""
PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tallystick</groupId><artifactId>kafka-server</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
listener.name.clients.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{user}" password="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# a killed broker is refused until its old session has ended: 9 s by default
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


def jars() -> Path:
    """The folder of the jars of this version, there or not; one for all checkouts of a user."""
    return Path(tempfile.gettempdir()) / f"tallystick-kafka-{VERSION}-{os.getuid()}"


def has_jars() -> bool:
    """Whether they are there, and ours: anybody may make folders beside it."""
    return jars().exists() and jars().stat().st_uid == os.getuid()


def fetch_jars() -> None:
    """Have `mvn` copy them there. Raises `CannotStart`."""
    if has_jars():
        return
    scratch = jars().with_suffix(".fetching")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / "pom.xml").write_text(PROJECT)
    copying = "dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs"
    done = subprocess.run(
        ["mvn", "-B", "-q", *copying.split()], cwd=scratch, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise CannotStart(f"Kafka's jars could not be had: {(done.stdout + done.stderr).strip()[-500:]}")
    (scratch / "libs").rename(jars())
    shutil.rmtree(scratch)


class Kafka:
    """One broker in one folder. Not safe for concurrent calls."""

    def __init__(self, folder: Path) -> None:
        """Raises `CannotStart` without java or the jars."""
        if not shutil.which("java") or not has_jars():
            raise CannotStart("Kafka's jars or java are not here: make services fetches them")
        self.folder = folder
        self.log = folder / "kafka.log"
        self.authority = folder / "tls" / "ca.crt"
        self.port = 0
        self.process: Process | None = None
        self._secret = folder / "password"
        self._settings = folder / "server.properties"
        self._controller_port = 0

    @property
    def password(self) -> str:
        """Of the user `tally`."""
        return self._secret.read_text()

    def url(self, name: str = "tally") -> str:
        """As `TALLY_INTAKE` takes it."""
        login = f"{USER}:{quote(self.password, safe='')}"
        return f"kafka://{login}@127.0.0.1:{self.port}/{name}?tls=on&ca={quote(str(self.authority))}"

    def client_settings(self) -> dict[str, str]:
        """For a client of librdkafka's."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.port}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority),
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": USER,
            "sasl.password": self.password,
        }

    def start(self) -> None:
        """Start it, made at the first call; returns when a logged-in client got an answer. Raises `CannotStart`."""
        made = self._settings.exists()
        if not made:
            self._make_secrets()
        self.port, self._controller_port = self.port or free_port(), self._controller_port or free_port()
        self._write_settings()
        if not (self.folder / "data").exists():
            self._format()
        heap = "-Xms256m -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        command = ["java", *heap.split(), "-cp", f"{jars()}/*", "kafka.Kafka", str(self._settings)]
        self.process = spawn(command, self.folder, self.log)
        wait_ready(self.process, self._complaint, self.log)

    def stop(self) -> None:
        """Stop it as an administrator would."""
        if self.process:
            stop([self.process])

    def kill(self) -> None:
        """End it at once, by kill -9."""
        if self.process:
            kill([self.process])

    def pause(self, paused: bool) -> None:
        """Let it stand still, or go on."""
        assert self.process is not None
        send(self.process, signal.SIGSTOP if paused else signal.SIGCONT)

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and alive(self.process)

    def _make_secrets(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_urlsafe(24))
        made = certificates.make(self.folder / "tls")
        keystore = self.folder / "keystore.pem"
        keystore.touch(mode=0o600)
        keystore.write_text("".join(path.read_text() for path in (made.key, made.certificate, made.authority)))

    def _write_settings(self) -> None:
        self._settings.touch(mode=0o600)
        self._settings.write_text(
            SETTINGS.format(
                port=self.port,
                controller=self._controller_port,
                user=USER,
                password=self.password,
                keystore=self.folder / "keystore.pem",
                authority=self.authority,
                logs=self.folder / "data",
            )
        )

    def _format(self) -> None:
        login = f"SCRAM-SHA-256=[name={USER},password={self.password}]"
        id = secrets.token_urlsafe(16)
        command = ["java", "-Xmx128m", "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format", "-t", id]
        run([*command, "-c", str(self._settings), "--add-scram", login], self.folder)

    def _complaint(self) -> str:
        try:
            known = AdminClient({**self.client_settings(), "log_level": 0}).list_topics(timeout=2)
        except KafkaException as error:
            return str(error)
        return "" if known.brokers else "no broker is registered yet"


class KafkaServer:
    """As `make services` has it."""

    name = "kafka"

    def packages(self) -> Sequence[str]:
        return [package for command, package in PROGRAMS.items() if not shutil.which(command)]

    def start(self, folder: Path, port: int = 0) -> Running:
        fetch_jars()
        server = Kafka(folder)
        server.port = port
        server.start()
        assert server.process is not None
        address = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": USER,
            "password": server.password,
            "authority": str(server.authority),
            "url": server.url(),
        }
        return Running([server.process], address)


SERVER = KafkaServer()
