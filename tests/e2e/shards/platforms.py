"""A platform with two shards, and tenants of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tallystick import ids
from tallystick.blockfile.disk import SystemDisk
from tallystick.client.http import Answer, Api
from tallystick.clock import system_entropy
from tallystick.compose import moving, shards, webhooks_moving
from tallystick.compose.journals import Place
from tallystick.errors import Unavailable
from tallystick.gateway import auth
from tallystick.gateway.sharding import RECHECK_S
from tallystick.lab.instance import Instance, pause
from tallystick.records.commands import Kind
from tallystick.records.entries import WORK
from tallystick.settings import Settings

HERE, THERE = 1, 7
"""Tenants: that of the instance, which nobody places, and one that is placed in shard 1."""


class Platform:
    """An instance with two shards and a tenant in each."""

    def __init__(self, instance: Instance, engines: Mapping[str, object] | None = None) -> None:
        """`engines`: settings of journal and intake, if they are not files."""
        self.instance = instance
        self.settings = Settings.model_validate({"data": instance.folder, "shards": 2, **(engines or {})})
        self.keys = {HERE: instance.key, THERE: auth.make_key(system_entropy)}
        auth.add_key(instance.folder / "keys.json", self.keys[THERE], THERE, "there", list(auth.SCOPES), 1)

    def wait_notifiers(self) -> None:
        """They are up later than the platform is ready, and a move asks them."""
        for number in (0, 1):
            for _ in range(600):
                try:
                    webhooks_moving.Notifier(shards.of(self.settings, number)).__exit__(None, None, None)
                    break
                except Unavailable:
                    pause(0.1)
            else:
                raise AssertionError(f"the notifier of shard {number} does not come up")

    def api(self, tenant: int) -> Api:
        return Api(self.instance.url, self.keys[tenant], wait_s=10.0)

    def open(self, tenant: int) -> None:
        rows = [{"id": ids.show(number), "ledger": 1, "code": 1, "flags": []} for number in (1, 2)]
        answer = self.settle(tenant, "/v1/accounts", {"accounts": rows})
        assert answer.status in (200, 201), answer.body

    def pay(self, tenant: int, number: int, amount: int, key: str | None = None) -> dict[str, Any]:
        body = {
            "id": ids.show(number),
            "debit_account_id": ids.show(1),
            "credit_account_id": ids.show(2),
            "amount": str(amount),
            "ledger": 1,
            "code": 1,
        }
        answer = self.settle(tenant, "/v1/transfers", body, key)
        assert answer.status == 201, answer.body
        told: dict[str, Any] = msgspec.json.decode(answer.body)
        return told

    def settle(self, tenant: int, path: str, body: object, key: str | None = None) -> Answer:
        api = self.api(tenant)
        try:
            return self.instance.settle(api, path, body, key)
        finally:
            api.close()

    def received(self, tenant: int) -> int:
        api = self.api(tenant)
        answer = api.ask("GET", f"/v1/accounts/{ids.show(2)}")
        api.close()
        assert answer.status == 200, answer.body
        return int(msgspec.json.decode(answer.body)["credits_posted"])


class Tenants(Platform):
    """Two shards, and tenants that are made as they are needed."""

    def new(self, tenant: int) -> None:
        self.keys[tenant] = auth.make_key(system_entropy)
        auth.add_key(self.instance.folder / "keys.json", self.keys[tenant], tenant, f"t{tenant}", list(auth.SCOPES), 1)
        pause(2 * auth.RECHECK_S)
        self.open(tenant)

    def ask(self, tenant: int, method: str, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        api = self.api(tenant)
        headers = {"idempotency-key": key or system_entropy(16).hex()} if method == "POST" else {}
        answer = api.ask(method, path, msgspec.json.encode(body) if body is not None else b"", headers)
        api.close()
        return answer.status, msgspec.json.decode(answer.body) if answer.body else None

    def balances(self, tenant: int) -> list[Any]:
        return [self.ask(tenant, "GET", f"/v1/accounts/{ids.show(number)}") for number in (1, 2)]

    def move(self, tenant: int, to: int) -> moving.Moved:
        done = moving.move(self.settings, tenant, to, lambda done, total: None)
        pause(2 * RECHECK_S)  # gateways read the directory so often
        return done

    def wait_statement(self, tenant: int, lines: int) -> list[Any]:
        for _ in range(600):
            status, told = self.ask(tenant, "GET", f"/v1/accounts/{ids.show(2)}/statement")
            if status == 200 and len(told["lines"]) >= lines:
                return [(line["timestamp"], line["type"]) for line in told["lines"]]
            pause(0.1)
        raise AssertionError((status, told))


def transfer(number: int, amount: int, **more: object) -> dict[str, object]:
    body = {"debit_account_id": ids.show(1), "credit_account_id": ids.show(2), "ledger": 1, "code": 1}
    return {**body, "id": ids.show(number), "amount": str(amount), **more}


def expiries(platform: Platform, number: int, tenant: int) -> int:
    """How many entries of a shard's journal say that a pending transfer of the tenant expired."""
    reader = Place.of(shards.of(platform.settings, number)).reader(SystemDisk())
    found = 0
    for block in reader.read(0):
        rows = block.entries.view(WORK)
        found += int(((rows["tenant"] == tenant) & (rows["kind"] == Kind.EXPIRY)).sum())
    reader.close()
    return found
