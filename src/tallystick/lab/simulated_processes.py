"""The engine's process of a simulation: its loop, its writer and its chores as steps, and what stands between them."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from tallystick.answers import wire
from tallystick.compose.engine import reply
from tallystick.compose.parts import open_files
from tallystick.engine.drafts import Answer, Draft
from tallystick.engine.loop import EngineLoop, LaneSource
from tallystick.engine.snapshots import Cadence
from tallystick.engine.writer import LookedUp, Writer
from tallystick.errors import Unavailable
from tallystick.lab.simulated_post import Inbox
from tallystick.lab.simulated_world import DATA, World
from tallystick.ledger import kernel
from tallystick.ledger.batches import Batch
from tallystick.records.details import Verdict

SEGMENT_BYTES = 16_384
ACCOUNTS_MAX = 64
PENDINGS_MAX = 64
CADENCE = Cadence(rows=4, entries_min=4, entries_max=12, parts_max=3)
"""Snapshots every other block, and merges of them."""
BATCH_MAX = 20
CONTROL_MAX = 4


REVIEW_TIMEOUT_S = 2
SCREENED = 0.4
"""Share of the batches in which the screen has anything to say."""
VERDICTS = (Verdict.ALLOW, Verdict.REVIEW, Verdict.REFUSE)
_LOW = 0xFFFFFFFFFFFFFFFF


class Killed(BaseException):
    """The engine's process was killed at this very place."""


class Crashed(BaseException):
    """The engine crashed while it decided, and left word of it."""


class Engine:
    """The engine's process."""

    def __init__(self, world: World, crash_noted: bool) -> None:
        self.disk = world.disk.another_process()
        self._world = world
        self._queue: deque[Draft | LookedUp] = deque()
        self._journaled: Mapping[bytes, int] = {}
        self._inbox: Inbox = deque()
        self.kill_at = ""
        self.parts = open_files(
            DATA,
            self.disk,
            world.clock,
            world.random.randbytes,
            accounts_max=ACCOUNTS_MAX,
            window_ids=world.window_ids,
            segment_bytes=SEGMENT_BYTES,
            accept_clock=True,
            crash_noted=crash_noted,
            cadence=CADENCE,
            pendings_max=PENDINGS_MAX,
        )
        self.decider = self.parts.decider
        self.decider.judge = self._judge
        self.decider.screen = self._screen
        self.decider.review_timeout_s = REVIEW_TIMEOUT_S
        self._intake = world.intake(self.disk)
        self._writer = Writer(self.parts.journal, self, self.parts.entropy)
        source = LaneSource(self._intake, self.decider, CONTROL_MAX)
        self._loop = EngineLoop(
            source, self.decider, self.parts.timekeeper, self.parts.poison, self.put, batch_max=BATCH_MAX
        )
        world.post.engine_is(self._inbox)
        world.say("the engine starts at entry {}", self.decider.next_seq)

    def _judge(self, work: Batch, *arguments: Any) -> None:
        if self._world.poison is not None:
            tenant, number = self._world.poison
            commands = work.commands
            poisoned = (commands["tenant"] == tenant) & (commands["request_id_lo"] == number & _LOW)
            if (poisoned & (work.quarantined == 0)).any():
                raise Crashed
        kernel.decide(work, *arguments)
        self._die("decide")
        if self.kill_at == "crash":
            raise Crashed

    def _screen(self, work: Batch, now: int) -> None:
        """A screen that knows nothing, and so marks some at random."""
        random = self._world.random
        if random.random() < SCREENED:
            for at in range(len(work.verdicts)):
                work.verdicts[at] = random.choices(VERDICTS, (12, 3, 1))[0]

    def _die(self, place: str) -> None:
        if self.kill_at == place:
            raise Killed

    def put(self, work: Draft | LookedUp) -> None:
        """As `compose.handoff`: at most this one is not durable when it returns."""
        while self.write():
            pass
        self._queue.append(work)

    @property
    def unwritten(self) -> int:
        """How much was handed over and not written yet."""
        return len(self._queue)

    def write(self) -> bool:
        """One step of the writer; False if there was nothing to write."""
        if not self._queue:
            return False
        work = self._queue.popleft()
        if isinstance(work, Draft) and work.outcome is not None:
            self._world.say("the writer makes entries {} to {} durable", work.first_seq, work.next_seq - 1)
        self._writer.step(work)
        return True

    def loop(self) -> int:
        """As the loop of the process: hear what arrived, take what waits, decide. Returns how much it decided."""
        while self._inbox:
            message = wire.decode_inbound(self._inbox.popleft()[1])
            if not isinstance(message, wire.Doorbell | wire.Placement | wire.Carriage | wire.StandingQuery):
                self.put(partial(self._world.post.publish, message.client, reply(self.decider, message)))
        decided = self._loop.step()
        if decided:
            self._world.say("the engine decides {} commands, up to entry {}", decided, self.decider.next_seq - 1)
        return decided

    @property
    def heard(self) -> bool:
        """Whether a doorbell or a question waits, so that it would not sleep until its next poll."""
        return bool(self._inbox)

    def keep_house(self) -> None:
        """Some slices of each chore, and word to the intake of what is done."""
        for chore in self.parts.chores:
            with suppress(Unavailable):
                for _ in range(self._world.random.choice((1, 2, 20))):
                    if not chore():
                        break
        self._intake.done(self._journaled)

    def decided(self, answers: list[Answer], position: int) -> None:
        """The writer's gate: push results to the gateways."""
        self._die("answer")
        for answer in answers:
            if answer.delivery.lane:
                results = wire.BlockResults(answer.delivery.number, answer.rows.tobytes(), position)
                self._world.post.publish(answer.delivery.lane, results)

    def durable(self, positions: Mapping[bytes, int]) -> None:
        """The writer's gate: what the intake may forget. Another thread tells it, perhaps at once."""
        self._journaled = positions
        if self._world.broker is not None and self._world.random.random() < 0.3:
            self._intake.done(positions)

    def rest(self) -> bool:
        """Whether nothing waits: neither in lanes, nor to be written, nor to be heard."""
        waits = self._queue or self._inbox or self._intake.receive(self.decider.positions, CONTROL_MAX, BATCH_MAX)
        return not waits
