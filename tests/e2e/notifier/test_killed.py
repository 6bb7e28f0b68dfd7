"""The notifier's process is killed, again and again, while payments are made: each is told of, under one id."""

import random
import threading

import pytest

from tallystick import Account, Ledger, Transfer
from tallystick.webhooks.asking import Operation
from tests.e2e.notifier.running import NotifierProcess, Receiver, ask, eventually

SMALL = {"accounts_max": 1_000, "window_ids": 65_536, "segment_bytes": 8_388_608}
KILLS, PAYMENTS = 6, 150
PAIR = {"debit_account_id": 1, "credit_account_id": 2, "ledger": 1, "code": 1}


@pytest.fixture(params=["files", "postgresql"])
def services(request):
    return request.param if request.param == "files" else request.getfixturevalue("database")


@pytest.mark.service
def test_a_notifier_that_is_killed_again_and_again_tells_of_every_payment_under_one_id(tmp_path, services):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with (
        Ledger.open(tmp_path, **SMALL) as ledger,
        Receiver() as receiver,
        NotifierProcess(tmp_path, services=services) as notifier,
    ):
        ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2)])
        made = ask(
            tmp_path,
            Operation.MAKE,
            body={"url": receiver.url, "types": ["transfer.*"]},
            request_id=(1).to_bytes(16),
        )
        receiver.key = made["key"]
        paid = []
        for _ in range(KILLS):
            ids = [len(paid) + number + 1 for number in range(PAYMENTS)]
            ledger.create_transfers([Transfer(id=number, amount=number, **PAIR) for number in ids])
            paid += ids
            threading.Event().wait(chance.uniform(0, 0.3))
            notifier.kill()
            notifier.start()
        told = lambda: {int(body["data"]["transfer_id"], 16) for _, body in list(receiver.got)}  # noqa: E731
        eventually(lambda: told() == set(paid))
        by_position = {}
        for webhook_id, body in list(receiver.got):
            by_position.setdefault(body["data"]["position"], set()).add((webhook_id, str(body)))
        assert all(len(each) == 1 for each in by_position.values()), f"seed {seed}: one id, one body, an entry"
        assert len(by_position) == len(paid), f"seed {seed}"
        assert receiver.refused == 0
        fields = {"subscription": int(made["id"], 16).to_bytes(16)}
        eventually(lambda: ask(tmp_path, Operation.GET, **fields)["waiting"] == 0)
        found = ask(tmp_path, Operation.GET, **fields)
        assert found["enabled"]
        dead = ask(tmp_path, Operation.DELIVERIES, state="dead", limit=1, **fields)
        assert dead["deliveries"] == []
