"""The notifier process: `Settings` → a running notifier, until SIGTERM or SIGINT.

One thread has the tables and the event loop: it follows the journal, makes deliveries, sends them and answers gateways,
in small steps by turns. Look-ups of names have threads of their own. Nothing here is on the way of a payment.
"""

import asyncio
import concurrent.futures
import gc
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import structlog
import uvloop

from tallystick.answers.addresses import address
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import following, logs, webhooks
from tallystick.compose.journals import Place
from tallystick.compose.notifying import Watch
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.inquiries.serverend import ServerEnd
from tallystick.journal import progress
from tallystick.journal.follow import Follower
from tallystick.journal.progress import ProgressFile
from tallystick.notifier.addresses import Guard
from tallystick.notifier.deliveries import Deliveries
from tallystick.notifier.delivering import IDLE_S, Courier, Limits
from tallystick.notifier.desk import Desk
from tallystick.notifier.making import ENTRIES_AT_ONCE, Making
from tallystick.notifier.schema import FOLDER, LOCK
from tallystick.notifier.sending import HttpSender
from tallystick.notifier.subscriptions import Subscriptions
from tallystick.settings import Settings

NAME = "notifier"
POLL_S = 0.02
"""How long to wait at the durable end: a webhook is that much later, and an idle machine has little to do."""
SHARE_S_MIN, SHARE_S_MAX = 0.003, 0.01
"""How long what is over waits for more, before both are written down: a commit of many costs little more than one of
few, and a database needs about that long for it, while webhooks are sent."""
SPEED = 5_000
"""Webhooks a second, about, that it makes and sends (`tally bench follow --case notifier`)."""
RETRY_S = 1.0
"""How long to wait when the tables cannot be written, as on a full disk."""
PROGRESS_EVERY_S = 1.0
TIDY_EVERY_S = 60.0
STOP_S = 3.0
"""How long what is on its way may take to arrive once the process is told to stop."""
LOOKUP_THREADS = 64
"""Name servers may hang; that many at once hold up nobody."""
_SECOND = 1_000_000_000

