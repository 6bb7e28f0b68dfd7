"""A broker that stands still between confirming a payment and giving it, while its tenant moves (ADR 0016)."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from services.kafka import Kafka
from tallystick import ids
from tallystick.compose import directing
from tallystick.lab.instance import Instance, pause
from tallystick.lab.onserver import engines
from tests.e2e.shards.platforms import Tenants, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
TENANT = 20


@pytest.fixture
def tenants(own_kafka: Kafka, tmp_path: Path) -> Iterator[Tenants]:
    with (
        engines("files", own_kafka.url("payments")) as settings,
        Instance(tmp_path / "data", settings={"shards": 2, "accounts_max": 10_000, **settings}) as instance,
    ):
        made = Tenants(instance, settings)
        made.new(TENANT)
        made.wait_notifiers()
        yield made


def test_what_was_acknowledged_is_decided_before_its_tenant_leaves(tenants: Tenants, own_kafka: Kafka) -> None:
    assert directing.add(tenants.settings, TENANT, 0) == 0
    with tenants.instance.stopped("engine"), closing(tenants.api(TENANT)) as api:
        pause(0.5)  # what the engine asked of the broker last was answered: there was nothing
        headers = {"idempotency-key": ids.show(5), "prefer": "respond-async"}
        assert api.ask("POST", "/v1/transfers", msgspec.json.encode(transfer(1, 5)), headers).status == 202
        own_kafka.pause(True)
    moving = threading.Thread(target=tenants.move, args=(TENANT, 1))
    moving.start()
    pause(2.0)
    own_kafka.pause(False)
    moving.join()
    for account, credited in ((1, "0"), (2, "5")):
        status, told = tenants.ask(TENANT, "GET", f"/v1/accounts/{ids.show(account)}")
        assert (status, told["credits_posted"]) == (200, credited)
    assert tenants.ask(TENANT, "GET", f"/v1/transfers/{ids.show(1)}")[0] == 200
