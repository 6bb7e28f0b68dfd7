"""Shards whose journals stand in one PostgreSQL and whose intakes are queues of one broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.compose import directing, moving
from tallystick.gateway.sharding import RECHECK_S
from tallystick.lab.instance import Instance, pause
from tallystick.lab.onserver import engines
from tests.e2e.shards.platforms import HERE, THERE, Platform

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


@pytest.fixture(params=["kafka_url", "rabbitmq_url"])
def platform(request: pytest.FixtureRequest, postgresql_url: str, tmp_path: Path) -> Iterator[Platform]:
    with (
        engines(postgresql_url, request.getfixturevalue(request.param)) as settings,
        Instance(tmp_path / "data", settings={"shards": 2, "accounts_max": 10_000, **settings}) as instance,
    ):
        made = Platform(instance, settings)
        assert directing.add(made.settings, THERE, 1) == 1
        for tenant in (HERE, THERE):
            made.open(tenant)
        made.wait_notifiers()
        yield made


def test_tenants_live_apart_outlive_their_engine_and_move(platform: Platform) -> None:
    platform.pay(HERE, 1, 5)
    first = platform.pay(THERE, 1, 7, key := "a" * 32)
    platform.instance.kill("engine@1")
    assert platform.pay(THERE, 1, 7, key) == first
    platform.pay(THERE, 2, 11)
    assert (platform.received(HERE), platform.received(THERE)) == (5, 18)

    done = moving.move(platform.settings, THERE, 0, lambda done, total: None)

    pause(2 * RECHECK_S)  # gateways read the directory so often
    assert (done.source, done.to) == (1, 0)
    assert platform.pay(THERE, 1, 7, key) == first
    platform.pay(THERE, 3, 13)
    assert (platform.received(HERE), platform.received(THERE)) == (5, 31)
