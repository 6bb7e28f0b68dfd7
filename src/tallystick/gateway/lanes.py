"""Group commit: what comes in while one block is made durable becomes the next block.

On a quick disk the event loop makes small blocks durable itself: two hops between threads cost more CPU, and here more
time, than the sync (ADR 0006). Large blocks, slow disks and trouble are for a thread of the lane: it makes a block
durable, rings the engine, leaves word for the loop, and wakes it only if there is something to do before the results
come.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable

import structlog

from tallystick.answers.port import EngineLink
from tallystick.clock import Clock
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.undecided import NOT_KNOWN, Block, Request, Undecided
from tallystick.intake.port import Lane
from tallystick.records.commands import COMMANDS_MAX

CONTROL_COMMANDS_MAX = 1000
"""Commands in a block of a control lane: the engine takes no more of them before it turns to payments."""
DURABLE_PATIENCE_S = 10.0
"""How long a request waits to become durable, at least, before it is told that nobody knows."""
HELD_BACK_FROM = 2
"""Undecided commands from which on a block is held back; below, each request goes as soon as it can."""
MERGED_FROM, MERGED_TO = 16, 256
"""Undecided commands with which no other block goes to the engine: those who wait and those who come again with their
answers make one block. Below, a block's delay counts for more than its turn; above, its turn is cheap already."""
HELD_BACK_TO = 1024
"""Commands with which a block goes at once: its turn costs little for each of them already."""
HELD_BACK_S_MAX = 0.003
INLINE_COMMANDS_MAX = 512
"""Commands of a block that the loop may make durable itself: written in 0.1 ms, as far as the CPU goes."""
INLINE_S_MAX = 0.002
"""A sync that takes longer is not waited for by the loop the next time."""
PATIENT_S = 0.1
"""Who waits at least so long for an outcome can wait for `sweep`, should the results not come by themselves."""
LOGGED_IDS_MAX = 20
REOPEN_PAUSE_S = 0.05
REOPEN_PAUSE_S_MAX = 1.0


