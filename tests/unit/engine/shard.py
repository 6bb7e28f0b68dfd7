"""One shard on a simulated disk, its steps called by the test. Windows hold 16 ids, batches 20 commands."""

from collections import defaultdict
from random import Random

import numpy as np

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.engine import lookups
from tallystick.engine.deciding import allow_all
from tallystick.lab.history.file import History
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.lab.simulated_post import Post
from tallystick.lab.simulated_processes import Engine
from tallystick.lab.simulated_world import World
from tallystick.records.commands import ACCOUNT_EVENT, COMMAND, CONTROL_EVENT, TRANSFER_EVENT, Kind, frame

NOW = 1_800_000_000_000_000_000


def accounts(request_id, *ids, tenant=1, **fields):
    """A request that opens accounts."""
    events = np.zeros(len(ids), ACCOUNT_EVENT)
    events["id_lo"], events["ledger"], events["code"] = ids, 1, 1
    for name, value in fields.items():
        events[name] = value
    return frame(events.tobytes(), Kind.ACCOUNT, tenant, request_id, NOW)


def transfers(request_id, *ids, tenant=1, metadata=b"", expires_at=0, **fields):
    """A request that moves 10 from account 1 to account 2, once for each id."""
    events = np.zeros(len(ids), TRANSFER_EVENT)
    events["id_lo"] = [number & 0xFFFFFFFFFFFFFFFF for number in ids]
    events["id_hi"] = [number >> 64 for number in ids]
    events["debit_account_id_lo"], events["credit_account_id_lo"] = 1, 2
    events["amount_lo"], events["ledger"], events["code"] = 10, 1, 1
    for name, value in fields.items():
        events[name] = value
    return frame(events.tobytes(), Kind.TRANSFER, tenant, request_id, NOW, expires_at, metadata)


def control(request_id, opcode, account=1, value=3, tenant=1):
    """A request that freezes, unfreezes or limits an account."""
    events = np.zeros(1, CONTROL_EVENT)
    events["account_id_lo"], events["opcode"], events["value_lo"] = account, opcode, value
    return frame(events.tobytes(), Kind.CONTROL, tenant, request_id, NOW)


class RecordingEngine(Engine):
    """An engine whose answers the test reads."""

    def __init__(self, world, crash_noted, judge=None):
        super().__init__(world, crash_noted)
        self.answers = []
        self.decider.screen = allow_all  # the simulation's engine marks some at random
        if judge is not None:
            self.decider.judge = judge

    def decided(self, answers, position):
        self.answers.extend(answers)


class Shard:
    """The machine, a gateway's intake with its lanes, and one engine at a time."""

    def __init__(self, seed=1):
        clock = SimulatedClock()
        self.world = World(Random(seed), clock, SimulatedDisk(seed, clock=clock), History(), Post(Random(seed)))
        self.clock = clock
        self.lanes = {}
        self.intake = self.world.intake(self.world.disk)
        self.engine = None

    def start(self, crash_noted=False, judge=None):
        """A new engine process, after the one before was killed."""
        self.kill()
        self.engine = RecordingEngine(self.world, crash_noted, judge)
        return self.engine

    def kill(self):
        """The engine's process is gone, with what it had not written."""
        if self.engine is not None:
            self.engine.disk.kill()
            self.engine = None

    def lane(self, name="pay", control=False):
        """A lane by name, opened when first named."""
        if name not in self.lanes:
            self.lanes[name] = self.intake.open_lane(control)
        return self.lanes[name]

    def submit(self, *requests, lane="pay", control=False):
        """One block of whole requests; returns its number."""
        return self.lane(lane, control).submit(b"".join(request.tobytes() for request in requests))

    def settle(self):
        """Let the engine decide and write all that waits."""
        while not self.engine.rest():
            self.engine.loop()
            self.engine.write()

    def decide(self, *requests, lane="pay", control=False):
        """Submit one block and return (timestamp, status, replayed) of each of its commands."""
        number = self.submit(*requests, lane=lane, control=control)
        self.settle()
        return self.answer(number, lane)

    def answer(self, number, lane="pay"):
        """What was told about a lane's block, told last."""
        for answer in reversed(self.engine.answers):
            if (answer.delivery.lane, answer.delivery.number) == (self.lanes[lane].id, number):
                return answer.rows.tolist()
        raise LookupError(f"block {number} is not answered")

    def results(self, tenant, request_id, fingerprint=b""):
        """A look-up of a request's results."""
        return lookups.results(self.engine.decider, tenant, request_id, fingerprint)

    def recorded(self):
        """By tenant and request id, the stored status of each command in the journal."""
        found = defaultdict(list)
        for block in self.engine.parts.journal.read(0):
            for entry in block.entries[:-1]:
                if entry["kind"] != Kind.EXPIRY:
                    number = int(entry["request_id_lo"]) | int(entry["request_id_hi"]) << 64
                    found[int(entry["tenant"]), number].append(int(entry["status"]))
        return found

    def entries(self):
        """Entries of commands in the journal."""
        return sum(len(statuses) for statuses in self.recorded().values())


def fingerprint(request):
    """Of a request made above."""
    return request.view(COMMAND)[0]["fingerprint"].tobytes()
