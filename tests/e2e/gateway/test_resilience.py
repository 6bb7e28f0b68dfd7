"""Engines that are away, gateways that are killed, pushes that get lost: acknowledged means kept, and once."""

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tallystick.settings import Settings
from tests.e2e.gateway.running import Gateway, Told
from tests.e2e.gateway.standin import Books, StandIn

ALICE, SHOP = f"{1:032x}", f"{2:032x}"


def settings(data: Path) -> Settings:
    return Settings(data=data)  # type: ignore[call-arg]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
    engine = StandIn(settings(tmp_path)).start()
    yield engine
    engine.stop()


def open_accounts(gateway: Gateway) -> None:
    body = {"accounts": [{"id": id, "ledger": 1, "code": 1} for id in (ALICE, SHOP)]}
    assert gateway.ask("POST", "/v1/accounts", body).status == 200


def pay(gateway: Gateway, key: str = "", headers: dict[str, str] | None = None) -> Told:
    body = {"debit_account_id": ALICE, "credit_account_id": SHOP, "amount": "5", "ledger": 1, "code": 1}
    return gateway.ask("POST", "/v1/transfers", body, headers, idempotency_key=key)


def many(gateway: Gateway, keys: list[str]) -> list[Told]:
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda key: pay(gateway, key), keys))


def decided(gateway: Gateway, location: str) -> Told:
    for _ in range(200):
        told = gateway.ask("GET", location)
        if told.status != 202 and told.status != 503:
            return told
    raise AssertionError(told)


def test_without_an_engine_payments_are_acknowledged_and_decided_when_it_comes(tmp_path: Path) -> None:
    with Gateway(tmp_path, wait_s=0.1) as gateway:
        told = pay(gateway)
        assert (told.status, told.json["status"]) == (202, "not_decided")
        ready = gateway.ask("GET", "/ready")
        assert (ready.status, ready.problem, ready.json["reasons"]) == (503, "not_ready", ["engine"])
        engine = StandIn(settings(tmp_path)).start()
        found = decided(gateway, told.headers["location"])
        assert found.json["results"][0]["status"] == "debit_account_not_found"
        assert gateway.ask("GET", "/ready").status == 200
        engine.stop()


def test_look_ups_without_an_engine_are_unavailable(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        told = gateway.ask("GET", f"/v1/accounts/{ALICE}")
        assert (told.status, told.problem) == (503, "unavailable")
        assert told.headers["retry-after"] == "1"


def test_every_payment_is_answered_although_pushes_are_lost(tmp_path: Path, engine: StandIn) -> None:
    with Gateway(tmp_path, wait_s=20) as gateway:
        open_accounts(gateway)
        engine.lose_push = lambda number: number % 2 == 0
        assert {told.status for told in many(gateway, [str(uuid4()) for _ in range(200)])} == {201}
        assert len(engine.books.transfers) == 200
        text = gateway.ask("GET", "/metrics").body.decode()
        lost = next(line for line in text.splitlines() if line.startswith("tally_gateway_pushes_lost_total"))
        assert float(lost.split()[1]) > 0


def test_those_who_wait_are_answered_by_an_engine_that_restarted_meanwhile(tmp_path: Path) -> None:
    books = Books()
    first = StandIn(settings(tmp_path), books).start()
    with Gateway(tmp_path, wait_s=20) as gateway:
        open_accounts(gateway)
        first.silent = True
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            waiting = [pool.submit(pay, gateway) for _ in range(16)]
            while gateway.ask("GET", "/metrics").body.count(b'undecided{lane="payments"} 16.0') == 0:
                pass
            first.stop()
            second = StandIn(settings(tmp_path), books).start()
            assert {future.result().status for future in waiting} == {201}
        assert len(books.transfers) == 16
        second.stop()


def test_what_a_killed_gateway_acknowledged_is_decided_once_though_clients_send_it_again(
    tmp_path: Path, engine: StandIn
) -> None:
    keys = [str(uuid4()) for _ in range(100)]
    with Gateway(tmp_path) as gateway:
        open_accounts(gateway)
        engine.silent = True
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            acknowledged = list(pool.map(lambda key: pay(gateway, key, {"Prefer": "respond-async"}), keys))
        assert {told.status for told in acknowledged} == {202}
        gateway.kill()
    engine.silent = False
    os.remove(tmp_path / "keys.json")
    with Gateway(tmp_path) as gateway:
        again = many(gateway, keys)
        assert {told.status for told in again} == {201}
        assert {told.headers["idempotent-replayed"] for told in again} == {"true"}
        assert len(engine.books.transfers) == 100
        for told in acknowledged[:5]:
            assert gateway.ask("GET", told.headers["location"]).json["results"][0]["status"] == "created"


def test_concurrent_duplicates_get_the_one_outcome(tmp_path: Path, engine: StandIn) -> None:
    with Gateway(tmp_path) as gateway:
        open_accounts(gateway)
        answers = many(gateway, [str(uuid4())] * 40)
        assert {told.status for told in answers} == {201}
        assert len({told.body for told in answers}) == 1
        assert sum("idempotent-replayed" not in told.headers for told in answers) == 1
        assert len(engine.books.transfers) == 1


def test_too_many_undecided_are_429_with_limits_told(tmp_path: Path) -> None:
    with Gateway(tmp_path, undecided_max=3) as gateway:
        for _ in range(3):
            assert pay(gateway, headers={"Prefer": "respond-async"}).status == 202
        told = pay(gateway)
        assert (told.status, told.problem) == (429, "too_many_undecided")
        assert told.headers["ratelimit"] == '"undecided";r=0'
        assert told.headers["ratelimit-policy"] == '"undecided";q=3'
        assert told.headers["retry-after"] == "1"


def test_a_disk_that_is_too_full_is_503_and_not_ready(tmp_path: Path, engine: StandIn) -> None:
    with Gateway(tmp_path, disk_free_min=0.9999) as gateway:
        told = pay(gateway)
        assert (told.status, told.problem, told.headers["retry-after"]) == (503, "unavailable", "10")
        assert gateway.ask("GET", "/ready").json["reasons"] == ["disk"]
        assert engine.decided == 0


def test_a_stop_answers_those_who_wait_and_leaves_the_lane_to_the_next(tmp_path: Path, engine: StandIn) -> None:
    with Gateway(tmp_path, wait_s=20) as gateway:
        open_accounts(gateway)
        engine.silent = True
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(pay, gateway) for _ in range(8)]
            while gateway.ask("GET", "/metrics").body.count(b'undecided{lane="payments"} 8.0') == 0:
                pass
            assert gateway.stop() == 0
            assert {future.result().status for future in waiting} == {202}
    engine.silent = False
    lanes = sorted(path.name for path in (tmp_path / "intake").iterdir() if path.is_dir())
    os.remove(tmp_path / "keys.json")
    with Gateway(tmp_path) as gateway:
        assert pay(gateway).status == 201
        assert sorted(path.name for path in (tmp_path / "intake").iterdir() if path.is_dir()) == lanes


