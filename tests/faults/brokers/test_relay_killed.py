"""The relay's process, killed at random points while it sends a backlog: nothing is lost, nothing is out of order."""

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.compose.journals import Place
from tallystick.compose.library import Ledger
from tallystick.journal import progress
from tallystick.records.objects import Account, Transfer
from tallystick.settings import Settings
from tests.faults.brokers.receiving import positions_told, read_queue, read_topic, taken_once

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
KILLS = 8
READY = b"relay ready"
TENANTS = (3, 4, 2**64 - 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A journal of 18,000 transfers, in blocks of three tenants by turns."""
    folder = tmp_path_factory.mktemp("backlog") / "data"
    with Ledger.open(folder) as ledger:
        for tenant in TENANTS:
            ledger.create_accounts([Account(id=each, ledger=978, code=1) for each in (1, 2)], tenant=tenant)
        for first in range(1, 6001, 500):
            for tenant in TENANTS:
                moved = [
                    Transfer(id=first + at, debit_account_id=1, credit_account_id=2, amount=1, ledger=978, code=1)
                    for at in range(500)
                ]
                ledger.create_transfers(moved, tenant=tenant)
    return folder


@pytest.fixture(params=["kafka", "rabbitmq"])
def outlet(request, data):
    """A name of an own topic or exchange: the setting, and how to read all that was sent there."""
    name = f"killed.{secrets.token_hex(4)}"
    broker = request.getfixturevalue(f"own_{request.param}")
    if not broker.is_alive():
        broker.start()
    if request.param == "kafka":
        return broker.url(name), lambda: [event for *_, event in read_topic(broker, name)]
    connection = broker.connect()
    channel = connection.channel()
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(name, name, "#")
    connection.close()
    return broker.url(name), lambda: [event for *_, event in read_queue(broker, name)]


def started(data, url, log):
    """A relay that has said that it is ready."""
    already = log.read_bytes().count(READY) if log.exists() else 0
    command = [sys.executable, "-m", "tallystick.cli.main", "up", "relay", "--data", str(data)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, "TALLY_RELAY": url}
        )
    waiting, until = threading.Event(), time.monotonic() + 60
    while log.read_bytes().count(READY) == already:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        waiting.wait(0.01)
    return process


def test_a_backlog_arrives_whole_and_in_order_through_kills_at_random_points(tmp_path, data, outlet):
    url, read = outlet
    journal = Place.of(Settings(data=data)).reader(SystemDisk())
    log, waiting, seed = tmp_path / "log", threading.Event(), secrets.randbits(32)
    random_ = random.Random(seed)
    (data / "run" / "relay.progress").unlink(missing_ok=True)
    for _ in range(KILLS):
        process = started(data, url, log)
        waiting.wait(random_.random() * 1.5)  # somewhere in the middle of it
        process.kill()
        process.wait()
    (data / "run" / "relay.progress").unlink(missing_ok=True)  # what is waited for is what the last one says
    process = started(data, url, log)
    until = time.monotonic() + 120
    while (said := progress.read(data / "run").get("relay")) is None or said.next_seq < journal.end():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, f"seed {seed}: {said}"
        waiting.wait(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    found, wanted = read(), positions_told(journal)
    journal.close()
    assert sum(map(len, wanted.values())) == 18_006
    assert taken_once(found) == wanted, f"seed {seed}"
    print(f"{len(found)} events came, {len(found) - 18_006} of them again")
