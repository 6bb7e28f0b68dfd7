"""What tenants do with their subscriptions and see of their deliveries, as gateways ask it.

Everything is a tenant's own or does not exist. What changes something is durable before it is answered.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from tallystick import ids
from tallystick.clock import Clock, Entropy
from tallystick.errors import Invalid
from tallystick.inquiries.port import NotFound
from tallystick.journal.port import JournalReader
from tallystick.notifier import notifications
from tallystick.notifier.deliveries import STATES, Deliveries
from tallystick.notifier.making import Making
from tallystick.notifier.port import Tables, signed
from tallystick.notifier.subscriptions import ASKED, Subscription, Subscriptions
from tallystick.notifier.travelling import Travelling
from tallystick.webhooks import asking
from tallystick.webhooks.asking import Asked, Operation, Result, Told
from tallystick.webhooks.shapes import (
    PAGE_MAX,
    Deleted,
    DeliveryList,
    KeyMade,
    ReplayIn,
    ReplayOut,
    Rotation,
    SubscriptionChange,
    SubscriptionIn,
    SubscriptionList,
    SubscriptionMade,
    SubscriptionOut,
)
from tallystick.webhooks.types import Type

REPLAYS_MAX = 10
"""Ranges that wait to be sent again, of one subscription."""
TESTS_MAX = 100
"""Tests that wait, of one subscription."""
REMEMBERED_S = 86_400
"""How long a POST that comes again is known."""
_SECOND = 1_000_000_000
_encode = msgspec.json.Encoder().encode
_Shape = TypeVar("_Shape")


class Desk:
    """Answers one question at a time, on the thread that has the tables."""

    def __init__(
        self,
        tables: Tables,
        journal: JournalReader,
        subscriptions: Subscriptions,
        deliveries: Deliveries,
        making: Making,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._tables = tables
        self._journal = journal
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._making = making
        self._clock = clock
        self._entropy = entropy
        self._travelling = Travelling(tables, subscriptions, deliveries, making)
        self._operations: dict[str, Callable[[int, Asked], Told]] = {
            Operation.LIST: self._list,
            Operation.GET: self._get,
            Operation.DELIVERIES: self._page,
            Operation.DELIVERY: self._delivery,
            Operation.MAKE: self._once(self._make),
            Operation.CHANGE: self._change,
            Operation.DELETE: self._delete,
            Operation.ROTATE: self._once(self._rotate),
            Operation.TEST: self._test,
            Operation.AGAIN: self._again,
            Operation.REPLAY: self._replay,
        }

    def answer(self, operation: str, tenant: int, body: bytes) -> bytes:
        """An `asking.Told` to an `asking.Asked`.

        Raises `Invalid` for what cannot be understood, `NotFound` for what this tenant does not have, `Unavailable` if
        the tables cannot be written, `OutcomeUnknown` if it may have been done.
        """
        if self._travelling.takes(operation):
            self._tables.settle()
            return self._travelling.answer(operation, tenant, body)
        self._travelling.refuse_held(tenant)
        found = self._operations.get(operation)
        if found is None:
            raise Invalid("operation", f"{operation} is not known to this notifier; upgrade it")
        try:
            asked = asking.decode_asked(body)
        except msgspec.DecodeError as error:
            raise Invalid("", "is no question; is the gateway newer?") from error
        self._tables.settle()
        return asking.encode(found(tenant, asked))

    def tidy(self, now_ns: int) -> None:
        """Forget requests of long ago; inside `Tables.commit`."""
        self._tables.run("DELETE FROM requests WHERE made_at < ?", now_ns - REMEMBERED_S * _SECOND)

    def _once(self, act: Callable[[int, Asked], Told]) -> Callable[[int, Asked], Told]:
        """`act` in one durable commit with the memory of it, so that the same request gets the same answer."""

        def acted(tenant: int, asked: Asked) -> Told:
            key = signed(tenant), asked.request_id
            row = self._tables.row("SELECT fingerprint, body FROM requests WHERE tenant = ? AND request_id = ?", *key)
            if row is not None:
                same = row[0] == asked.fingerprint
                return Told(Result.REPEATED, row[1]) if same else Told(Result.REUSED)
            with self._tables.commit(durable=True):
                told = act(tenant, asked)
                if told.result is Result.DONE:
                    values = (*key, asked.fingerprint, told.body, self._clock.wall_ns())
                    self._tables.run("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", *values)
            return told

        return acted

    def _list(self, tenant: int, asked: Asked) -> Told:
        return _done(SubscriptionList([self._shown(each) for each in self._subscriptions.of(tenant)]))

    def _get(self, tenant: int, asked: Asked) -> Told:
        return self._show(self._find(tenant, asked))

    def _make(self, tenant: int, asked: Asked) -> Told:
        wanted = _decoded(asked, SubscriptionIn)
        end, cursor = self._journal.end(), self._making.cursor().next_seq
        since = end if wanted.from_position is msgspec.UNSET else _position(wanted.from_position, "from_position")
        if since > end:
            raise Invalid("from_position", f"must not be beyond {end}, the end of the journal")
        made = self._subscriptions.make(tenant, wanted, self._clock.wall_ns(), since, behind=since < cursor)
        fields = msgspec.structs.asdict(self._shown(made))
        return Told(Result.DONE, _encode(SubscriptionMade(**fields, key=made.key)), made.version)

    def _change(self, tenant: int, asked: Asked) -> Told:
        wanted = _decoded(asked, SubscriptionChange)
        found = self._find(tenant, asked)
        if _stale(asked, found):
            return Told(Result.STALE, b"", found.version)
        if wanted.skip_missed and (wanted.enabled is not True or found.enabled):
            raise Invalid("skip_missed", "goes with enabled: true, of a subscription that is not enabled")
        now_ns = self._clock.wall_ns()
        with self._tables.commit(durable=True):
            changed = self._subscriptions.change(found, wanted, now_ns)
            if wanted.enabled is False:
                changed = self._subscriptions.disable(changed, ASKED, now_ns, self._making.cursor().next_seq)
            elif wanted.enabled is True and not changed.enabled:
                skip_to = self._journal.end() if wanted.skip_missed else None
                changed = self._subscriptions.enable(changed, now_ns, skip_to)
                self._deliveries.hurry(changed.number, now_ns)
        return self._show(changed)

    def _delete(self, tenant: int, asked: Asked) -> Told:
        found = self._find(tenant, asked)
        if _stale(asked, found):
            return Told(Result.STALE, b"", found.version)
        with self._tables.commit(durable=True):
            self._subscriptions.delete(found)
        self._deliveries.forget(found.number)
        return _done(Deleted(ids.show(found.id)))

    def _rotate(self, tenant: int, asked: Asked) -> Told:
        wanted, found = _decoded(asked, Rotation), self._find(tenant, asked)
        now_ns = self._clock.wall_ns()
        until_ns = now_ns + wanted.overlap_s * _SECOND
        return _done(KeyMade(self._subscriptions.rotate(found, now_ns, until_ns).key, str(until_ns)))

    def _test(self, tenant: int, asked: Asked) -> Told:
        found = self._find(tenant, asked)
        if not found.enabled:
            raise Invalid("enabled", "is false: enable the subscription first")
        if self._deliveries.tests_waiting(found.number) >= TESTS_MAX:
            raise Invalid("id", f"has {TESTS_MAX} tests waiting already; wait until they are delivered")
        now_ns, webhook_id = self._clock.wall_ns(), f"msg_{self._entropy(16).hex()}"
        body = notifications.body(Type.WEBHOOK_TEST, now_ns, {"subscription_id": ids.show(found.id)})
        with self._tables.commit(durable=True):
            self._deliveries.make_test(found.number, webhook_id, Type.WEBHOOK_TEST, body, now_ns)
        return self._detail(found, webhook_id)

    def _page(self, tenant: int, asked: Asked) -> Told:
        found = self._find(tenant, asked)
        if asked.state and asked.state not in STATES:
            raise Invalid("state", f"must be one of {', '.join(STATES)}")
        if not 1 <= asked.limit <= PAGE_MAX:
            raise Invalid("limit", f"must be 1 to {PAGE_MAX}")
        before = self._deliveries.number(found.number, asked.before) if asked.before else None
        if asked.before and before is None:
            raise Invalid("before", "is no delivery of this subscription, or was forgotten; begin with the first page")
        state = STATES[asked.state] if asked.state else None
        page = self._deliveries.page(found.number, state, before, asked.limit)
        return _done(DeliveryList(page, page[-1].id if len(page) == asked.limit else None))

    def _delivery(self, tenant: int, asked: Asked) -> Told:
        return self._detail(self._find(tenant, asked), asked.webhook_id)

    def _again(self, tenant: int, asked: Asked) -> Told:
        found = self._find(tenant, asked)
        self._number(found, asked.webhook_id)
        with self._tables.commit(durable=True):
            self._deliveries.again(found.number, asked.webhook_id, self._clock.wall_ns())
        return self._detail(found, asked.webhook_id)

    def _replay(self, tenant: int, asked: Asked) -> Told:
        wanted, found = _decoded(asked, ReplayIn), self._find(tenant, asked)
        end = self._making.cursor().next_seq
        first = _position(wanted.from_position, "from_position")
        unset = wanted.until_position is msgspec.UNSET
        until = end if unset else _position(wanted.until_position, "until_position")
        if until > end:
            raise Invalid("until_position", f"must not be beyond {end}: what comes after is still to be told")
        if first > until:
            raise Invalid("from_position", f"must not be beyond {until}")
        with self._tables.commit(durable=True):
            if self._deliveries.replays(found.number) >= REPLAYS_MAX:
                raise Invalid("from_position", f"is one too many: {REPLAYS_MAX} replays are under way; wait for them")
            self._deliveries.replay(found.number, first, until)
        return _done(ReplayOut(str(first), str(until)))

    def _find(self, tenant: int, asked: Asked) -> Subscription:
        id_ = int.from_bytes(asked.subscription)
        found = self._subscriptions.find(tenant, id_)
        if found is None:
            raise NotFound(f"this tenant has no subscription {ids.show(id_)}")
        return found

    def _number(self, subscription: Subscription, webhook_id: str) -> int:
        found = self._deliveries.number(subscription.number, webhook_id)
        if found is None:
            raise NotFound("this subscription has no such delivery, or it was forgotten")
        return found

    def _detail(self, subscription: Subscription, webhook_id: str) -> Told:
        return _done(self._deliveries.detail(self._number(subscription, webhook_id)))

    def _show(self, subscription: Subscription) -> Told:
        return Told(Result.DONE, _encode(self._shown(subscription)), subscription.version)

    def _shown(self, each: Subscription) -> SubscriptionOut:
        told = self._making.cursor().next_seq if each.behind_seq is None else each.behind_seq
        return SubscriptionOut(
            id=ids.show(each.id),
            url=each.url,
            types=each.patterns,
            description=each.description,
            signature=each.signature,
            enabled=each.enabled,
            reason=each.reason,
            created_at=str(each.created_at),
            changed_at=str(each.changed_at),
            failing_since=None if each.failing_since is None else str(each.failing_since),
            next_position=str(max(told, each.since_seq)),
            waiting=self._deliveries.waiting(each.number),
            version=each.version,
        )


def _stale(asked: Asked, found: Subscription) -> bool:
    """Whether it is not the version that was asked about."""
    return asked.version not in (None, found.version)


def _done(body: msgspec.Struct) -> Told:
    return Told(Result.DONE, _encode(body))


def _decoded(asked: Asked, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(asked.body, type=shape)
    except msgspec.DecodeError as error:  # the gateway has looked at it before
        raise Invalid("", str(error)) from error


def _position(value: Any, field: str) -> int:
    """A position as the API takes it. Raises `Invalid`."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) >= 1 << 63:
        raise Invalid(field, "must be a position: a string of digits, below 2^63")
    return int(text)
