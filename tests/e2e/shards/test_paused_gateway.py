"""A gateway that is stopped between its look at the directory and its append, while the tenant moves (ADR 0016)."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from tallystick import ids
from tallystick.blockfile.disk import SystemDisk
from tallystick.compose import texts
from tallystick.compose.journals import Place
from tallystick.lab.instance import Instance, pause
from tallystick.records.commands import Kind
from tallystick.records.entries import WORK
from tests.e2e.shards.platforms import Tenants, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    settings = {"shards": 2, "accounts_max": 100_000}
    with Instance(tmp_path_factory.mktemp("platform") / "data", settings=settings) as instance:
        made = Tenants(instance)
        made.open(1)
        made.wait_notifiers()
        yield made


class Asked:
    """A POST in a thread of its own."""

    def __init__(self, tenants: Tenants, tenant: int, body: object, key: str, prefer: str) -> None:
        self._api = tenants.api(tenant)
        self._body, self._headers = msgspec.json.encode(body), {"idempotency-key": key, "prefer": prefer}
        self.status, self.detail = 0, ""
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        answer = self._api.ask("POST", "/v1/transfers", self._body, self._headers)
        self.status, self.detail = answer.status, str(msgspec.json.decode(answer.body).get("detail"))

    def done(self) -> tuple[int, str]:
        self._thread.join(60)
        self._api.close()
        return self.status, self.detail


@pytest.mark.parametrize("prefer", ["respond-async", "wait=1"])
def test_what_it_acknowledges_is_decided_and_what_is_sent_again_is_decided_once(tenants: Tenants, prefer: str) -> None:
    tenant = 60 + len(prefer)
    tenants.new(tenant)
    first = transfer(1, 5, metadata={"memo": "first"}, metadata_person="ann")
    assert tenants.ask(tenant, "POST", "/v1/transfers", first)[0] == 201
    late, key = transfer(2, 7, metadata={"memo": "late"}, metadata_person="ann"), ids.show(0xF00D00 + tenant)
    # Its text waits for this lock: behind the look at the directory, before the append.
    with closing(sqlite3.connect(tenants.settings.path(*texts.PLACE), isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        asked = Asked(tenants, tenant, late, key, prefer)
        wait_for_text(tenants)
        with tenants.instance.stopped("gateway"):
            tenants.move(tenant, 1)
            lock.execute("ROLLBACK")
        status, detail = asked.done()
    assert status == 503  # neither 202, which would not be kept, nor a refusal
    assert "to another shard" in detail
    assert appended_late(tenants, tenant) == 0
    for _ in range(2):
        assert tenants.ask(tenant, "POST", "/v1/transfers", late, key)[0] == 201
    assert tenants.balances(tenant)[1][1]["credits_posted"] == "12"


def wait_for_text(tenants: Tenants) -> None:
    """Until the gateway has taken up what it was sent: it answers another one, that came later, on the same loop."""
    pause(0.2)
    for _ in range(2):
        assert tenants.ask(1, "GET", f"/v1/accounts/{ids.show(1)}")[0] == 200


def appended_late(tenants: Tenants, tenant: int) -> int:
    """Entries in the old shard's journal for the transfer that came too late."""
    reader = Place.of(tenants.settings).reader(SystemDisk())
    with closing(reader):
        return sum(
            int(((rows["tenant"] == tenant) & (rows["kind"] == Kind.TRANSFER) & (rows["event"][:, 0] == 2)).sum())
            for rows in (block.entries.view(WORK) for block in reader.read(0))
        )
