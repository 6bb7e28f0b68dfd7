"""A payment's whole walk, by `tally up`, with its intake on a real broker."""

import secrets
import time

import pytest

from tallystick import ids
from tallystick.lab.instance import Instance
from tallystick.lab.plan import CODE, LEDGER

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

WORLD, ALICE = 1, 2


@pytest.fixture(params=["kafka", "rabbitmq", "rabbitmq4"])
def intake(request):
    url = request.getfixturevalue(f"{request.param}_url")
    return url.replace("/tally?", f"/walk{secrets.token_hex(4)}?")


def pay(instance, api, amount, key):
    body = {"debit_account_id": ids.show(WORLD), "credit_account_id": ids.show(ALICE), "amount": str(amount)}
    return instance.settle(api, "/v1/transfers", {**body, "ledger": LEDGER, "code": CODE}, key)


def test_payments_walk_the_whole_way_and_are_decided_once_through_kills_of_every_process(tmp_path, intake):
    with Instance(tmp_path / "data", settings={"intake": intake, "followers": ""}) as instance:
        instance.open_accounts([WORLD, ALICE], limited=False)
        api = instance.api()
        keys = [ids.show(ids.time_ordered(time.time_ns(), secrets.token_bytes)) for _ in range(30)]
        for count, key in enumerate(keys):
            assert pay(instance, api, 1, key).status == 201
            if count in (10, 20):
                instance.kill("engine" if count == 10 else "gateway")
        for key in keys[::7]:
            assert pay(instance, api, 1, key).status == 201  # told again, not paid again
        assert instance.balances([ALICE])[ALICE][1] == len(keys)
        api.close()
        assert instance.stop() == 0