_log = structlog.get_logger("tallystick.compose.notifier")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another notifier has the folder."""
    logs.configure(NAME)
    folder = settings.path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    lock = SystemDisk().lock(settings.path(*LOCK))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Notifier(settings).run())
    finally:
        lock.release()


class _Notifier:
    """One run of the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock(settings.clock_offset_file)
        self._tables = webhooks.open_tables(settings)
        self._journal = Place.of(settings).reader(SystemDisk())
        self._subscriptions = Subscriptions(self._tables, system_entropy, settings.webhook_loopback)
        self._deliveries = Deliveries(self._tables, settings.shard)
        self._making = Making(self._tables, self._journal, self._subscriptions, self._deliveries, self._clock)
        pace = following.pace(settings, self._clock, SPEED)
        self._follower = Follower(self._journal, self._making, self._clock, ENTRIES_AT_ONCE, pace)
        # Another one: what is new does not rest because a subscription is behind.
        self._pace_behind = following.pace(settings, self._clock, SPEED)
        self._desk = Desk(
            self._tables,
            self._journal,
            self._subscriptions,
            self._deliveries,
            self._making,
            self._clock,
            system_entropy,
        )
        self._watch = Watch(settings.path("run"), self._clock)
        self._stopping = False
        self._failure: BaseException | None = None
        self._trouble = ""
        self._progress_at_ns = self._tidied_at_ns = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(LOOKUP_THREADS, "tally-notifier-names"))
        settings = self._settings
        sender = HttpSender(Guard(settings.webhook_loopback), settings.webhook_timeout_s)
        self._courier = Courier(
            self._tables,
            self._subscriptions,
            self._deliveries,
            self._making,
            sender,
            self._clock,
            system_entropy,
            Limits(hands_each=settings.webhook_hands, failing_s_max=settings.webhook_failing_s_max),
            self._watch.attempted,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

        def failed(error: BaseException) -> None:
            loop.call_soon_threadsafe(self._fail, error)

        end = ServerEnd(
            NAME, address(settings.data, NAME), lambda: _Window(self._desk, loop, self._wake), self._clock, failed
        )
        gc.collect()
        gc.freeze()
        _log.info(
            "notifier ready", next_seq=self._making.cursor().next_seq, subscriptions=len(self._subscriptions.by_number)
        )
        try:
            while not self._stopping:
                began_ns = self._clock.monotonic_ns()
                seconds = self._step()
                await self._pause(seconds, (self._clock.monotonic_ns() - began_ns) / _SECOND)
                if self._failure is not None:
                    raise self._failure
        finally:
            await loop.run_in_executor(None, end.close)  # its workers wait for this loop
            await self._courier.stop(STOP_S)
            await sender.close()
            self._tables.close()
            self._journal.close()
        _log.info("notifier stopped", sent=self._courier.sent)

    def _step(self) -> float:
        """A bit of everything; returns in how many seconds there may be more to do."""
        now_ns = self._clock.wall_ns()
        try:
            self._tables.settle()
            follow_s = self._follower.step()
            behind_s = self._catch_up()
            deliver_s = self._courier.step()
            self._tidy(now_ns)
            self._trouble = ""
        except (Unavailable, OutcomeUnknown) as error:
            if str(error) != self._trouble:
                _log.warning("the notifier cannot go on just now", error=str(error))
            self._trouble = str(error)
            follow_s = behind_s = deliver_s = RETRY_S
        self._tell(now_ns)
        return min(max(follow_s, POLL_S) if follow_s else 0.0, behind_s, deliver_s)

    def _catch_up(self) -> float:
        """Go on with what was passed and is still to be told; returns in how many seconds there may be more of it."""
        if rest_s := self._pace_behind.rest_s():
            return rest_s
        behind = self._making.behind()
        if not behind:
            return IDLE_S
        seen = self._making.step(self._pace_behind.part(behind, self._journal.end()) or ENTRIES_AT_ONCE)
        if not seen:
            return IDLE_S  # no receiver has room; the courier tells when one has
        self._pace_behind.took(seen)
        return self._pace_behind.rest_s()

    async def _pause(self, seconds: float, took_s: float) -> None:
        """Let receivers and gateways have their turn, for so long unless something is over."""
        if not seconds:
            await asyncio.sleep(0)
            return
        woken = self._courier.woken
        timer = asyncio.get_running_loop().call_later(seconds, woken.set)
        await woken.wait()
        timer.cancel()
        # Sending gets as much time as writing down; what is over meanwhile shares the next commit.
        await asyncio.sleep(min(max(took_s, SHARE_S_MIN), SHARE_S_MAX))

    def _tidy(self, now_ns: int) -> None:
        if now_ns - self._tidied_at_ns < TIDY_EVERY_S * _SECOND:
            return
        with self._tables.commit():
            full = self._deliveries.tidy(now_ns - round(self._settings.webhook_retention_s * _SECOND))
            self._desk.tidy(now_ns)
        if not full:  # else there is more: go on in the next step
            self._tidied_at_ns = now_ns

    def _tell(self, now_ns: int) -> None:
        """How far it is, for those who watch it."""
        if now_ns - self._progress_at_ns < PROGRESS_EVERY_S * _SECOND:
            return
        self._progress_at_ns = now_ns
        self._watch.tell(self._courier, self._subscriptions)
        found = self._follower.progress()
        self._pace_behind.see(found.end)
        told = ProgressFile(
            name=NAME,
            pid=os.getpid(),
            next_seq=found.next_seq,
            since_ns=found.since_ns,
            written_at_ns=now_ns,
            trouble=self._trouble or found.trouble,
        )
        with suppress(OSError):
            progress.write(self._settings.path("run"), told)

    def _wake(self) -> None:
        self._courier.woken.set()

    def _stop(self) -> None:
        self._stopping = True
        self._wake()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._wake()


class _Window:
    """What a worker of the server end asks: it hands the question to the loop, which has the tables, and waits."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._loop = loop
        self._wake = wake

    def __call__(self, operation: str, tenant: int, body: bytes, left_s: float) -> bytes:
        told: concurrent.futures.Future[bytes] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._answer, told, operation, tenant, body)
        try:
            return told.result(left_s)
        except TimeoutError as error:
            if told.cancel():
                raise Unavailable("the notifier has too much to do just now; try again") from error
            return told.result()

    def _answer(self, told: "concurrent.futures.Future[bytes]", operation: str, tenant: int, body: bytes) -> None:
        if not told.set_running_or_notify_cancel():
            return  # nobody waits any more: nothing is done
        try:
            told.set_result(self._desk.answer(operation, tenant, body))
        except OutcomeUnknown as error:
            told.set_exception(Unavailable(f"it is not known whether this was done, ask again: {error}"))
        except BaseException as error:
            told.set_exception(error)
        self._wake()

    def close(self) -> None:
        """Nothing is its own."""


if __name__ == "__main__":
    run(Settings())
