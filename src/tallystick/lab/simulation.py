"""A whole shard in one thread: gateways, the engine, a follower, clients, on a disk that fails; all from one seed.

    Simulation(seed).run()

The processes are the real ones' `step` functions, called in an order that the seed draws. Between any two steps a
process may be killed, the power may fail, the disk may be full; within a step too, at any write or sync. After every
start of the engine, and at the end, the journal is held against what clients were told (`simulated_history`).
Whatever is wrong raises; the same seed fails the same way again.
"""

from collections.abc import Callable
from random import Random

import numpy as np

from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.segments import segment_path
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.engine import lookups
from tallystick.errors import Corrupt, Damaged, OutcomeUnknown, Unavailable
from tallystick.journal.files import FileJournalReader
from tallystick.lab.simulated_clients import Clients
from tallystick.lab.simulated_history import Asked, Fold, History, whole
from tallystick.lab.simulated_processes import INTAKE, JOURNAL, Crashed, Engine, Gateway, Killed, SimulatedClock, World
from tallystick.statuses import RequestStatus

GATEWAYS = 2
HARMFUL = [fault for fault in Fault if not fault.name.startswith("READ")]


class Simulation:
    """One machine, its processes and its clients. `run` lives through one story."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        clock = SimulatedClock()
        self.world = World(self.random, clock, SimulatedDisk(seed, clock=clock), History())
        self.history = self.world.history
        self.clients = Clients(self.random, self.history, clock.wall_ns)
        self.fold = Fold()  # what the follower has read
        self.gateways: list[Gateway | None] = [None] * GATEWAYS
        self.engine: Engine | None = None
        self.counts = {"starts": 0, "cuts": 0, "kills": 0, "crashes": 0, "faults": 0}
        self._crash_noted = False
        self._reads_fail = False
        self._follower: FileJournalReader | None = None

    def run(self) -> dict[str, int]:
        """Live through the story; returns how much happened. Raises `AssertionError` for whatever went wrong."""
        acts: list[tuple[Callable[[], None], int]] = [
            (self._ask, 12),
            (self._submit, 10),
            (self._decide, 12),
            (self._write, 8),
            (self._follow, 4),
            (self._look_up, 4),
            (self._keep_house, 5),
            (self._pass_time, 4),
            (self._make_trouble, 3),
        ]
        steps, weights = [act for act, _ in acts], [weight for _, weight in acts]
        length = self.random.randint(60, 180) * self.random.choice((1, 1, 1, 1, 1, 1, 1, 4))
        for step in self.random.choices(steps, weights, k=length):
            self._survive(step)
        self._finish()
        return self.counts | {"requests": len(self.history.acknowledged), "entries": self.fold.next_seq}

    # What happens

    def _ask(self) -> None:
        gateway = self._gateway()
        if gateway is not None:
            for _ in range(self.random.randint(1, 3)):
                request = self.clients.request()
                gateway.waiting[request.control].append(request)

    def _submit(self) -> None:
        gateway = self._gateway()
        if gateway is not None:
            control = not gateway.waiting[False] or self.random.random() < 0.3
            gateway.submit(control)

    def _decide(self) -> None:
        self._started().loop()

    def _write(self) -> None:
        self._started().write()

    def _keep_house(self) -> None:
        self._started().keep_house()
        for gateway in self.gateways:
            if gateway is not None:
                gateway.prepare()

    def _follow(self) -> None:
        """The follower reads on. What it once read may never be lost."""
        if self._follower is None:
            if self.engine is None:
                return  # after a power cut the durable end is stale until the engine has started
            self._follower = FileJournalReader(JOURNAL, self.world.disk.another_process())
        for block in self._follower.read(self.fold.next_seq):
            self.fold.take(block)

    def _look_up(self) -> None:
        engine = self._started()
        if self.random.random() < 0.4:
            self._look_up_account(engine)
        elif self.history.asked:
            self._look_up_results(engine, self.random.choice(self.history.asked))

    def _look_up_results(self, engine: Engine, request: Asked) -> None:
        told = (request.key, request.fingerprint) in self.history.told
        found = lookups.results(engine.decider, request.tenant, request.id, request.fingerprint)

        def tell() -> None:
            if found.status == RequestStatus.NOT_DECIDED:
                assert not told, f"request {request.id:x} was answered before, and now is not decided"
            else:
                self.history.tell(request.key, request.fingerprint, found.results)

        engine.put(tell)

    def _look_up_account(self, engine: Engine) -> None:
        tenant, number = self.clients.account()
        shown, extra = lookups.accounts(engine.decider, tenant, [number])

        def tell() -> None:
            # All that the look-up saw is durable now, and nothing that was decided later.
            self._follow()
            account = self.fold.accounts.get((tenant, number))
            assert (account is None) == (len(shown) == 0)
            if account is not None:
                found = (whole(shown[0], "debits_posted"), whole(shown[0], "credits_posted"), int(extra[0]["frozen"]))
                assert found == (account.debits, account.credits, account.frozen), f"account {number} shown ahead"

        engine.put(tell)

    def _pass_time(self) -> None:
        self.world.clock.advance(self.random.choice((1_000, 1_000_000, 100_000_000, 2_000_000_000)))
        if self.random.random() < 0.1:
            self.world.clock.jump(self.random.randint(-10_000_000_000, 10_000_000_000))

    def _make_trouble(self) -> None:
        self.counts["faults"] += 1
        machine = self.world.disk.machine
        kind = self.random.random()
        if kind < 0.25:
            self.world.disk.cut_after(self.random.randint(0, 40))
        elif kind < 0.55:
            self.world.disk.inject(self.random.choice(HARMFUL), self.random.randint(0, 10))
        elif kind < 0.60:
            self._reads_fail = True
            self.world.disk.inject(Fault.READ_ERROR, self.random.randint(0, 10))
        elif kind < 0.75 and self.engine is not None:
            self.engine.kill_at = self.random.choice(("decide", "answer", "crash"))
        elif kind < 0.82:
            self._kill_engine()
        elif kind < 0.88:
            self._kill_gateway(self.random.randrange(GATEWAYS))
        elif kind < 0.94:
            machine.capacity_bytes = 0  # full, until somebody makes room
        else:
            self._cut()
        if machine.capacity_bytes is not None and self.random.random() < 0.5:
            machine.capacity_bytes = None

    # Processes that live and die

    def _survive(self, step: Callable[[], None]) -> None:
        """Do one step. Who dies of it is dead afterwards; an error that no fault explains goes through."""
        try:
            step()
        except PowerCut:
            self.world.disk.machine.cut_at = None
            if self.random.random() < 0.7:
                self._cut()
            else:
                self._kill_engine()
                for number in range(GATEWAYS):
                    self._kill_gateway(number)
        except Killed:
            self._kill_engine()
        except Crashed:
            self.counts["crashes"] += 1
            self._crash_noted = True
            self._kill_engine()
        except Corrupt:
            if not self._reads_fail:
                raise
            self._cut()  # a person looked at it, and the disk reads again
        except (Unavailable, OutcomeUnknown, Damaged):
            self._crash_noted = True  # its last words, though no request is to blame
            self._kill_engine()

    def _started(self) -> Engine:
        if self.engine is None:
            noted, self._crash_noted = self._crash_noted, False
            self.engine = Engine(self.world, noted)
            self.counts["starts"] += 1
            self._check_start(self.engine)
        return self.engine

    def _check_start(self, engine: Engine) -> None:
        """The journal as it now stands, against all that anyone ever saw of it, and against the books."""
        fold = Fold()
        for block in engine.parts.journal.read(0):
            fold.take(block)
        seen = self.fold.hashes
        assert fold.hashes[: len(seen)] == seen, "entries that a reader saw are gone"
        self.history.check(fold)
        self.fold, self._follower = fold, None
        self._check_books(engine)

    def _check_books(self, engine: Engine) -> None:
        """Books and positions are those of the follower's fold; for an engine with nothing on its way."""
        decider = engine.decider
        assert decider.next_seq == self.fold.next_seq
        assert decider.last_timestamp == self.fold.last_timestamp
        assert decider.bookkeeper.count() == len(self.fold.accounts)
        for (tenant, number), account in self.fold.accounts.items():
            rows = decider.bookkeeper.account(tenant, number)
            assert rows is not None, f"account {number} is not in the books"
            row = np.array(rows)[0]
            found = (whole(row, "debits_posted"), whole(row, "credits_posted"), whole(row, "credit_limit"))
            assert found == (account.debits, account.credits, account.limit), f"account {number}: {found}"
            assert (row["frozen"], row["sequence"]) == (account.frozen, account.sequence), f"account {number}"
        for lane, position in self.fold.positions.items():
            assert decider.positions[lane] >= position, f"lane {lane.hex()} was taken further than the engine knows"

    def _gateway(self) -> Gateway | None:
        """One of the gateways, started if it is down; None if it cannot start just now."""
        number = self.random.randrange(GATEWAYS)
        if self.gateways[number] is None:
            try:
                self.gateways[number] = Gateway(self.world)
            except (Unavailable, OutcomeUnknown):
                return None
        return self.gateways[number]

    def _kill_gateway(self, number: int) -> None:
        gateway, self.gateways[number] = self.gateways[number], None
        if gateway is not None:
            self.counts["kills"] += 1
            self.world.disk = gateway.disk.kill()

    def _kill_engine(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            self.counts["kills"] += 1
            self.world.disk = engine.disk.kill()
        else:  # it died while it started
            self._release_journal()

    def _release_journal(self) -> None:
        """The kernel lets go of the locks of a process that died before it was ours to kill."""
        alive = [gateway.disk for gateway in self.gateways if gateway is not None]
        machine = self.world.disk.machine
        machine.locks = {path: owner for path, owner in machine.locks.items() if any(owner is disk for disk in alive)}

    def _cut(self) -> None:
        self.counts["cuts"] += 1
        self.world.disk = self.world.disk.cut()
        self.world.disk.machine.capacity_bytes = None
        self.engine, self._follower, self._reads_fail = None, None, False
        self.gateways = [None] * GATEWAYS

    # The end

    def _finish(self) -> None:
        """All is well again: what was acknowledged gets its results, and keeps them when asked for once more."""
        machine = self.world.disk.machine
        machine.injected.clear()
        machine.cut_at, machine.capacity_bytes = None, None
        if self.random.random() < 0.5:
            self._cut()
        else:
            self._kill_engine()
        self._drain()
        self.history.check_complete(self.fold, self.counts["crashes"] // 3)
        entries = self.fold.next_seq
        self._retry_all()
        self._drain()
        if any(key not in self.fold.requests for key, _ in self.history.acknowledged):
            raise AssertionError("a retry was not decided")
        assert self.fold.next_seq == entries, "a retry made an entry"
        self._damage()

    def _drain(self) -> None:
        engine = self._started()
        while not engine.rest():
            engine.loop()
            engine.write()
        self._follow()
        self.history.check(self.fold)
        self._check_books(engine)
        for (lane, number), _ in self.history.blocks.items():
            assert engine.decider.positions.get(lane, 0) >= number, f"lane {lane.hex()}: block {number} was not taken"

    def _retry_all(self) -> None:
        gateway = Gateway(self.world)
        for request in self.history.acknowledged.values():
            gateway.waiting[request.control].append(request)
        for control in (True, False):
            while gateway.waiting[control]:
                gateway.submit(control)
        engine = self._started()
        for request in self.history.acknowledged.values():
            self._look_up_results(engine, request)

    def _damage(self) -> None:
        """One bit of a last block changes at rest: no start may take that for a tear, nor go on."""
        disk = self.world.disk.another_process()
        lanes = [INTAKE / name for name in disk.list(INTAKE) if "." in name and not name.endswith(".lock")]
        readers = [BlockReader(folder, disk) for folder in (JOURNAL, *lanes)]
        held = [reader for reader in readers if reader.end()]
        if not held:
            return
        reader = self.random.choice(held)
        start = reader.starts(reader.end())[-1]
        cursor = reader.cursor(start, None)
        at, size = start, 0
        while found := cursor.next_header(reader.end()):
            at, size = found[0], found[1].size
        path, bit = segment_path(reader.folder, start), (at - start) * 8 + self.random.randrange(size * 8)
        self._cut()
        self.world.disk.flip_bit(path, bit)
        try:
            self._started().loop()
        except Corrupt:
            self.world.disk.flip_bit(path, bit)
        else:
            raise AssertionError(f"bit {bit} of {path} changed, and nobody noticed")
        self._cut()
        self._drain()
