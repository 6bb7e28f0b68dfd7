"""From the journal to deliveries, exactly once: the cursor moves in the commit that makes what it has passed.

**The journal is the queue.** A subscription that has many deliveries not tried yet, or is disabled, gets no more for
now: it is noted from which entry on it is *behind*, and what it lacks is made from the journal when there is room. So a
receiver that is away for a week costs no more room here than one that is away for a minute. A replay is the same over a
range that was passed already.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tallystick import telling
from tallystick.clock import Clock
from tallystick.journal.follow import Cursor, rows_from
from tallystick.journal.port import JournalReader
from tallystick.notifier.deliveries import Deliveries
from tallystick.notifier.notifications import Notification, notifications
from tallystick.notifier.port import Tables
from tallystick.notifier.subscriptions import Subscription, Subscriptions
from tallystick.records.entries import WORK

FRESH_MAX = 10_000
"""Deliveries of one subscription that were never tried; beyond it, it falls behind."""
ENTRIES_AT_ONCE = 8_192
"""Entries looked at in one commit, about: what is new is taken in whole blocks."""


class Making:
    """The notifier's `Effects`, and what comes after them. Not safe for concurrent calls."""

    def __init__(
        self,
        tables: Tables,
        journal: JournalReader,
        subscriptions: Subscriptions,
        deliveries: Deliveries,
        clock: Clock,
        fresh_max: int = FRESH_MAX,
    ) -> None:
        """Tables that were never used begin at the journal's durable end: nobody has subscribed to what was before."""
        self._tables = tables
        self._journal = journal
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._clock = clock
        self._fresh_max = fresh_max
        if tables.row("SELECT count(*) FROM cursor") == (0,):
            with tables.commit(durable=True):
                tables.run("INSERT INTO cursor VALUES (1, ?, NULL)", journal.end())
        self._turn = 0

    def cursor(self) -> Cursor:
        """Where the last commit left it. Raises `Unavailable`."""
        next_seq, block_hash = self._tables.row("SELECT next_seq, block_hash FROM cursor")
        return Cursor(next_seq, block_hash)

    def take(self, blocks: Sequence[object], after: Cursor) -> None:
        """Make what these blocks' entries tell, and move the cursor, in one commit (`journal.follow.Effects`)."""
        cursor = self.cursor()
        live = [each for each in self._subscriptions if each.behind_seq is None]
        with self._tables.commit():
            if live:
                work = rows_from(blocks, cursor.next_seq)[0].view(WORK)  # type: ignore[arg-type]
                self._make_live(work, live, cursor.next_seq)
            self._tables.run("UPDATE cursor SET next_seq = ?, block_hash = ?", after.next_seq, after.block_hash)

    def _make_live(self, work: npt.NDArray[np.void], live: list[Subscription], first: int) -> None:
        chosen = _Chosen(work, live)
        for subscription in live:
            places = chosen.places(subscription)
            if not len(places):
                continue
            if len(places) > self._room(subscription):
                self._subscriptions.set_behind(subscription, first)
                continue
            self._make(subscription, chosen.told(places))

    def behind(self) -> int:
        """Entries that are still to be looked at for subscriptions that are behind, and for replays."""
        firsts = [each.behind_seq for each in self._subscriptions if each.enabled and each.behind_seq is not None]
        end = self.cursor().next_seq if firsts else 0
        replays = [
            until - first
            for _, subscription, first, until in self._deliveries.all_replays()
            if self._subscriptions.by_number[subscription].enabled
        ]
        return sum(end - first for first in firsts) + sum(replays)

    def step(self, at_once: int = ENTRIES_AT_ONCE) -> int:
        """Go on with one subscription that is behind and has room, or with one replay, by so many entries.

        Returns how many were looked at; 0: there is none. Raises `Unavailable` if it cannot be done now, `Corrupt` if
        the journal is.
        """
        rows = self._deliveries.all_replays()
        waiting = [
            each
            for each in self._subscriptions
            if each.enabled and each.behind_seq is not None and self._has_room(each)
        ]
        replays = [
            row
            for row in rows
            if self._subscriptions.by_number[row[1]].enabled and self._has_room(self._subscriptions.by_number[row[1]])
        ]
        if not waiting and not replays:
            return 0
        self._turn += 1
        at = self._turn % (len(waiting) + len(replays))
        if at < len(waiting):
            return self._catch_up(waiting[at], at_once)
        return self._replay(*replays[at - len(waiting)], at_once)

    def _catch_up(self, subscription: Subscription, at_once: int) -> int:
        behind = subscription.behind_seq
        assert behind is not None
        end = self.cursor().next_seq
        told, reached = self._look(subscription, behind, end, at_once)
        with self._tables.commit():
            self._make(subscription, told)
            self._subscriptions.set_behind(subscription, None if reached >= end else reached)
        return max(1, reached - behind)

    def _replay(self, number: int, subscription_number: int, next_seq: int, until_seq: int, at_once: int) -> int:
        subscription = self._subscriptions.by_number[subscription_number]
        told, reached = self._look(subscription, next_seq, until_seq, at_once, since=0)
        with self._tables.commit():
            self._make(subscription, told, again=True)
            if reached >= until_seq:
                self._tables.run("DELETE FROM replays WHERE number = ?", number)
            else:
                self._tables.run("UPDATE replays SET next_seq = ? WHERE number = ?", reached, number)
        return max(1, reached - next_seq)

    def _look(
        self, subscription: Subscription, first: int, until: int, at_once: int, since: int | None = None
    ) -> tuple[list[Notification], int]:
        """What to tell of entries `first` to `until`, as far as there is room, and the first that was not looked at."""
        seen = 0
        blocks = []
        for block in self._journal.read(first) if first < until else ():
            blocks.append(block)
            seen += block.header.count
            if seen >= at_once or block.header.next >= until:
                break
        if not blocks:
            return [], until
        work = rows_from(blocks, first)[0].view(WORK)
        work = work[: min(until - first, at_once)]
        reached = int(work["seq"][-1]) + 1
        # What it missed, or wants to hear again, it may have missed in the shard that its tenant came from.
        chosen = _Chosen(work, [subscription], carried=True)
        places = chosen.places(subscription, since)
        room = self._room(subscription)
        if len(places) > room:
            reached = int(work["seq"][places[room]])
            places = places[:room]
        return chosen.told(places), reached

    def _make(self, subscription: Subscription, told: list[Notification], again: bool = False) -> None:
        if told:
            self._deliveries.make(subscription.number, subscription.id, told, self._clock.wall_ns(), again)

    def _room(self, subscription: Subscription) -> int:
        return max(0, self._fresh_max - self._deliveries.fresh.get(subscription.number, 0))

    def _has_room(self, subscription: Subscription) -> bool:
        """Enough for going on to be worth a look at the journal."""
        return self._room(subscription) * 2 >= self._fresh_max


