"""Deliveries: one notification for one subscription, every attempt to bring it there, and what became of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tallystick.notifier import schedule
from tallystick.notifier.notifications import Notification, webhook_id
from tallystick.notifier.port import Tables
from tallystick.notifier.schedule import Next, Reply
from tallystick.webhooks.shapes import AttemptOut, DeliveryDetail, DeliveryOut

ATTEMPTS_SHOWN = 50
TIDIED_AT_ONCE = 1_000
_NEW = {"state": 0, "tries": 0, "attempts": 0, "reason": ""}


class State(IntEnum):
    """How a delivery stands."""

    WAITING = 0
    DELIVERED = 1
    DEAD = 2


STATES = {state.name.lower(): state for state in State}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery to be sent."""

    number: int
    webhook_id: str
    body: bytes
    tries: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that is over."""

    delivery: Waiting
    at_ns: int
    took_ms: int
    reply: Reply
    chance: float
    """From 0 to 1: spreads the next try."""


@dataclass(frozen=True, slots=True)
class _Followed:
    """What becomes of a delivery after one attempt."""

    next: Next
    state: State
    due_at: int
    done_at: int | None


def _followed(attempt: Attempt) -> _Followed:
    tries = attempt.delivery.tries + 1
    follows = schedule.after(attempt.reply, tries)
    ended_ns = attempt.at_ns + attempt.took_ms * 1_000_000
    if follows is Next.AGAIN:
        return _Followed(follows, State.WAITING, ended_ns + schedule.delay_ns(tries, attempt.chance), None)
    state = State.DELIVERED if follows is Next.DELIVERED else State.DEAD
    return _Followed(follows, state, ended_ns, ended_ns)


class Deliveries:
    """All deliveries of the shard. Changes are made inside `Tables.commit`, which its callers begin."""

    def __init__(self, tables: Tables, shard: int) -> None:
        self._tables = tables
        self._shard = shard
        self.stirred: set[int] = set()
        """Numbers of subscriptions with deliveries that may be due earlier than was known."""
        self.fresh: dict[int, int] = {}
        """Of each subscription by number, how many deliveries were never tried."""
        self.is_replaying = True
        """Whether there may be ranges to be told again."""
        self.load()
        tables.after_rollback(self.load)

    def load(self) -> None:
        """Count again what is fresh, and look again at all that wait. Raises `Unavailable`, `Corrupt`."""
        self.fresh = dict(
            self._tables.rows(
                "SELECT subscription, count(*) FROM deliveries WHERE state = 0 AND tries = 0 GROUP BY subscription"
            )
        )
        # Also where all was tried before: what is due of it is known by no other time than that in the tables.
        self.stirred.update(
            number
            for [number] in self._tables.rows(
                "SELECT number FROM subscriptions WHERE EXISTS "
                "(SELECT 1 FROM deliveries WHERE subscription = subscriptions.number AND state = 0)"
            )
        )
        self.is_replaying = True

    def make(self, subscription: int, id_: int, told: Sequence[Notification], now_ns: int, again: bool = False) -> None:
        """One for each notification, due now. `again`: also of those that are not waiting any more."""
        otherwise = (
            "UPDATE SET state = 0, tries = 0, due_at = excluded.due_at, done_at = NULL, reason = '' "
            "WHERE deliveries.state != 0"
            if again
            else "NOTHING"
        )
        self._tables.insert(
            "deliveries",
            ("subscription", "seq", "webhook_id", "type", "body", "made_at", "due_at", *_NEW),
            [
                (
                    subscription,
                    each.seq,
                    webhook_id(id_, self._shard, each.seq, each.nonce),
                    str(each.type),
                    each.body,
                    now_ns,
                    now_ns,
                    *_NEW.values(),
                )
                for each in told
            ],
            f"(subscription, seq) WHERE seq IS NOT NULL DO {otherwise}",
        )
        self._stir(subscription, self._tables.touched())

    def make_test(self, subscription: int, webhook_id: str, type_: str, body: bytes, now_ns: int) -> None:
        """One that tells of no entry, due now."""
        self._tables.run(
            "INSERT INTO deliveries "
            "(subscription, seq, webhook_id, type, body, state, tries, attempts, made_at, due_at, reason) "
            "VALUES (?, NULL, ?, ?, ?, 0, 0, 0, ?, ?, '')",
            subscription,
            webhook_id,
            str(type_),
            body,
            now_ns,
            now_ns,
        )
        self._stir(subscription, 1)

    def again(self, subscription: int, webhook_id: str, now_ns: int) -> None:
        """Have one sent now, whatever became of it, on a new schedule."""
        fresh = self._tables.row(
            "SELECT count(*) FROM deliveries WHERE subscription = ? AND webhook_id = ? AND (state != 0 OR tries != 0)",
            subscription,
            webhook_id,
        )
        self._tables.run(
            "UPDATE deliveries SET state = 0, tries = 0, due_at = ?, done_at = NULL, reason = '' "
            "WHERE subscription = ? AND webhook_id = ?",
            now_ns,
            subscription,
            webhook_id,
        )
        self._stir(subscription, fresh[0])

    def hurry(self, subscription: int, now_ns: int) -> None:
        """Have all that wait sent now: the receiver is there again."""
        self._tables.run(
            "UPDATE deliveries SET due_at = ? WHERE subscription = ? AND state = 0 AND due_at > ?",
            now_ns,
            subscription,
            now_ns,
        )
        self.stirred.add(subscription)

    def due(self, subscription: int, now_ns: int, limit: int, besides: Collection[int]) -> list[Waiting]:
        """Up to `limit` that are due, the longest due first, without those in `besides`."""
        rows = self._tables.rows(
            "SELECT number, webhook_id, body, tries, attempts FROM deliveries INDEXED BY deliveries_due "
            "WHERE subscription = ? AND state = 0 AND due_at <= ? ORDER BY due_at, number LIMIT ?",
            subscription,
            now_ns,
            limit + len(besides),
        )
        return [Waiting(*row) for row in rows if row[0] not in besides][:limit]

    def next_due_ns(self, subscription: int, after_ns: int) -> int | None:
        """When the first that is not due at `after_ns` will be; None: there is none."""
        [found] = self._tables.row(
            "SELECT min(due_at) FROM deliveries INDEXED BY deliveries_due "
            "WHERE subscription = ? AND state = 0 AND due_at > ?",
            subscription,
            after_ns,
        )
        return None if found is None else int(found)

    def record(self, over: Sequence[tuple[int, Attempt]]) -> list[Next]:
        """Keep attempts, each with the number of its subscription; returns what follows from each."""
        every = [_followed(attempt) for _, attempt in over]
        self._tables.insert(
            "attempts",
            ("delivery", "number", "at", "took_ms", "status", "error"),
            [
                (
                    attempt.delivery.number,
                    attempt.delivery.attempts + 1,
                    attempt.at_ns,
                    attempt.took_ms,
                    attempt.reply.status,
                    attempt.reply.error,
                )
                for _, attempt in over
            ],
            "(delivery, number) DO UPDATE SET "
            "at = excluded.at, took_ms = excluded.took_ms, status = excluded.status, error = excluded.error",
        )
        self._tables.update(
            "deliveries",
            ("state", "due_at", "done_at", "reason", "tries", "attempts"),
            [
                (
                    int(follows.state),
                    follows.due_at,
                    follows.done_at,
                    schedule.told(attempt.reply),
                    attempt.delivery.tries + 1,
                    attempt.delivery.attempts + 1,
                    attempt.delivery.number,
                )
                for (_, attempt), follows in zip(over, every, strict=True)
            ],
        )
        for subscription, attempt in over:
            if not attempt.delivery.tries:
                self.fresh[subscription] = self.fresh.get(subscription, 0) - 1
            self.stirred.add(subscription)
        return [each.next for each in every]

    def waiting(self, subscription: int) -> int:
        """How many wait."""
        found: int = self._tables.row(
            "SELECT count(*) FROM deliveries WHERE subscription = ? AND state = 0", subscription
        )[0]
        return found

    def page(self, subscription: int, state: State | None, before: int | None, limit: int) -> list[DeliveryOut]:
        """Newest first, of a state or of all, older than the number `before`."""
        wanted = (
            "INDEXED BY deliveries_by_state WHERE subscription = ? AND state = ?"
            if state is not None
            else "WHERE subscription = ?"
        )
        values = [subscription] + ([int(state)] if state is not None else [])
        if before is not None:
            wanted += " AND number < ?"
            values.append(before)
        statement = f"SELECT {_SHOWN} FROM deliveries {wanted} ORDER BY number DESC LIMIT ?"
        rows = self._tables.rows(statement, *values, limit)
        return [DeliveryOut(**_shown(row)) for row in rows]

    def number(self, subscription: int, webhook_id: str) -> int | None:
        """Which delivery has this `webhook-id`."""
        row = self._tables.row(
            "SELECT number FROM deliveries WHERE subscription = ? AND webhook_id = ?", subscription, webhook_id
        )
        return row and int(row[0])

    def detail(self, number: int) -> DeliveryDetail:
        """All that is known of one."""
        row = self._tables.row(f"SELECT {_SHOWN}, body FROM deliveries WHERE number = ?", number)
        tries = self._tables.rows(
            "SELECT number, at, took_ms, status, error FROM attempts WHERE delivery = ? ORDER BY number DESC LIMIT ?",
            number,
            ATTEMPTS_SHOWN,
        )
        shown = [AttemptOut(each[0], str(each[1]), *each[2:]) for each in reversed(tries)]
        return DeliveryDetail(**_shown(row[:-1]), body=row[-1].decode(), tries=shown)

    def tests_waiting(self, subscription: int) -> int:
        """How many tests wait."""
        found: int = self._tables.row(
            "SELECT count(*) FROM deliveries WHERE subscription = ? AND state = 0 AND seq IS NULL", subscription
        )[0]
        return found

    def replay(self, subscription: int, first: int, until: int) -> None:
        """Have entries from `first` on, before `until`, told again."""
        if first < until:
            self.is_replaying = True
            self._tables.run(
                "INSERT INTO replays (subscription, next_seq, until_seq) VALUES (?, ?, ?)", subscription, first, until
            )

    def all_replays(self) -> list[tuple[int, int, int, int]]:
        """Of each range that is to be told again its number, its subscription's, and where it begins and ends."""
        if not self.is_replaying:
            return []
        found = self._tables.rows("SELECT number, subscription, next_seq, until_seq FROM replays ORDER BY number")
        self.is_replaying = bool(found)
        return found

    def replays(self, subscription: int) -> int:
        """How many ranges are still to be told again."""
        found: int = self._tables.row("SELECT count(*) FROM replays WHERE subscription = ?", subscription)[0]
        return found

    def tidy(self, done_before_ns: int) -> int:
        """Forget some that ended before then, with their attempts; returns how many."""
        self._tables.run(
            "DELETE FROM deliveries WHERE number IN "
            "(SELECT number FROM deliveries INDEXED BY deliveries_done WHERE done_at < ? LIMIT ?)",
            done_before_ns,
            TIDIED_AT_ONCE,
        )
        return self._tables.touched()

    def forget(self, subscription: int) -> None:
        """It is no more."""
        self.fresh.pop(subscription, None)
        self.stirred.discard(subscription)

    def _stir(self, subscription: int, fresh: int) -> None:
        self.fresh[subscription] = self.fresh.get(subscription, 0) + fresh
        self.stirred.add(subscription)


_SHOWN = "webhook_id, type, seq, state, attempts, made_at, due_at, done_at, reason"
_NAMES = {int(state): name for name, state in STATES.items()}


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    webhook_id, type_, seq, state, attempts, made_at, due_at, done_at, reason = row
    return {
        "id": webhook_id,
        "type": type_,
        "position": None if seq is None else str(seq),
        "state": _NAMES[state],
        "attempts": attempts,
        "made_at": str(made_at),
        "due_at": str(due_at) if state == State.WAITING else None,
        "done_at": None if done_at is None else str(done_at),
        "reason": reason,
    }
