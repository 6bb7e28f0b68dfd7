"""Kafka in KRaft mode as processes of ours: brokers that are their own controllers, TLS and a password for clients.

One broker, or three that replicate. The jars come from Maven Central by `mvn`, once for all checkouts of a user; only
`make services` fetches them.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services import certificates
from services.server import (
    START_S_MAX,
    CannotStart,
    Process,
    Running,
    alive,
    free_port,
    kill,
    run,
    send,
    spawn,
    stop,
    wait_ready,
    wait_until,
)

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
node.id={number}
controller.quorum.voters={voters}
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
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={sync_min}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={sync_min}
# a killed broker is refused until its old session has ended: 9 s by default
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# of several: a dead one is noticed, and another controller chosen, within a second or two
replica.lag.time.max.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
"""
BROKERS = 3
"""Of a cluster: one may die, and two have each record."""


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


def cluster_id() -> str:
    """22 characters, the first of them no hyphen: as a word of a command line that would be an option."""
    while (id := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return id


@dataclass
class Shared:
    """What the brokers of one cluster have in common: password, certificates, and where each is."""

    folder: Path
    count: int = 1
    port: int = 0
    """Where the first is to be found by clients, and the others where they were; 0: on free ports."""
    id: str = field(default_factory=lambda: cluster_id())
    ports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By a broker's number, its port for clients and the one for controllers. They stay through restarts."""

    def make(self) -> None:
        """Passwords, certificates and ports, at the first call."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ports:
            self.ports = self._known_ports() if self.port else {}
            for number in range(1, self.count + 1):
                first = self.port if number == 1 else 0
                self.ports.setdefault(number, (first or free_port(), free_port()))
            (self.folder / "ports.json").write_text(json.dumps(self.ports))
        if self.secret.exists():
            return
        made = certificates.make(self.folder / "tls")
        self.keystore.touch(mode=0o600)
        self.keystore.write_text("".join(path.read_text() for path in (made.key, made.certificate, made.authority)))
        self.secret.touch(mode=0o600)
        self.secret.write_text(secrets.token_urlsafe(24))

    def _known_ports(self) -> dict[int, tuple[int, int]]:
        kept = self.folder / "ports.json"
        if not kept.exists():
            return {}
        found = {int(number): (ports[0], ports[1]) for number, ports in json.loads(kept.read_text()).items()}
        return found if found.get(1, (0, 0))[0] == self.port else {}

    @property
    def secret(self) -> Path:
        """The password of the user `tally`, for clients and for brokers among each other."""
        return self.folder / "password"

    @property
    def keystore(self) -> Path:
        return self.folder / "keystore.pem"

    @property
    def authority(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    @property
    def hosts(self) -> str:
        """Where clients find one of them."""
        return ",".join(f"127.0.0.1:{port}" for port, _ in self.ports.values())

    @property
    def voters(self) -> str:
        """The controllers, as each broker is told."""
        return ",".join(f"{number}@127.0.0.1:{port}" for number, (_, port) in self.ports.items())

    def url(self, name: str) -> str:
        """As `TALLY_INTAKE` takes it."""
        login = f"{USER}:{quote(self.secret.read_text(), safe='')}"
        return f"kafka://{login}@{self.hosts}/{name}?tls=on&ca={quote(str(self.authority))}"

    def client_settings(self, hosts: str) -> dict[str, str]:
        """For a client of librdkafka's."""
        return {
            "bootstrap.servers": hosts,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority),
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": USER,
            "sasl.password": self.secret.read_text(),
        }


