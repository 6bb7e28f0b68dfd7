"""Subscriptions: who is told of what, where, and which keys sign. All are in memory, and in the tables first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick import ids, telling
from tallystick.clock import Entropy
from tallystick.errors import Invalid
from tallystick.notifier.addresses import check_url
from tallystick.notifier.port import Tables, signed, unsigned
from tallystick.webhooks import signing, types
from tallystick.webhooks.shapes import DESCRIPTION_MAX, SubscriptionChange, SubscriptionIn
from tallystick.webhooks.signing import PrivateKey, SharedSecret, Signer

SUBSCRIPTIONS_MAX = 100
"""Of one tenant: each costs a delivery for every entry."""
KEYS_MAX = 5
"""That sign at once for one subscription, while keys are rotated."""
ASKED, GONE, FAILING = "asked", "gone", "failing"
"""Why a subscription is not enabled: its tenant said so; the receiver answered 410; all failed for too long."""

_GIVEN = (
    "id, tenant, url, types, description, signature, enabled, reason, created_at, changed_at, version, "
    "since_seq, behind_seq, failing_since"
)
_COLUMNS = f"number, {_GIVEN}"


@dataclass(slots=True)
class Subscription:
    """One row of the table, understood."""

    number: int
    id: int
    tenant: int
    url: str
    patterns: list[str]
    description: str
    signature: str
    enabled: bool
    reason: str
    created_at: int
    changed_at: int
    version: int
    since_seq: int
    behind_seq: int | None
    failing_since: int | None
    keys: list[tuple[Signer, int | None]]
    """Oldest first, each with when it expires (ns)."""
    wanted: npt.NDArray[np.bool_]
    """By the numbers of `telling.ORDER`, and False at `telling.NONE`."""

    def signers(self, now_ns: int) -> list[Signer]:
        """The keys that sign now, newest first."""
        return [key for key, expires_at in reversed(self.keys) if expires_at is None or expires_at > now_ns]

    @property
    def key(self) -> str:
        """What its receivers check with."""
        newest = self.keys[-1][0]
        return str(newest.public if isinstance(newest, PrivateKey) else newest)


class Subscriptions:
    """All subscriptions of the shard. Changes are made inside `Tables.commit`, which its callers begin."""

    def __init__(self, tables: Tables, entropy: Entropy, loopback: bool) -> None:
        """`loopback`: URLs of this machine are taken, for development."""
        self._tables = tables
        self._entropy = entropy
        self._loopback = loopback
        self.by_number: dict[int, Subscription] = {}
        self.load()
        tables.after_rollback(self.load)

    def load(self) -> None:
        """Read all of them again. Raises `Unavailable`, `Corrupt`."""
        keys: dict[int, list[tuple[Signer, int | None]]] = {}
        for subscription, key, expires_at in self._tables.rows(
            "SELECT subscription, key, expires_at FROM keys ORDER BY number"
        ):
            keys.setdefault(subscription, []).append((signing.signer(key), expires_at))
        rows = self._tables.rows(f"SELECT {_COLUMNS} FROM subscriptions ORDER BY number")
        self.by_number = {row[0]: _understood(row, keys[row[0]]) for row in rows}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self.by_number.values()))

    def of(self, tenant: int) -> list[Subscription]:
        """A tenant's, oldest first."""
        return [each for each in self if each.tenant == tenant]

    def find(self, tenant: int, id_: int) -> Subscription | None:
        """One of a tenant's."""
        return next((each for each in self if each.id == id_ and each.tenant == tenant), None)

    def make(self, tenant: int, asked: SubscriptionIn, now_ns: int, since_seq: int, behind: bool) -> Subscription:
        """Add one, told of entries from `since_seq` on; `behind`: some of those are before the cursor.

        Raises `Invalid` naming the field that cannot be.
        """
        self._check(asked.url, asked.types, asked.description)
        if asked.signature not in ("v1", "v1a"):
            raise Invalid("signature", "must be v1 or v1a")
        if len(self.of(tenant)) >= SUBSCRIPTIONS_MAX:
            raise Invalid("url", f"is one too many: a tenant may have {SUBSCRIPTIONS_MAX} subscriptions; delete one")
        id_ = ids.time_ordered(now_ns, self._entropy)
        number = self._tables.add(
            f"INSERT INTO subscriptions ({_GIVEN}) VALUES (?, ?, ?, ?, ?, ?, 1, '', ?, ?, 1, ?, ?, NULL)",
            id_.to_bytes(16),
            signed(tenant),
            asked.url,
            _written(asked.types),
            asked.description,
            asked.signature,
            now_ns,
            now_ns,
            since_seq,
            since_seq if behind else None,
        )
        self._add_key(number, asked.signature)
        return self._again(number)

    def change(self, subscription: Subscription, asked: SubscriptionChange, now_ns: int) -> Subscription:
        """Change what is set, but for `enabled`: see `enable` and `disable`. Raises `Invalid`."""
        url = subscription.url if asked.url is msgspec.UNSET else asked.url
        patterns = subscription.patterns if asked.types is msgspec.UNSET else asked.types
        description = subscription.description if asked.description is msgspec.UNSET else asked.description
        self._check(url, patterns, description)
        self._tables.run(
            "UPDATE subscriptions SET url = ?, types = ?, description = ?, changed_at = ?, version = version + 1 "
            "WHERE number = ?",
            url,
            _written(patterns),
            description,
            now_ns,
            subscription.number,
        )
        return self._again(subscription.number)

    def disable(self, subscription: Subscription, reason: str, now_ns: int, cursor: int) -> Subscription:
        """Send nothing more; what is decided from `cursor` on it is told of when it is enabled again."""
        self._tables.run(
            "UPDATE subscriptions SET enabled = 0, reason = ?, changed_at = ?, version = version + 1, "
            "behind_seq = coalesce(behind_seq, ?) WHERE number = ? AND enabled = 1",
            reason,
            now_ns,
            cursor,
            subscription.number,
        )
        return self._again(subscription.number)

    def enable(self, subscription: Subscription, now_ns: int, skip_to: int | None) -> Subscription:
        """Send again; `skip_to`: tell of nothing before that entry which it was not told of yet."""
        self._tables.run(
            "UPDATE subscriptions SET enabled = 1, reason = '', failing_since = NULL, changed_at = ?, "
            "version = version + 1 WHERE number = ? AND enabled = 0",
            now_ns,
            subscription.number,
        )
        if skip_to is not None:
            self._tables.run(
                "UPDATE subscriptions SET behind_seq = NULL, "
                "since_seq = CASE WHEN since_seq < ? THEN ? ELSE since_seq END WHERE number = ?",
                skip_to,
                skip_to,
                subscription.number,
            )
        return self._again(subscription.number)

    def delete(self, subscription: Subscription) -> None:
        """Forget it with its keys and deliveries."""
        self._tables.run("DELETE FROM subscriptions WHERE number = ?", subscription.number)
        del self.by_number[subscription.number]

    def rotate(self, subscription: Subscription, now_ns: int, until_ns: int) -> Subscription:
        """A new key; those before it sign until `until_ns` at most. Raises `Invalid` if too many sign already."""
        number = subscription.number
        self._tables.run("DELETE FROM keys WHERE subscription = ? AND expires_at <= ?", number, now_ns)
        [count] = self._tables.row("SELECT count(*) FROM keys WHERE subscription = ?", number)
        if count >= KEYS_MAX and until_ns > now_ns:
            raise Invalid("overlap_s", f"must be 0: {count} keys sign already, and more would be too many")
        if until_ns <= now_ns:
            self._tables.run("DELETE FROM keys WHERE subscription = ?", number)
        self._tables.run(
            "UPDATE keys SET expires_at = ? WHERE subscription = ? AND (expires_at IS NULL OR expires_at > ?)",
            until_ns,
            number,
            until_ns,
        )
        self._add_key(number, subscription.signature)
        self._tables.run("UPDATE subscriptions SET changed_at = ? WHERE number = ?", now_ns, number)
        return self._again(number)

    def set_behind(self, subscription: Subscription, seq: int | None) -> None:
        """It was told of all before `seq`, and of all before the cursor if that is None."""
        self._tables.run("UPDATE subscriptions SET behind_seq = ? WHERE number = ?", seq, subscription.number)
        subscription.behind_seq = seq

    def set_failing(self, subscription: Subscription, since_ns: int | None) -> None:
        """Since when all attempts have failed."""
        self._tables.run("UPDATE subscriptions SET failing_since = ? WHERE number = ?", since_ns, subscription.number)
        subscription.failing_since = since_ns

    def _add_key(self, number: int, scheme: str) -> None:
        key: Signer
        if scheme == "v1a":
            key = PrivateKey(Ed25519PrivateKey.from_private_bytes(self._entropy(32)))
        else:
            key = SharedSecret(self._entropy(signing.SECRET_BYTES))
        self._tables.run("INSERT INTO keys (subscription, key, expires_at) VALUES (?, ?, NULL)", number, str(key))

    def _check(self, url: str, patterns: list[str], description: str) -> None:
        check_url(url, self._loopback)
        types.asked(patterns)
        if len(description) > DESCRIPTION_MAX:
            raise Invalid("description", f"may have {DESCRIPTION_MAX} characters")

    def _again(self, number: int) -> Subscription:
        """Read one again, inside the commit that changed it."""
        row = self._tables.row(f"SELECT {_COLUMNS} FROM subscriptions WHERE number = ?", number)
        keys = [
            (signing.signer(key), expires_at)
            for key, expires_at in self._tables.rows(
                "SELECT key, expires_at FROM keys WHERE subscription = ? ORDER BY number", number
            )
        ]
        found = self.by_number[number] = _understood(row, keys)
        return found


def _understood(row: Sequence[Any], keys: list[tuple[Signer, int | None]]) -> Subscription:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    patterns = fields.pop("types")
    asked = msgspec.json.decode(patterns, type=list[str])
    wanted = np.zeros(256, np.bool_)
    wanted[[telling.ORDER.index(type_) for type_ in types.asked(asked)]] = True
    fields["id"], fields["tenant"] = int.from_bytes(fields["id"]), unsigned(fields["tenant"])
    fields["enabled"] = bool(fields["enabled"])
    return Subscription(**fields, patterns=asked, keys=keys, wanted=wanted)


def _written(patterns: list[str]) -> str:
    return msgspec.json.encode(patterns).decode()
