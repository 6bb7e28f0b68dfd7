"""A tenant's webhooks on their way to another shard's notifier (ADR 0016): taken here, brought there, forgotten here.

Subscriptions keep their ids and keys, deliveries their `webhook-id`s, what waits and what is dead with every attempt:
so a receiver sees at most what it saw already, under the same id. Positions are those of the new journal when they
come: whoever carries them (`compose.webhooks_moving`) knows where each entry's copy stands there. What a subscription
was not told of yet it is told of from there, by the copies.

Taking changes nothing. What is brought replaces what was brought before, so it may be done again from the first page on
until the old notifier has forgotten the tenant. The new one sends and makes nothing before it has the last page; the
old one sends until it forgets, so a receiver may see again what it has seen.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from tallystick.errors import Invalid, Unavailable
from tallystick.notifier.deliveries import Deliveries
from tallystick.notifier.making import Making
from tallystick.notifier.port import Tables, signed
from tallystick.notifier.subscriptions import Subscriptions

DELIVERIES_A_PAGE = 200
"""Bodies and attempts of so many fit a message."""
_SUBSCRIPTION = "url, types, description, signature, reason, created_at, changed_at, version, failing_since"
_DELIVERY = "webhook_id, type, body, state, tries, attempts, made_at, due_at, done_at, reason"


class Operation(StrEnum):
    """What `tally shard move` asks of a notifier; no gateway asks any of it."""

    HOLD = "travelling.hold"
    """Answer the tenant no more. The answer: whether all before a position was looked at."""
    STAY = "travelling.stay"
    """It stays after all."""
    TAKE = "travelling.take"
    """A page of what it has, as `Belongings`, of deliveries those after a number."""
    BRING = "travelling.bring"
    """Keep a page; the first one, which has the subscriptions, goes before all others."""
    FORGET = "travelling.forget"
    """It lives elsewhere: all that was taken is deleted here."""


class Subscribed(msgspec.Struct, array_like=True):
    """A subscription with what hangs on it; of deliveries, see `Delivered`."""

    id: bytes
    since: int
    behind: int | None
    others: list[Any]
    """The columns of `_SUBSCRIPTION`."""
    keys: list[tuple[str, int | None]]
    replays: list[tuple[int, int]]


class Delivered(msgspec.Struct, array_like=True):
    """A delivery, whatever became of it."""

    subscription: bytes
    seq: int | None
    others: list[Any]
    """The columns of `_DELIVERY`."""
    tries: list[tuple[int, int, int, int | None, str]]


class Belongings(msgspec.Struct, array_like=True):
    """A page of what a tenant has. Subscriptions and requests are on the first one."""

    first: bool
    subscriptions: list[Subscribed] = []
    requests: list[tuple[bytes, bytes, bytes, int]] = []
    """Request id, fingerprint, what was answered, when."""
    deliveries: list[Delivered] = []
    next: int | None = None
    """What to ask for the next page with; None: this is the last one."""
    enabled: list[bytes] = []
    """On the last page: the subscriptions that are."""

    def __bool__(self) -> bool:
        return bool(self.subscriptions or self.requests or self.deliveries)


_encode = msgspec.msgpack.Encoder().encode
_belongings = msgspec.msgpack.Decoder(Belongings)


def encode(message: Any) -> bytes:
    """A question or an answer as bytes."""
    return _encode(message)


def decode(data: bytes) -> Belongings:
    """A page. Raises `msgspec.DecodeError`."""
    return _belongings.decode(data)


class Travelling:
    """One notifier's part in it, on the thread that has the tables."""

    def __init__(self, tables: Tables, subscriptions: Subscriptions, deliveries: Deliveries, making: Making) -> None:
        self._tables = tables
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._making = making
        self._held: set[int] = set()
        self._operations: dict[str, Callable[[int, bytes], Any]] = {
            Operation.HOLD: self._hold,
            Operation.STAY: self._stay,
            Operation.TAKE: self._take,
            Operation.BRING: self._bring,
            Operation.FORGET: self._forget,
        }

    def takes(self, operation: str) -> bool:
        """Whether it is one of these."""
        return operation in self._operations

    def answer(self, operation: str, tenant: int, body: bytes) -> bytes:
        """Raises `Unavailable`, and `Invalid` for what cannot be understood."""
        try:
            return _encode(self._operations[operation](tenant, body))
        except msgspec.DecodeError as error:
            raise Invalid("", "is no question; is `tally` of another version?") from error

    def refuse_held(self, tenant: int) -> None:
        """Raises `Unavailable` for a tenant that is on its way: what it changed here would be left behind.

        Not kept in the tables: who takes a tenant asks over one connection, which does not outlive this process.
        """
        if tenant in self._held:
            raise Unavailable("the tenant is being moved to another shard; try again in a moment")

    def _hold(self, tenant: int, body: bytes) -> bool:
        until = msgspec.msgpack.decode(body, type=int)
        self._held.add(tenant)
        return self._making.cursor().next_seq >= until

    def _stay(self, tenant: int, body: bytes) -> bool:
        self._held.discard(tenant)
        return True

    def _take(self, tenant: int, body: bytes) -> Belongings:
        after = msgspec.msgpack.decode(body, type=int | None)
        kept = signed(tenant)
        page = Belongings(first=after is None)
        if after is None:
            page.subscriptions = [self._subscribed(*row) for row in self._subscriptions_of(kept)]
            page.requests = self._tables.rows(
                "SELECT request_id, fingerprint, body, made_at FROM requests WHERE tenant = ?", kept
            )
        rows = self._tables.rows(
            f"SELECT number, subscription, seq, {_DELIVERY} FROM deliveries WHERE number > ? AND subscription IN "
            "(SELECT number FROM subscriptions WHERE tenant = ?) ORDER BY number LIMIT ?",
            0 if after is None else after,
            kept,
            DELIVERIES_A_PAGE,
        )
        ids = {number: id_ for number, id_, *_ in self._subscriptions_of(kept)}
        for number, subscription, seq, *others in rows:
            tries = self._tables.rows(
                "SELECT number, at, took_ms, status, error FROM attempts WHERE delivery = ? ORDER BY number", number
            )
            page.deliveries.append(Delivered(ids[subscription], seq, others, tries))
        if len(rows) == DELIVERIES_A_PAGE:
            page.next = rows[-1][0]
        else:
            rows = self._tables.rows("SELECT id FROM subscriptions WHERE tenant = ? AND enabled = 1", kept)
            page.enabled = [id_ for [id_] in rows]
        return page

    def _subscriptions_of(self, kept: int) -> list[Any]:
        return self._tables.rows(
            f"SELECT number, id, since_seq, behind_seq, {_SUBSCRIPTION} FROM subscriptions WHERE tenant = ? "
            "ORDER BY number",
            kept,
        )

    def _subscribed(self, number: int, id_: bytes, since: int, behind: int | None, *others: Any) -> Subscribed:
        keys = self._tables.rows("SELECT key, expires_at FROM keys WHERE subscription = ? ORDER BY number", number)
        replays = self._tables.rows(
            "SELECT next_seq, until_seq FROM replays WHERE subscription = ? ORDER BY number", number
        )
        return Subscribed(id_, since, behind, list(others), keys, replays)

    def _bring(self, tenant: int, body: bytes) -> bool:
        page = decode(body)
        kept = signed(tenant)
        self._held.discard(tenant)
        with self._tables.commit(durable=True):
            if page.first:
                self._delete(kept)
                for each in page.subscriptions:
                    self._add(kept, each)
                for request in page.requests:
                    self._tables.run("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", kept, *request)
            numbers = {id_: number for number, id_, *_ in self._subscriptions_of(kept)}
            for delivered in page.deliveries:
                self._add_delivery(numbers[delivered.subscription], delivered)
            for id_ in page.enabled:
                self._tables.run("UPDATE subscriptions SET enabled = 1 WHERE number = ?", numbers[id_])
        self._load()
        return True

    def _add(self, kept: int, each: Subscribed) -> None:
        number = self._tables.add(
            f"INSERT INTO subscriptions (id, tenant, since_seq, behind_seq, enabled, {_SUBSCRIPTION}) "
            "VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            each.id,
            kept,
            each.since,
            each.behind,
            *each.others,
        )
        for key, expires_at in each.keys:
            self._tables.run(
                "INSERT INTO keys (subscription, key, expires_at) VALUES (?, ?, ?)", number, key, expires_at
            )
        for first, until in each.replays:
            self._deliveries.replay(number, first, until)

    def _add_delivery(self, subscription: int, each: Delivered) -> None:
        number = self._tables.add(
            f"INSERT INTO deliveries (subscription, seq, {_DELIVERY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            subscription,
            each.seq,
            *each.others,
        )
        for one in each.tries:
            self._tables.run("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?)", number, *one)

    def _forget(self, tenant: int, body: bytes) -> bool:
        with self._tables.commit(durable=True):
            self._delete(signed(tenant))
        self._load()
        return True

    def _delete(self, kept: int) -> None:
        self._tables.run("DELETE FROM subscriptions WHERE tenant = ?", kept)
        self._tables.run("DELETE FROM requests WHERE tenant = ?", kept)

    def _load(self) -> None:
        self._subscriptions.load()
        self._deliveries.load()
