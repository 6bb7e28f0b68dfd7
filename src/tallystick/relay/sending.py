"""From the journal to an outlet, at least once: the cursor moves when the broker has confirmed all that it passes.

The cursor stands in a small file of its own, not at the broker, so sending and moving it are two acts: whoever is
killed between them sends one slice again. Each outlet has its own cursor, and one that was never used begins at entry
0: the feed is complete, for whoever begins to read it whenever.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from tallystick import telling
from tallystick.blockfile.slots import Slots
from tallystick.clock import Clock
from tallystick.journal.follow import Cursor, rows_from
from tallystick.records.blocks import EntryBlock
from tallystick.records.entries import WORK
from tallystick.relay import cloudevents
from tallystick.relay.port import Event, Outlet

ENTRIES_AT_ONCE = 8_192
"""Entries of a slice, about: what is sent again at most, and is in memory."""


class _Kept(msgspec.Struct, frozen=True):
    """The cursor as it stands in the file."""

    next_seq: int
    block_hash: bytes | None


class Sending:
    """The relay's `Effects`. Not safe for concurrent calls."""

    def __init__(
        self,
        outlet: Outlet,
        open_slots: Callable[[], Slots],
        source: str,
        shard: int,
        clock: Clock,
        sent: Callable[[int, int, int], None] = lambda events, unrouted, took_ns: None,
    ) -> None:
        """`open_slots`: the file of the cursor, opened anew after it failed. `sent` hears what was sent: how many, how
        many of them nobody receives, and how long it took.
        """
        self._outlet = outlet
        self._open_slots = open_slots
        self._slots: Slots | None = None
        self._source = source
        self._shard = shard
        self._clock = clock
        self._sent = sent

    def cursor(self) -> Cursor:
        """As it is stored, once the outlet can be reached: an operator hears that it cannot before there is anything to
        send, not at the first payment after. Raises as the outlet; `Corrupt` if the file is damaged.
        """
        self._outlet.connect()
        return self.stored()

    def stored(self) -> Cursor:
        """As it is stored. Raises `Unavailable`; `Corrupt` if the file is damaged."""
        if self._slots is None:
            self._slots = self._open_slots()
        value = self._slots.value
        if value is None:
            return Cursor()
        kept = msgspec.json.decode(value, type=_Kept)
        return Cursor(kept.next_seq, kept.block_hash)

    def take(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        """Send what these blocks' entries tell, and then move the cursor (`journal.follow.Effects`)."""
        events = self._events(blocks, self.stored().next_seq)
        if events:
            began_ns = self._clock.monotonic_ns()
            unrouted = self._outlet.send(events)
            self._sent(len(events), unrouted, self._clock.monotonic_ns() - began_ns)
        self._move(after)

    def _events(self, blocks: Sequence[EntryBlock], first: int) -> list[Event]:
        work = rows_from(blocks, first)[0].view(WORK)
        types = telling.types_of(work)
        chosen = np.flatnonzero(types != telling.NONE)
        if not len(chosen):
            return []
        told = telling.told(telling.rows_at(work, chosen), types[chosen])
        return [cloudevents.event(each, self._source, self._shard) for each in told]

    def _move(self, cursor: Cursor) -> None:
        assert self._slots is not None
        try:
            self._slots.store(msgspec.json.encode(_Kept(cursor.next_seq, cursor.block_hash)))
        except BaseException:
            self.close()  # what failed is spent
            raise

    def close(self) -> None:
        """Let go of the cursor's file, not of the outlet."""
        if self._slots is not None:
            self._slots.close()
        self._slots = None