class _Chosen:
    """Entries, their types, and what was told of them already: subscriptions of a tenant share it."""

    def __init__(self, work: npt.NDArray[np.void], subscriptions: list[Subscription], carried: bool = False) -> None:
        """`carried`: copies that came with a tenant from another shard are told of as well."""
        self._work = work
        self._types = np.full(len(work), telling.NONE, np.uint8)
        tenants = np.array(sorted({each.tenant for each in subscriptions}), np.uint64)
        theirs = np.flatnonzero(np.isin(work["tenant"], tenants))
        if len(theirs):
            self._types[theirs] = telling.types_of(telling.rows_at(work, theirs), carried)
        self._told: dict[int, Notification] = {}

    def places(self, subscription: Subscription, since: int | None = None) -> npt.NDArray[np.intp]:
        """The entries that this subscription is told of."""
        since = subscription.since_seq if since is None else since
        return np.flatnonzero(
            subscription.wanted[self._types]
            & (self._work["tenant"] == np.uint64(subscription.tenant))
            & (self._work["seq"] >= np.uint64(since))
        )

    def told(self, places: npt.NDArray[np.intp]) -> list[Notification]:
        """What is told of them."""
        new = [place for place in places.tolist() if place not in self._told]
        if new:
            made = notifications(telling.rows_at(self._work, np.array(new)), self._types[new])
            self._told.update(zip(new, made, strict=True))
        return [self._told[place] for place in places.tolist()]
