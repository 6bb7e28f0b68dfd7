"""`tally up` with a relay to a real broker: everything arrives, whatever is killed, and payments do not know of it."""

import secrets
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pika
import pytest

from tallystick import ids
from tallystick.blockfile.disk import SystemDisk
from tallystick.brokers import rabbitmq
from tallystick.brokers.address import parse
from tallystick.brokers.kafka import client_settings
from tallystick.journal import progress
from tallystick.lab.instance import Instance
from tallystick.lab.plan import CODE, LEDGER
from tests.faults.brokers.receiving import positions_told, read_queue, read_topic, taken_once

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

WORLD, ALICE = 1, 2
SETTLE_S = 2.0


@pytest.fixture(params=["kafka", "rabbitmq"])
def outlet(request):
    """An outlet of its own: its URL, and how to read all that it was sent."""
    name = f"relay.{secrets.token_hex(4)}"
    url = request.getfixturevalue(f"{request.param}_url").replace("/tally?", f"/{name}?")
    address = parse(url, "TALLY_RELAY", marks="-_.")
    if request.param == "kafka":
        broker = SimpleNamespace(client_settings=lambda: client_settings(address))
        return SimpleNamespace(url=url, read=lambda: [event for *_, event in read_topic(broker, name)])
    broker = SimpleNamespace(connect=lambda: pika.BlockingConnection(rabbitmq.parameters(address)))
    with closing(broker.connect()) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "topic", durable=True)
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(name, name, "#")
        connection.sleep(SETTLE_S)
    return SimpleNamespace(url=url, read=lambda: [event for *_, event in read_queue(broker, name)])


def pay(instance, api, count):
    for _ in range(count):
        body = {"debit_account_id": ids.show(WORLD), "credit_account_id": ids.show(ALICE), "amount": "1"}
        key = ids.show(ids.time_ordered(time.time_ns(), secrets.token_bytes))
        assert instance.settle(api, "/v1/transfers", {**body, "ledger": LEDGER, "code": CODE}, key).status == 201


def wait_level(instance, journal, seconds=90.0):
    """Until the relay says that it lacks nothing."""
    waiting, until = threading.Event(), time.monotonic() + seconds
    while (said := progress.read(instance.folder / "run").get("relay")) is None or said.next_seq < journal.end():
        assert time.monotonic() < until, f"the relay is not level: {said}\n{instance.log_path.read_text()[-2000:]}"
        waiting.wait(0.05)


def test_everything_arrives_once_and_in_order_through_kills_of_the_relay(tmp_path, outlet):
    with Instance(tmp_path / "data", settings={"relay": outlet.url, "followers": ""}) as instance:
        instance.open_accounts([WORLD, ALICE], limited=False)
        journal = instance.place.reader(SystemDisk())
        api = instance.api()
        for round_ in range(6):
            pay(instance, api, 1 + secrets.randbelow(12))
            instance.kill("relay" if round_ % 3 else "engine", within_s=30)
        pay(instance, api, 5)
        wait_level(instance, journal)
        found = outlet.read()
        assert taken_once(found) == positions_told(journal)
        assert {event["type"] for event in found} == {"tallystick.account.opened", "tallystick.transfer.created"}
        metrics = api.ask("GET", "/metrics").body.decode()
        assert 'tally_follower_lag_entries{follower="relay"} 0.0' in metrics
        assert "tally_relay_events_total" in metrics
        api.close()
        journal.close()
        assert instance.stop() == 0


@pytest.mark.parametrize("scheme", ["kafka", "rabbitmq"])
def test_a_broker_that_is_away_costs_payments_nothing(tmp_path, scheme):
    with Instance(tmp_path / "data", settings={"relay": f"{scheme}://127.0.0.1:9/bank", "followers": ""}) as instance:
        instance.open_accounts([WORLD, ALICE], limited=False)
        api = instance.api()
        pay(instance, api, 20)
        waiting, until = threading.Event(), time.monotonic() + 60
        while not (said := progress.read(instance.folder / "run").get("relay")) or not said.trouble:
            assert time.monotonic() < until
            waiting.wait(0.05)
        assert "does not serve" in said.trouble
        pay(instance, api, 5)
        text = instance.log_path.read_text()
        assert "Traceback" not in text
        api.close()
        assert instance.stop() == 0
