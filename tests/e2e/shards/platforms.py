"""A platform with two shards, and tenants of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tallystick import ids
from tallystick.client.http import Answer, Api
from tallystick.clock import system_entropy
from tallystick.gateway import auth
from tallystick.lab.instance import Instance
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
