"""Callers in process: many threads and coroutines on one engine. What comes together is decided together.

A call queues its commands and waits; the loop's thread takes all that waits as one batch, the writer's thread
makes it durable and wakes those it answers. While one block is being synced the next gathers callers: group commit.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.compose.handoff import Housekeeper, WriterThread
from tallystick.compose.parts import Parts
from tallystick.compose.waiters import CoroutineWaiter, Waiter, settle_all
from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Answer, Delivery
from tallystick.engine.loop import EngineLoop
from tallystick.engine.writer import Writer
from tallystick.errors import Invalid, OutcomeUnknown, Unavailable
from tallystick.records.commands import COMMAND, COMMANDS_MAX
from tallystick.statuses import RequestStatus

KEY_REUSED = int(RequestStatus.IDEMPOTENCY_KEY_REUSED)
EXPIRY_WAIT_S_MAX = 1.0
"""However far away the next expiry is, the clock is looked at this often: it may have been set."""


class _Asked(NamedTuple):
    waiter: Waiter
    commands: bytes | npt.NDArray[np.void]
    size: int


class _LookUp(NamedTuple):
    waiter: Waiter
    look_up: Callable[[Decider], Any]


class _CallersGate:
    """Wakes callers when their block is durable."""

    def __init__(self, waiting: set[Waiter]) -> None:
        self._waiting = waiting

    def decided(self, answers: list[Answer], position: int) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for answer in answers:
            at = 0
            if answer.delivery.tag is None:
                continue  # decided alone after a crash; its callers are answered as the repeat comes through
            asked: list[_Asked] = answer.delivery.tag  # type: ignore[assignment]
            # Singles share a delivery: plain tuples, made at once, are cheaper than an array for each.
            rows = answer.rows if len(asked) == 1 else answer.rows.tolist()
            for waiter, _, count in asked:
                value = _checked(rows[at : at + count])
                at += count
                if not _taken(self._waiting, waiter):
                    continue
                if isinstance(waiter, CoroutineWaiter):
                    by_loop.setdefault(waiter.loop, []).append((waiter.future, value))
                else:
                    waiter.settle(value)
        for loop, settled in by_loop.items():
            settle_all(loop, settled)

    def durable(self, positions: Mapping[bytes, int]) -> None:
        pass  # in process there is no intake to trim


def _taken(waiting: set[Waiter], waiter: Waiter) -> bool:
    """Take a waiter to settle it: whoever gets True does, so that none is woken twice."""
    try:
        waiting.remove(waiter)
    except KeyError:
        return False  # the ledger stopped, and it was told so
    return True


def _checked(rows: Any) -> Any:
    """Rows of (timestamp, status, replayed), or what to raise instead."""
    if rows[0][1] == KEY_REUSED:
        return Invalid("request_id", "was used before with other content; take a new one for a new request")
    return rows


class Callers:
    """The source, the gate and the two threads of a ledger in process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._queue: queue.SimpleQueue[_Asked | _LookUp | None] = queue.SimpleQueue()
        self._left: _Asked | None = None  # taken from the queue, but too large for the batch at hand
        self._deliveries: list[Delivery] = []
        self._waiting: set[Waiter] = set()
        self._failure: BaseException | None = None
        self._closed = False
        self._ended = False
        self._closing = threading.Lock()
        self._writer = Writer(parts.journal, _CallersGate(self._waiting), parts.entropy)
        self._handoff = WriterThread(self._writer, self._failed)
        self._engine = EngineLoop(self, parts.decider, parts.timekeeper, parts.poison, self._handoff.put)
        self._housekeeper = Housekeeper(parts.chores, self._failed)
        self._thread = threading.Thread(target=self._run, name="tally-engine", daemon=True)
        self._thread.start()

    def ask(self, waiter: Waiter, commands: bytes | npt.NDArray[np.void], count: int) -> None:
        """Queue one request; `waiter` is settled with its `RESULT` rows once they are durable."""
        self._enqueue(_Asked(waiter, commands, count))

    def look_up(self, waiter: Waiter, look_up: Callable[[Decider], Any]) -> None:
        """Queue a look-up; `waiter` is settled with what it gives, once all it saw is durable."""
        self._enqueue(_LookUp(waiter, look_up))

    def _enqueue(self, item: _Asked | _LookUp) -> None:
        if self._failure is not None:
            raise Unavailable(f"the ledger stopped ({self._failure}); open it again") from self._failure
        if self._closed:
            raise Unavailable("the ledger is closed; open it again")
        self._waiting.add(item.waiter)
        self._queue.put(item)
        if self._failure is not None or self._ended:  # while it closes, what was queued is still decided
            self._settle_left_over()

    def receive(self, commands_max: int) -> list[Delivery]:
        """The engine's `Source`: what `_gather` has put together."""
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def statistics(self) -> dict[str, int]:
        """What the ledger has written and holds."""
        return {
            "blocks": self._writer.blocks_written,
            "bytes": self._writer.bytes_written,
            "accounts": self._parts.decider.bookkeeper.count(),
            "next_seq": self._parts.decider.next_seq,
        }

    def close(self) -> None:
        """Finish what was queued, end the threads, let go of the folder."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._handoff.stop()
            self._ended = True
            self._settle_left_over()
            self._housekeeper.stop()
            self._parts.close()

    def _run(self) -> None:
        try:
            while (item := self._left or self._next()) is not None:
                self._round(item)
        except BaseException as error:
            self._failed(error)

    def _next(self) -> _Asked | _LookUp | None:
        """What comes next; while nothing comes, pending transfers expire when their time comes."""
        while (due := self._parts.decider.next_expiry()) is not None:
            wait_s = (due - self._parts.timekeeper.now()) / 1e9
            try:
                # A due one is swept at once, but not before what waits already: that may be told to stop.
                return self._queue.get(timeout=min(max(wait_s, 0.001), EXPIRY_WAIT_S_MAX))
            except queue.Empty:
                self._engine.step()
        return self._queue.get()

    def _round(self, first: _Asked | _LookUp) -> None:
        """Decide all that waits, then answer the look-ups among it."""
        asked, look_ups = self._gather(first)
        self._deliveries = _deliveries(asked)
        self._engine.step()
        for one in look_ups:
            self._handoff.put(self._answering(one.waiter, one.look_up(self._parts.decider)))

    def _answering(self, waiter: Waiter, value: Any) -> Callable[[], None]:
        def answer() -> None:
            if _taken(self._waiting, waiter):
                waiter.settle(value)

        return answer

    def _gather(self, item: _Asked | _LookUp | None) -> tuple[list[_Asked], list[_LookUp]]:
        asked: list[_Asked] = []
        look_ups: list[_LookUp] = []
        count = 0
        self._left = None
        while item is not None:
            if isinstance(item, _LookUp):
                look_ups.append(item)
            elif count + item.size > COMMANDS_MAX:
                self._left = item
                return asked, look_ups
            else:
                asked.append(item)
                count += item.size
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return asked, look_ups
        self._queue.put(None)  # told to stop: after this batch
        return asked, look_ups

    def _failed(self, error: BaseException) -> None:
        """Nothing more is decided; whoever waits learns that the outcome is not known."""
        self._failure = self._failure or error
        self._settle_left_over()

    def _settle_left_over(self) -> None:
        unknown = f"the ledger stopped ({self._failure or 'closed'}); open it again and ask with the same request id"
        while self._waiting:
            try:
                waiter = self._waiting.pop()
            except KeyError:
                return
            waiter.settle(OutcomeUnknown(unknown))


def _deliveries(asked: list[_Asked]) -> list[Delivery]:
    """Single commands that follow each other make one delivery; a batch stays as it came."""
    deliveries: list[Delivery] = []
    run: list[_Asked] = []

    def end_run() -> None:
        if run:
            joined = b"".join([one.commands for one in run])  # type: ignore[misc]
            deliveries.append(Delivery(np.frombuffer(joined, COMMAND), tag=run.copy()))
            run.clear()

    for one in asked:
        if isinstance(one.commands, bytes):
            run.append(one)
        else:
            end_run()
            deliveries.append(Delivery(one.commands, tag=[one]))
    end_run()
    return deliveries
