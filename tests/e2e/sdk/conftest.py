"""One running instance for all tests of the SDK, of payments and of the examples."""

from collections.abc import Callable, Iterator

import pytest

from tallystick.client import AsyncClient, Client, NewAccount
from tallystick.clock import system_entropy
from tallystick.lab.instance import Instance

LEDGER, CODE = 978, 1


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    # A short wait, so that outcomes become unknown soon; small bodies, so that bundles meet the limit.
    settings = {"wait_s": 0.2, "body_bytes_max": 65_536, "accounts_max": 10_000}
    with Instance(tmp_path_factory.mktemp("sdk") / "data", settings=settings) as running:
        yield running


@pytest.fixture
def client(instance: Instance) -> Iterator[Client]:
    with Client(instance.url, instance.key) as client:
        yield client


@pytest.fixture
def asynchronous(instance: Instance) -> Callable[..., AsyncClient]:
    def make(**changes: object) -> AsyncClient:
        return AsyncClient(instance.url, instance.key, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def opened(client: Client) -> Callable[..., str]:
    """Opens an account of the test's own, with these flags and this much on it; returns its id."""

    def open_account(*flags: str, funded: int = 0) -> str:
        id = system_entropy(16).hex()
        assert client.open_account(NewAccount(id=id, ledger=LEDGER, code=CODE, flags=list(flags))).done
        if funded:
            assert client.pay(open_account(), id, funded, ledger=LEDGER, code=CODE).done
        return id

    return open_account


def metric(instance: Instance, name: str) -> float:
    """A number of the gateway's metrics, summed over labels that `name` leaves open."""
    api = instance.api()
    text = api.ask("GET", "/metrics").body.decode()
    api.close()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def bundles_answered(instance: Instance) -> Callable[[], float]:
    return lambda: metric(instance, 'tally_gateway_answers_total{route="bundles"')


@pytest.fixture
def payments_answered(instance: Instance) -> Callable[[], float]:
    return lambda: metric(instance, 'tally_gateway_answers_total{route="transfers"')


@pytest.fixture
def statuses_asked(instance: Instance) -> Callable[[], float]:
    return lambda: metric(instance, 'tally_gateway_answers_total{route="request"')