class LaneWriter:
    """The one who submits to this gateway's lane of a sort.

    `_run` and what it calls belong to the lane's thread, all other methods to the event loop. The lane itself is the
    thread's while a job is with it, else the loop's.
    """

    def __init__(
        self,
        open_lane: Callable[[bool], Lane],
        control: bool,
        link: EngineLink,
        undecided: Undecided,
        metrics: Metrics,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """`on_fatal` hears of an error after which the process must end (`Corrupt`, or a bug)."""
        self.name = "control" if control else "payments"
        self.impaired = False
        """True while the lane is being replaced: take nothing on, the requests in doubt come first."""
        self._open_lane = open_lane
        self._control = control
        self._commands_max = CONTROL_COMMANDS_MAX if control else COMMANDS_MAX
        self._link = link
        self._undecided = undecided
        self._metrics = metrics
        self._clock = clock
        self._on_fatal = on_fatal
        self._log = structlog.get_logger("tallystick.gateway.lanes")
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Request] = deque()
        self._waiting_commands = 0
        self._submitting: Block | None = None
        self._kick_scheduled = False
        self._seen = 0  # commands that waited when `_kick` looked last
        self._held: asyncio.TimerHandle | None = None
        undecided.on_decided = self._kick_soon
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._lane: Lane | None = None
        self._seconds = float("inf")  # that the last block took to become durable; the first shows it
        self._stopping = threading.Event()
        self._jobs: queue.SimpleQueue[tuple[Block, OutcomeUnknown | None] | None] = queue.SimpleQueue()
        self._stored: deque[tuple[Block, bytes, int, float]] = deque()  # durable, and the loop has yet to hear of it
        self._thread = threading.Thread(target=self._run, name=f"{self.name}-lane", daemon=True)

    async def start(self) -> None:
        """Open the lane. Raises what opening raised."""
        self._opened_at_s = self._loop.time()
        self._thread.start()
        await self._opened

    def put(self, request: Request) -> None:
        """Make this request durable with all else that waits; it hears the rest."""
        self._waiting.append(request)
        self._waiting_commands += request.count
        # Only now, since the thread looks at what waits after it has left its word: one of the two sees the other.
        self.hear()
        if self._submitting is not None:
            self._look_again(HELD_BACK_S_MAX)
        else:
            self._kick_soon()

    def _kick_soon(self) -> None:
        """Not at once: what else this turn of the loop brings shall come along."""
        if not self._kick_scheduled:
            self._kick_scheduled = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kick_scheduled = False
        waiting = self._waiting
        if self._submitting is not None or not waiting or self._hold_back():
            return
        if self._more_are_coming():
            self._kick_soon()
            return
        taken = []
        room = self._commands_max
        while waiting and waiting[0].count <= room:
            request = waiting.popleft()
            room -= request.count
            taken.append(request)
        block = Block(taken)
        self._submitting = block
        self._waiting_commands -= block.count
        if waiting:
            self._look_again(HELD_BACK_S_MAX)
        lane = self._lane
        if lane is None or not lane.prompt or block.count > INLINE_COMMANDS_MAX or self._seconds > INLINE_S_MAX:
            self._jobs.put((block, None))
        else:
            self._submit_inline(block, lane)

    def _submit_inline(self, block: Block, lane: Lane) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            number = lane.submit(_commands(block))
        except OutcomeUnknown as error:
            self._jobs.put((block, error))
        except BaseException as error:
            self._failed(block, error)
        else:
            self._note_stored(block, lane, number, began_ns)
            self.hear()

    def _note_stored(self, block: Block, lane: Lane, number: int, began_ns: int) -> None:
        self._seconds = (self._clock.monotonic_ns() - began_ns) / 1e9
        self._stored.append((block, lane.id, number, self._seconds))
        self._link.ring(lane.id, number)

    def _more_are_coming(self) -> bool:
        """Whether the last turn of the loop brought more: then the next may, too, and their commands shall come along.

        Who was just answered asks again within a turn or two; a turn that brings nothing costs a few microseconds.
        """
        seen, self._seen = self._seen, self._waiting_commands
        if seen == self._waiting_commands or self._waiting_commands >= HELD_BACK_TO:
            return False
        return self._waiting[0].arrived_s + HELD_BACK_S_MAX > self._loop.time()

    def _hold_back(self) -> bool:
        """Whether to let the next block grow while the engine is busy with the last.

        Under load every block costs engine and disk a turn, whatever it holds (ADR 0007).
        """
        undecided = self._undecided.commands_durable
        if undecided < HELD_BACK_FROM or self._waiting_commands >= _enough(undecided):
            return False
        left_s = self._waiting[0].arrived_s + HELD_BACK_S_MAX - self._loop.time()
        if left_s <= 0:
            return False
        self._look_again(left_s)
        return True

    def _look_again(self, after_s: float) -> None:
        """Whatever happens or does not: who waits goes on by then."""
        if self._held is None:
            self._held = self._loop.call_later(after_s, self._held_long_enough)

    def _held_long_enough(self) -> None:
        self._held = None
        self.hear()
        self._kick()

    def oldest_s(self) -> float | None:
        """When the oldest request that is not yet durable arrived."""
        if self._submitting is not None:
            return self._submitting.arrived_s
        return self._waiting[0].arrived_s if self._waiting else None

    def sweep(self, now_s: float) -> None:
        """Tell those who waited too long to become durable that nobody knows."""
        self.hear()
        oldest_s = self.oldest_s()
        if oldest_s is None or now_s - oldest_s < DURABLE_PATIENCE_S:
            return
        requests = [*(self._submitting.requests if self._submitting else ()), *self._waiting]
        for request in requests:
            late = now_s >= max(request.deadline_s, request.arrived_s + DURABLE_PATIENCE_S)
            if late:
                request.settle(NOT_KNOWN, OutcomeUnknown("the durable queue does not answer"))

    def _run(self) -> None:
        """The thread: open, then submit what comes."""
        try:
            self._reopen()
        except BaseException as error:
            self._tell(self._fail_opening, error)
            return
        self._tell(self._opened.set_result, None)
        while (job := self._jobs.get()) is not None:
            self._work(*job)
            del job  # or the block, and the connections of all who wait, would be kept until the next one
        if self._lane is not None:
            self._lane.close()

    def _work(self, block: Block, doubt: OutcomeUnknown | None) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            lane, number = self._submit(_commands(block), doubt)
        except BaseException as error:
            self._tell(self._failed, block, error)
        else:
            self._note_stored(block, lane, number, began_ns)
            if self._wanted(block):
                self._tell(self.hear)

    def _wanted(self, block: Block) -> bool:
        """Whether the loop must hear now that the block is durable: somebody waits for no more, or another may go."""
        if block.first_deadline_s < block.arrived_s + PATIENT_S:
            return True
        return self._waiting_commands >= _enough(self._undecided.commands_durable + block.count)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return  # the loop is closed: nobody is left to hear

    def _fail_opening(self, error: BaseException) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)

    def _reopen(self) -> Lane:
        lane = self._open_lane(self._control)
        self._lane = lane
        self._tell(self._link.subscribe, lane.id)
        return lane

    def _submit(self, commands: bytes, doubt: OutcomeUnknown | None) -> tuple[Lane, int]:
        """Durable in some lane of ours, whatever it takes once one lane's answer left it in doubt.

        `doubt` is the answer that the loop got from the lane, if it tried. `Unavailable` leaves here only while
        nothing can have been written.
        """
        in_doubt = doubt is not None
        pause_s = REOPEN_PAUSE_S
        if doubt is not None:
            self.impaired = True
            self._abandon(doubt)
        while True:
            try:
                lane = self._lane or self._reopen()
                number = lane.submit(commands)
                self.impaired = False
                return lane, number
            except OutcomeUnknown as error:
                first_time, in_doubt, self.impaired = not in_doubt, True, True
                self._abandon(error)
                if first_time:
                    continue
            except Unavailable:
                if not in_doubt:
                    raise
            if self._stopping.wait(pause_s):
                raise OutcomeUnknown("the gateway is stopping and could not submit again")
            pause_s = min(2 * pause_s, REOPEN_PAUSE_S_MAX)

    def _abandon(self, reason: OutcomeUnknown) -> None:
        lane, self._lane = self._lane, None
        self._metrics.lanes_abandoned += 1
        name = lane.id.hex() if lane is not None else ""
        self._log.error("lane abandoned, its last block is submitted again in another", reason=str(reason), lane=name)
        if lane is not None:
            try:
                lane.close()
            except Exception as error:
                self._log.warning("closing the abandoned lane failed", error=str(error))

    def hear(self) -> None:
        """Take note of the block that became durable, if any; to be called before its results are handed out."""
        if not self._stored:
            return
        block, lane, number, seconds = self._stored.popleft()
        now_s = self._loop.time()
        if number > 1 and not self._undecided.knows(lane):
            self._undecided.inherited(lane, number - 1, self._opened_at_s)
        self._undecided.durable(block, lane, number, now_s)
        self._metrics.submitted(self.name, block.count, seconds)
        self._next()

    def _failed(self, block: Block, error: BaseException) -> None:
        self._undecided.release(block)
        told = error if isinstance(error, Unavailable | OutcomeUnknown) else OutcomeUnknown("the durable queue broke")
        for request in block.requests:
            request.settle(NOT_KNOWN, told)
        if isinstance(error, Unavailable):
            self._log.error("the durable queue takes nothing", error=str(error), request_ids=_some_ids(block))
        if told is not error:
            self._on_fatal(error)
        self._next()

    def _next(self) -> None:
        self._submitting = None
        if self._waiting:
            self._kick()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to become durable."""
        return self._submitting is None and not self._waiting

    async def close(self) -> None:
        """Stop after what is being submitted, and give the lane up."""
        self._stopping.set()
        self._jobs.put(None)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, DURABLE_PATIENCE_S)
        self.hear()
        left = [*(self._submitting.requests if self._submitting else ()), *self._waiting]
        for request in left:
            request.settle(NOT_KNOWN, OutcomeUnknown("the gateway stopped before the request was durable"))


def _enough(undecided: int) -> int:
    """Commands that make a block go while so many are with the engine."""
    return HELD_BACK_TO if MERGED_FROM <= undecided <= MERGED_TO else min(undecided, HELD_BACK_TO)


def _commands(block: Block) -> bytes:
    return b"".join([request.commands for request in block.requests])


def _some_ids(block: Block) -> list[str]:
    """The first requests of a block, for a log line."""
    return [f"{request.request_id:032x}" for request in block.requests[:LOGGED_IDS_MAX]]
