"""A tenant moves with what services keep for it: text that came with payments, in files or in a database."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tallystick import ids
from tallystick.client.synchronous import Client
from tallystick.lab import on_postgresql
from tallystick.lab.instance import Instance
from tests.e2e.shards.platforms import Tenants, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["files", "postgresql"])
def tenants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with ExitStack() as stack:
        services = "files"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgresql_url")
            services = stack.enter_context(on_postgresql.database(url, tables=False))
        settings = {"shards": 2, "accounts_max": 100_000, "services": services, "webhook_loopback": True}
        folder = tmp_path_factory.mktemp("platform") / "data"
        made = Tenants(stack.enter_context(Instance(folder, settings=settings)), {"services": services})
        made.open(1)
        yield made


def test_text_and_statement_go_along(tenants: Tenants) -> None:
    tenants.new(20)
    paid = transfer(1, 5, metadata={"memo": "for the shop"}, metadata_person="ann")
    assert tenants.ask(20, "POST", "/v1/transfers", paid)[0] == 201
    lines = tenants.wait_statement(20, 2)
    _, told = tenants.ask(20, "GET", f"/v1/accounts/{ids.show(2)}/statement")
    commitment = told["lines"][-1]["metadata_commitment"]
    with Client(tenants.instance.url, tenants.keys[20]) as client:
        text = client.find_text(commitment)
        assert text is not None

        assert tenants.move(20, 1).to == 1

        assert client.find_text(commitment) == text
    assert tenants.wait_statement(20, 2) == lines
    assert tenants.ask(20, "POST", "/v1/transfers", transfer(2, 7))[0] == 201
    assert len(tenants.wait_statement(20, 3)) == 3
    found, _ = tenants.ask(20, "GET", f"/v1/accounts/{ids.show(1)}")
    assert found == 200