def test_a_port_in_use_is_said_and_nothing_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "TALLY_DATA": str(tmp_path), "TALLY_HTTP_PORT": str(port)}
        ended = subprocess.run(
            [sys.executable, "-m", "tallystick.compose.gateway"], env=environment, capture_output=True, timeout=60
        )
    assert ended.returncode != 0
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr.decode()


def test_a_second_gateway_on_the_same_port_is_refused(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        environment = {**os.environ, "TALLY_DATA": str(tmp_path), "TALLY_HTTP_PORT": str(gateway.port)}
        ended = subprocess.run(
            [sys.executable, "-m", "tallystick.compose.gateway"], env=environment, capture_output=True, timeout=60
        )
        assert ended.returncode != 0


def test_a_damaged_lane_stops_the_gateway_loudly(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        for _ in range(3):
            assert pay(gateway, headers={"Prefer": "respond-async"}).status == 202
    lane = next((tmp_path / "intake").glob("*.pay"))
    segment = max((path for path in lane.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)
    written = segment.read_bytes().rstrip(b"\0")
    at = written.rindex(b"TALLYBLK") + 200
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(bytes([written[at] ^ 1]))
    environment = {**os.environ, "TALLY_DATA": str(tmp_path), "TALLY_HTTP_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "tallystick.compose.gateway"], env=environment, capture_output=True, timeout=60
    )
    assert ended.returncode != 0
    assert "Corrupt" in ended.stderr.decode()


def test_a_thousand_connections_at_once_get_a_thousand_payments(tmp_path: Path, engine: StandIn) -> None:
    count = 1000
    body = json.dumps(
        {"debit_account_id": ALICE, "credit_account_id": SHOP, "amount": "1", "ledger": 1, "code": 1}
    ).encode()
    with Gateway(tmp_path, wait_s=30) as gateway:
        open_accounts(gateway)
        connections = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60) for _ in range(count)]
        for connection in connections:
            connection.connect()
        for connection in connections:
            headers: dict[str, Any] = {
                "Authorization": f"Bearer {gateway.key}",
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid4()),
            }
            connection.request("POST", "/v1/transfers", body, headers)
        answers = [connection.getresponse() for connection in connections]
        assert {answer.status for answer in answers} == {201}
        assert len(engine.books.transfers) == count
        for connection in connections:
            connection.close()


def test_a_sigint_stops_it_too(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(20) == 0