class Kafka:
    """One broker in one folder. Not safe for concurrent calls."""

    def __init__(self, folder: Path, shared: Shared | None = None, number: int = 1) -> None:
        """Alone unless `shared` with others. Raises `CannotStart` without java or the jars."""
        if not shutil.which("java") or not has_jars():
            raise CannotStart("Kafka's jars or java are not here: make services fetches them")
        self.folder = folder
        self.number = number
        self.log = folder / "kafka.log"
        self.process: Process | None = None
        self._shared = shared or Shared(folder)
        self._settings = folder / "server.properties"

    @property
    def port(self) -> int:
        """Where clients find it; 0 before the first start."""
        return self._shared.ports.get(self.number, (0, 0))[0]

    @property
    def authority(self) -> Path:
        """The certificate that its own is checked by."""
        return self._shared.authority

    @property
    def password(self) -> str:
        """Of the user `tally`."""
        return self._shared.secret.read_text()

    def url(self, name: str = "tally") -> str:
        """As `TALLY_INTAKE` takes it."""
        return self._shared.url(name)

    def client_settings(self) -> dict[str, str]:
        """For a client of librdkafka's."""
        return self._shared.client_settings(f"127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start it, made at the first call; returns when a logged-in client got an answer. Raises `CannotStart`."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start it, and do not wait: one of several has nothing to say before others are there."""
        self._shared.make()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_settings()
        if not (self.folder / "data").exists():
            self._format()
        alone = self._shared.count == 1
        heap = "-Xms256m -Xmx512m" if alone else "-Xms192m -Xmx384m"
        options = [*heap.split(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command = ["java", *options, "-cp", f"{jars()}/*", "kafka.Kafka", str(self._settings)]
        # The last of three waits, when told to end in order, for a controller that has gone before it.
        how = signal.SIGTERM if alone else signal.SIGKILL
        self.process = spawn(command, self.folder, self.log, stop_signal=how)

    def wait_ready(self) -> None:
        """Return when it knows all brokers that it should. Raises `CannotStart`."""
        assert self.process is not None
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

    def _write_settings(self) -> None:
        port, controller = self._shared.ports[self.number]
        self._settings.touch(mode=0o600)
        self._settings.write_text(
            SETTINGS.format(
                number=self.number,
                voters=self._shared.voters,
                port=port,
                controller=controller,
                user=USER,
                password=self.password,
                keystore=self._shared.keystore,
                authority=self.authority,
                logs=self.folder / "data",
                replicas=self._shared.count,
                sync_min=min(2, self._shared.count),
            )
        )

    def _format(self) -> None:
        login = f"SCRAM-SHA-256=[name={USER},password={self.password}]"
        command = ["java", "-Xmx128m", "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format"]
        run([*command, "-t", self._shared.id, "-c", str(self._settings), "--add-scram", login], self.folder)

    def _complaint(self) -> str:
        try:
            known = AdminClient({**self.client_settings(), "log_level": 0}).list_topics(timeout=2)
        except KafkaException as error:
            return str(error)
        return "" if self.number in known.brokers else "the broker is not registered yet"


class KafkaCluster:
    """Three brokers below one folder, each a controller, too. Not safe for concurrent calls."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        """With a `port`, the first broker's, all are where they were. Raises `CannotStart` without java or jars."""
        self.folder = folder
        self.shared = Shared(folder, BROKERS, port)
        self.brokers = [Kafka(folder / str(number), self.shared, number) for number in range(1, BROKERS + 1)]

    def url(self, name: str = "tally") -> str:
        """As `TALLY_INTAKE` takes it."""
        return self.shared.url(name)

    def client_settings(self) -> dict[str, str]:
        """For a client of librdkafka's."""
        return self.shared.client_settings(self.shared.hosts)

    def start(self) -> None:
        """Start those that do not run; returns when each is registered. Raises `CannotStart`, and kills all."""
        waiting = [broker for broker in self.brokers if not broker.is_alive()]
        try:
            for broker in waiting:
                broker.begin()
            for broker in waiting:
                broker.wait_ready()
        except CannotStart:
            self.kill()
            raise

    def leader(self, topic: str, partition: int = 0) -> Kafka:
        """The broker that takes the partition's records. Raises `CannotStart` if there is none within a while."""
        found: list[Kafka] = []

        def known() -> bool:
            with suppress(KafkaException):
                told = AdminClient({**self.client_settings(), "log_level": 0}).list_topics(topic, timeout=2)
                leader = told.topics[topic].partitions[partition].leader
                found.extend(broker for broker in self.brokers if broker.number == leader and broker.is_alive())
            return bool(found)

        wait_until(known, START_S_MAX, f"{topic} has no leader")
        return found[0]

    def wait_in_sync(self, topic: str) -> None:
        """Return once each broker has all records of the topic. Raises `CannotStart`."""

        def whole() -> bool:
            with suppress(KafkaException):
                told = AdminClient({**self.client_settings(), "log_level": 0}).list_topics(topic, timeout=2)
                return all(len(each.isrs) == BROKERS for each in told.topics[topic].partitions.values())
            return False

        wait_until(whole, START_S_MAX, f"{topic} is not in sync")

    def kill(self) -> None:
        """End all of it at once, by kill -9. The last of three does not end in order."""
        kill(self._processes())

    def is_alive(self) -> bool:
        """Whether every broker runs."""
        return all(broker.is_alive() for broker in self.brokers)

    def _processes(self) -> list[Process]:
        return [broker.process for broker in self.brokers if broker.process]


class KafkaServer:
    """As `make services` has it."""

    name = "kafka"
    by_default = True

    def packages(self) -> Sequence[str]:
        return [package for command, package in PROGRAMS.items() if not shutil.which(command)]

    def start(self, folder: Path, port: int = 0) -> Running:
        fetch_jars()
        server = Kafka(folder, Shared(folder, port=port))
        server.start()
        assert server.process is not None
        return Running([server.process], _address(server.port, server.password, server.authority, server.url()))


class KafkaClusterServer:
    """Three brokers, for those who ask for them: they take 1 GB of memory."""

    name = "kafka-cluster"
    by_default = False
    count = BROKERS

    def packages(self) -> Sequence[str]:
        return SERVER.packages()

    def start(self, folder: Path, port: int = 0) -> Running:
        fetch_jars()
        cluster = KafkaCluster(folder, port)
        cluster.start()
        first = cluster.brokers[0]
        processes = [broker.process for broker in cluster.brokers if broker.process]
        return Running(processes, _address(first.port, first.password, first.authority, cluster.url()))

    def start_one(self, folder: Path, processes: Sequence[Process], number: int) -> Process:
        first_port, _ = json.loads((folder / "ports.json").read_text())["1"]
        broker = KafkaCluster(folder, first_port).brokers[number - 1]
        broker.start()
        assert broker.process is not None
        return broker.process

    def promote(self, folder: Path, processes: Sequence[Process], number: int) -> None:
        raise CannotStart("brokers choose their leaders themselves")


def _address(port: int, password: str, authority: Path, url: str) -> dict[str, str | int]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "user": USER,
        "password": password,
        "authority": str(authority),
        "url": url,
    }


SERVER = KafkaServer()
CLUSTER = KafkaClusterServer()
