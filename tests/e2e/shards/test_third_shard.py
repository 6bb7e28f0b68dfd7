"""A move that was cut off when its tenant had arrived can be finished, and neither called off nor sent elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.compose import directing, moving
from tallystick.errors import Invalid, Unavailable
from tallystick.lab.instance import Instance
from tallystick.records.placements import Home
from tests.e2e.shards.platforms import Tenants, transfer

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
TENANT = 20


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[Tenants]:
    with Instance(tmp_path / "data", settings={"shards": 3, "accounts_max": 10_000, "followers": ""}) as instance:
        made = Tenants(instance, {"shards": 3, "followers": ""})
        made.new(TENANT)
        yield made


def test_who_has_arrived_goes_nowhere_else_before_the_move_is_finished(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tenants.ask(TENANT, "POST", "/v1/transfers", transfer(1, 5))[0] == 201
    place = directing.Engine.place

    def cut(engine: directing.Engine, tenant: int, home: Home) -> None:
        place(engine, tenant, home)
        if home == Home(1):
            raise Unavailable("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(directing.Engine, "place", cut)
        with pytest.raises(Unavailable, match="cut off"):
            moving.move(tenants.settings, TENANT, 1, lambda done, total: None)
    for elsewhere in (2, 0):
        with pytest.raises(Invalid, match="is in shard 1 already"):
            tenants.move(TENANT, elsewhere)
    assert tenants.ask(TENANT, "POST", "/v1/transfers", transfer(2, 1))[0] == 503
    assert tenants.move(TENANT, 1).to == 1
    assert tenants.ask(TENANT, "POST", "/v1/transfers", transfer(2, 1))[0] == 201
    assert tenants.move(TENANT, 2).to == 2
    assert tenants.balances(TENANT)[1][1]["credits_posted"] == "6"
