"""Several shards behind one gateway, as real processes: tenants live apart, and fall apart."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tallystick import ids
from tallystick.compose import directing
from tallystick.lab.instance import Instance, pause, tally
from tallystick.settings import Settings
from tests.e2e.shards.platforms import HERE, THERE, Platform

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Instance(
        tmp_path_factory.mktemp("platform") / "data", settings={"shards": 2, "accounts_max": 100_000}
    ) as instance:
        made = Platform(instance)
        assert directing.add(made.settings, THERE, 1) == 1
        for tenant in (HERE, THERE):
            made.open(tenant)
        yield made


def test_each_tenant_is_paid_in_its_own_shard(platform: Platform) -> None:
    before = {tenant: platform.received(tenant) for tenant in (HERE, THERE)}
    platform.pay(HERE, 101, 5)
    platform.pay(THERE, 101, 7)
    assert platform.received(HERE) == before[HERE] + 5
    assert platform.received(THERE) == before[THERE] + 7
    for number, settings in enumerate((platform.settings, platform.settings)):
        assert tenants_in(settings, number) == {(HERE, THERE)[number]}


def test_while_the_engine_of_one_shard_is_away_the_other_pays_on(platform: Platform) -> None:
    with platform.instance.stopped("engine@1"):
        api = platform.api(THERE)
        body = {
            "id": ids.show(201),
            "debit_account_id": ids.show(1),
            "credit_account_id": ids.show(2),
            "amount": "3",
            "ledger": 1,
            "code": 1,
        }
        key = ids.show(0xABCDEF201)
        waiting = api.ask("POST", "/v1/transfers", msgspec.json.encode(body), {"idempotency-key": key})
        assert waiting.status == 202  # durable, not decided
        platform.pay(HERE, 201, 1)
        ready = api.ask("GET", "/ready")
        assert ready.status == 200
        assert msgspec.json.decode(ready.body)["reasons"] == ["shard 1 engine"]
        platform.instance.kill("engine@1")
    platform.instance.wait_ready(PATIENCE_S)
    told = platform.settle(THERE, "/v1/transfers", body, key)
    assert told.status == 201
    api.close()


def test_receipts_are_of_the_log_of_the_tenants_shard(platform: Platform) -> None:
    platform.pay(THERE, 301, 2)
    api = platform.api(THERE)
    for _ in range(600):
        answer = api.ask("GET", f"/v1/transfers/{ids.show(301)}/receipt")
        if answer.status != 503:
            break
        pause(0.1)
    assert answer.status == 200, answer.body
    assert b"tallystick.example/ledger/1\n" in answer.body
    checkpoint = api.ask("GET", "/v1/shards/1/log/checkpoint")
    assert checkpoint.body.startswith(b"tallystick.example/ledger/1\n")
    for _ in range(600):  # the other shard's signer starts when it may
        answer = api.ask("GET", "/v1/log/checkpoint")
        if answer.status == 200:
            break
        pause(0.1)
    assert answer.body.startswith(b"tallystick.example/ledger/0\n")
    assert api.ask("GET", "/v1/shards/2/log/checkpoint").status == 404
    api.close()


def test_a_statement_comes_from_the_projector_of_the_tenants_shard(platform: Platform) -> None:
    platform.pay(THERE, 401, 9)
    api = platform.api(THERE)
    for _ in range(600):
        answer = api.ask("GET", f"/v1/accounts/{ids.show(2)}/statement")
        if answer.status == 200 and b'"9"' in answer.body:
            break
        pause(0.1)
    assert b'"9"' in answer.body
    api.close()


def test_a_tenant_with_money_is_not_placed_elsewhere_without_being_moved(platform: Platform) -> None:
    from tallystick.errors import Invalid
    from tallystick.records.placements import Home

    with directing.Engine(platform.settings) as engine, pytest.raises(Invalid, match="has accounts in shard 0"):
        engine.place(HERE, Home(1))
    platform.pay(HERE, 501, 1)


def tenants_in(settings: Settings, number: int) -> set[int]:
    """Those whose accounts stand in the journal of a shard."""
    from tallystick.blockfile.disk import SystemDisk
    from tallystick.compose import shards
    from tallystick.compose.journals import Place
    from tallystick.records.commands import Kind
    from tallystick.records.entries import WORK

    reader = Place.of(shards.of(settings, number)).reader(SystemDisk())
    found: set[int] = set()
    for block in reader.read(0):
        rows = block.entries.view(WORK)
        found |= set(rows["tenant"][rows["kind"] == Kind.ACCOUNT].tolist())
    reader.close()
    return found


def test_metrics_tell_shards_apart(platform: Platform) -> None:
    api = platform.api(HERE)
    told = api.ask("GET", "/metrics").body.decode()
    api.close()
    for number in (0, 1):
        assert re.search(rf'^tally_engine_next_seq{{shard="{number}"}} [1-9]', told, re.MULTILINE)
        assert f'tally_follower_lag_entries{{follower="projector",shard="{number}"}}' in told
    assert 'tally_process_up{process="engine@1"} 1.0' in told


def test_a_position_of_another_shard_keeps_no_read_waiting(platform: Platform) -> None:
    api = platform.api(THERE)
    answer = api.ask("GET", f"/v1/accounts/{ids.show(2)}/statement", headers={"tally-position": "999999999"})
    api.close()
    assert answer.status == 200


def test_tools_read_one_shard_or_all(platform: Platform) -> None:
    data = str(platform.settings.data)

    def told(*words: str) -> list[Any]:
        done = subprocess.run([*tally(*words), "--json"], capture_output=True, text=True, timeout=100, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    [[zero, one]] = told("shard", "list", "--data", data)
    assert (zero["tenants"], one["tenants"]) == ([], [THERE])
    lines = told("tail", data, "--shard", "1", "--from", "0", "--no-follow")
    assert {line["tenant"] for line in lines} == {str(THERE)}
    assert lines[0]["kind"] == "placement"
    [found] = told("shard", "check", "--data", data)
    assert (found["faults"], found["tenants"]) == ([], 2)


def test_a_new_tenant_is_placed_as_it_gets_its_first_key(platform: Platform) -> None:
    def new(tenant: int, place: str, name: str = "first") -> subprocess.CompletedProcess[str]:
        words = ("key", "new", f"{name} of {tenant}", "--tenant", str(tenant), "--place", place, "--json")
        folder = str(platform.instance.folder)
        return subprocess.run(tally(*words, "--data", folder), capture_output=True, text=True)

    made = json.loads(new(41, "1").stdout)
    assert (made["tenant"], made["shard"]) == (41, 1)
    assert directing.homes(platform.settings)[41].shard == 1
    placed = json.loads(new(42, "emptiest").stdout)["shard"]
    assert directing.homes(platform.settings)[42].shard == placed
    platform.keys[42] = json.loads(new(42, "emptiest", "second").stdout)["key"]
    pause(0.5)
    platform.open(42)
    for tenant, place, why in ((43, "9", "there is no shard 9"), (43, "x", "--place"), (41, "0", "lives in shard 1")):
        refused = new(tenant, place)
        assert refused.returncode != 0
        assert why in refused.stdout
