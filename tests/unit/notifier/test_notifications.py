"""Notifications as they are signed and sent."""

import json

import numpy as np

from tallystick import telling
from tallystick.notifier.notifications import notifications, webhook_id
from tests.unit.test_telling import entries


def test_a_notification_is_the_json_of_what_is_told():
    work, _ = entries()
    types = telling.types_of(work)
    chosen = np.flatnonzero(types != telling.NONE)
    made, told = notifications(work[chosen], types[chosen]), telling.told(work[chosen], types[chosen])
    assert len(made) == len(told) > 1000
    for each, of in zip(made, told, strict=True):
        assert (each.seq, each.tenant, each.type, each.nonce) == (of.seq, of.tenant, of.type, of.nonce)
        assert json.loads(each.body) == {
            "type": of.type,
            "timestamp": telling.instant(of.timestamp_ns),
            "data": of.data,
        }


def test_a_webhook_id_depends_on_subscription_shard_and_entry():
    ids = {
        webhook_id(subscription, shard, seq, nonce)
        for nonce in (bytes(16), bytes([1]) * 16)
        for subscription in (1, 2**128 - 1)
        for shard in (0, 1)
        for seq in (0, 1)
    }
    assert len(ids) == 16
    assert webhook_id(7, 0, 3, bytes(16)) == webhook_id(7, 0, 3, bytes(16))
    assert all(each.startswith("msg_") and "." not in each for each in ids)
