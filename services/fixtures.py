"""pytest's way to real servers: `tests/conftest.py` takes these in.

A server that `make services` started is used; else one is started for the session, and stopped after it. Where neither
is possible the tests are skipped, and say so. Nothing is installed from here.
"""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from services import addresses
from services.grounds import Network, SmallDisk
from services.kafka import Kafka, KafkaCluster
from services.postgresql import PostgreSQL
from services.rabbitmq import RabbitMQ
from services.server import CannotStart, alive, kill


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own: PostgreSQL runs as one where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_url(services_folder: Path) -> Iterator[str]:
    """Of a running PostgreSQL, as superuser. Make a database of your own: others use the server, too."""
    kept = addresses.read(addresses.default_folder()).get("postgresql")
    if kept and all(alive(process) for process in kept.processes):
        yield str(kept.address["url"])
        return
    server = _started(services_folder / "postgresql")
    yield server.url()
    server.stop()


@pytest.fixture
def database(postgresql_url: str) -> Iterator[str]:
    """The URL of an empty database, of this test alone, as superuser."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute(f"create database {name}")
    yield postgresql_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute(f"drop database {name} with (force)")


@pytest.fixture
def own_postgresql(services_folder: Path) -> Iterator[Callable[[], PostgreSQL]]:
    """Starts a PostgreSQL that a test may kill, and add standbys to; below a folder of its own, all ended after it."""
    with ExitStack() as stack:

        def start() -> PostgreSQL:
            folder = Path(tempfile.mkdtemp(dir=services_folder))
            folder.chmod(0o711)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            server = _started(folder / "primary")
            stack.callback(_end, server)
            return server

        yield start


@pytest.fixture(scope="session")
def kafka_url(services_folder: Path) -> Iterator[str]:
    """Of a running Kafka, as `TALLY_INTAKE` takes it. Replace `/tally?` by a name of your own."""
    kept = addresses.read(addresses.default_folder()).get("kafka")
    if kept and all(alive(process) for process in kept.processes):
        yield str(kept.address["url"])
        return
    server = _up(lambda: Kafka(services_folder / "kafka"), "Kafka")
    yield server.url()
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url(services_folder: Path) -> Iterator[str]:
    """Of a running RabbitMQ, as `TALLY_INTAKE` takes it. Replace `/tally?` by a name of your own."""
    kept = addresses.read(addresses.default_folder()).get("rabbitmq")
    if kept and all(alive(process) for process in kept.processes):
        yield str(kept.address["url"])
        return
    server = _up(lambda: RabbitMQ(services_folder / "rabbitmq"), "RabbitMQ")
    yield server.url()
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq4_url(services_folder: Path) -> Iterator[str]:
    """As `rabbitmq_url`, of a 4.0.5."""
    kept = addresses.read(addresses.default_folder()).get("rabbitmq4")
    if kept and all(alive(process) for process in kept.processes):
        yield str(kept.address["url"])
        return
    server = _up(lambda: RabbitMQ(services_folder / "rabbitmq4", newer=True), "RabbitMQ 4")
    yield server.url()
    server.stop()


@pytest.fixture(scope="module")
def own_kafka(services_folder: Path) -> Iterator[Kafka]:
    """A Kafka that the tests of a module may kill, and start again."""
    server = _up(lambda: Kafka(Path(tempfile.mkdtemp(dir=services_folder))), "Kafka")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def kafka_cluster(services_folder: Path) -> Iterator[KafkaCluster]:
    """Three Kafka brokers that the tests of a module may kill, and start again."""
    cluster = _up(lambda: KafkaCluster(Path(tempfile.mkdtemp(dir=services_folder))), "Kafka")
    yield cluster
    cluster.kill()


@pytest.fixture(scope="module")
def own_rabbitmq(services_folder: Path) -> Iterator[RabbitMQ]:
    """A RabbitMQ that the tests of a module may kill, and start again."""
    server = _up(lambda: RabbitMQ(Path(tempfile.mkdtemp(dir=services_folder))), "RabbitMQ")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def own_rabbitmq4(services_folder: Path) -> Iterator[RabbitMQ]:
    """A RabbitMQ 4.0.5 that the tests of a module may kill, and start again."""
    server = _up(lambda: RabbitMQ(Path(tempfile.mkdtemp(dir=services_folder)), newer=True), "RabbitMQ 4")
    yield server
    server.kill()


@pytest.fixture
def small_disk(services_folder: Path) -> Iterator[SmallDisk]:
    """A file system of 600 MB that a test may fill."""
    try:
        disk = SmallDisk(Path(tempfile.mkdtemp(dir=services_folder)), 600_000_000)
    except CannotStart as error:
        pytest.skip(f"SKIPPED, no disk to be filled here: {error}")
    with disk:
        yield disk


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of its own that a test may cut."""
    try:
        network = Network()
    except CannotStart as error:
        pytest.skip(f"SKIPPED, no network to be cut here: {error}")
    with network:
        yield network


_Broker = TypeVar("_Broker", Kafka, KafkaCluster, RabbitMQ)


def _up(make: Callable[[], _Broker], name: str) -> _Broker:
    try:
        server = make()
        server.start()
    except CannotStart as error:
        pytest.skip(f"SKIPPED, no {name} here: {error}")
    return server


def _started(folder: Path) -> PostgreSQL:
    try:
        server = PostgreSQL(folder)
        server.start()
    except CannotStart as error:
        pytest.skip(f"SKIPPED, no PostgreSQL here: {error}")
    return server


def _end(server: PostgreSQL) -> None:
    for each in (*server.standbys, server):
        with suppress(CannotStart):
            if each.process:
                kill([each.process])
