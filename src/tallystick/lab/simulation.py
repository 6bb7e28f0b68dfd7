"""A whole shard in one thread: gateways, the engine, a follower, clients, on a machine that fails; all from one seed.

    Simulation(seed).run()

The processes are the real ones' steps, called in an order that the seed draws; messages between them are lost, late
and out of order. Between any two steps a process may be killed, the power may fail, the disk may be full, the clock
may jump; within a step too, at any write or sync. What clients were told and what a follower read goes into a
history, and each story ends in the checker of histories (`lab.history`), which has the model decide all of it again.
Whatever is wrong raises; the same seed fails the same way again. With a broker (`lab.simulated_broker`) lanes are on
another machine, which the power cuts of this one do not reach, and whose answers are lost.
"""

import logging
from collections.abc import Callable, MutableMapping
from random import Random
from typing import Any

import numpy as np
import structlog

from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.segments import segment_path
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.errors import Corrupt, Damaged, OutcomeUnknown, Unavailable
from tallystick.gateway.metrics import Metrics
from tallystick.journal.files import FileJournalReader
from tallystick.lab.history.calls import Block, LookUpRequest, ReadBlock, Submit, Told
from tallystick.lab.history.check import check
from tallystick.lab.history.faults import Verdict
from tallystick.lab.history.file import History
from tallystick.lab.simulated_broker import SimulatedBroker
from tallystick.lab.simulated_clients import ACCOUNTS, TENANTS, Clients
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.lab.simulated_gateway import Gateway, SteppedLoop
from tallystick.lab.simulated_post import Post
from tallystick.lab.simulated_processes import REVIEW_TIMEOUT_S, Crashed, Engine, Killed
from tallystick.lab.simulated_projector import Projector
from tallystick.lab.simulated_world import DATA, INTAKE, JOURNAL, World
from tallystick.records.commands import Kind
from tallystick.records.entries import WORK
from tallystick.statuses import TransferStatus

GATEWAYS = 2
LENGTHS = (40, 85)
"""Steps of a story, at least and at most; of one in twelve it is four times as many."""
HARMFUL = [fault for fault in Fault if not fault.name.startswith("READ")]
DERIVED = (DATA / "snapshots", DATA / "index" / "transfers", DATA / "index" / "requests")
KEY_NAME = "key"
POISONED = 0.1
"""Share of the stories in which a request crashes the engine, again and again."""
PROJECTED = 0.3
"""Share of the stories that have a projector."""
COMMAND_KINDS = (Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL)
ROUNDS_MAX = 400
"""So often may everybody have a turn until all is answered."""
_METRICS = Metrics()  # what is counted interests nobody here, and making one costs as much as a block

logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Simulation:
    """One machine, its processes and its clients. `run` lives through one story."""

    def __init__(self, seed: int, story: Callable[[str], None] | None = None, broker: bool = False) -> None:
        """`story` hears every line of it, as it happens. Lanes are in files, or on a `broker`."""
        self.seed = seed
        self.random = Random(seed)
        clock = SimulatedClock()
        self.history = History(seed, review_timeout_s=REVIEW_TIMEOUT_S)
        post = Post(Random(self.random.getrandbits(64)))
        self.world = World(self.random, clock, SimulatedDisk(seed, clock=clock), self.history, post, story)
        if broker:
            self.world.broker = SimulatedBroker(Random(f"{seed}/broker"))
        self.world.window_ids = self.random.choice((2, 4, 16))
        self.clients = Clients(self.random, clock.wall_ns)
        self.verdict: Verdict | None = None
        self.gateways: list[Gateway | None] = [None] * GATEWAYS
        self.engine: Engine | None = None
        self.counts = {"starts": 0, "cuts": 0, "kills": 0, "crashes": 0, "faults": 0, "damages": 0}
        self._loop = SteppedLoop(clock)
        self._crash_noted = False
        self._reads_fail = False
        self._follower: FileJournalReader | None = None
        self._followed = 0
        self._poisons = self.random.random() < POISONED
        self._projects = self.random.random() < PROJECTED
        self._projector: Projector | None = None

    def run(self) -> dict[str, int]:
        """Live through the story; returns how much happened. Raises `AssertionError` for whatever went wrong."""
        before = structlog.get_config()
        structlog.configure(processors=[self._logged], cache_logger_on_first_use=False)
        try:
            self._live()
            self._finish()
        finally:
            structlog.configure(**before)
            for number in range(GATEWAYS):
                self._kill_gateway(number)
            self._kill_projector()
            self._loop.close()
        assert self.verdict is not None
        return self.counts | {
            "requests": self.verdict.acknowledged,
            "entries": self.verdict.entries,
            "messages lost": self.world.post.lost,
            **({} if self.world.broker is None else {"submits unknown": self.world.broker.unknown}),
        }

    def _logged(self, _: Any, level: str, line: MutableMapping[str, Any]) -> str:
        """What a process logs is a line of the story."""
        self.world.say("log {}: {}", level, line)
        raise structlog.DropEvent

    def _live(self) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (self._ask, 12),
            (self._submit, 10),
            (self._engine_turn, 12),
            (self._write, 8),
            (self._gateway_turn, 10),
            (self._deliver, 12),
            (self._follow, 4),
            (self._look_up, 5),
            (self._keep_house, 5),
            (self._pass_time, 5),
            (self._make_trouble, 3),
            (self._damage_derived, 1),
        ]
        steps, weights = [act for act, _ in acts], [weight for _, weight in acts]
        length = self.random.randint(*LENGTHS) * self.random.choice((1,) * 11 + (4,))
        for step in self.random.choices(steps, weights, k=length):
            self._survive(step)

    # What happens

    def _ask(self) -> None:
        gateway = self._gateway()
        if gateway is not None:
            for _ in range(self.random.randint(1, 3)):
                request = self.clients.request()
                if self._poisons and self.random.random() < 0.05:
                    self._poisons, self.world.poison = False, (request.tenant, request.id)
                    self.world.say("request {:032x} will crash the engine", request.id)
                gateway.take(request)

    def _submit(self) -> None:
        gateway = self._gateway()
        if gateway is not None:
            gateway.submit(self.random.random() < 0.3)

    def _engine_turn(self) -> None:
        """The engine wakes up if somebody rang, and now and then by itself."""
        engine = self._started()
        if engine.heard or self.random.random() < 0.5:
            engine.loop()

    def _write(self) -> None:
        self._started().write()

    def _gateway_turn(self) -> None:
        for gateway in self.gateways:
            if gateway is not None:
                gateway.turn()

    def _deliver(self) -> None:
        self.world.post.deliver(self.random.randint(1, 5))

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
        start = self.world.instant()
        for block in self._follower.read(self._followed):
            header = block.header
            assert header.first == self._followed, f"block {header.first} was read where {self._followed} is due"
            end = self.world.instant()
            self.history.add(ReadBlock(start_ns=start, end_ns=end, first=header.first, hash=header.hash))
            self._followed = header.next

        if self._projects:
            self._project()

    def _project(self) -> None:
        if self._projector is None:
            self._projector = Projector(self.world)
        self._projector.step()
        if self.random.random() < 0.05:
            self._kill_projector()

    def _kill_projector(self) -> None:
        projector, self._projector = self._projector, None
        if projector is not None:
            projector.close()

    def _look_up(self) -> None:
        gateway = self._gateway()
        if gateway is None:
            return
        chance = self.random.random()
        if chance < 0.4:
            tenant, number = self.clients.account()
            gateway.look_up_accounts(tenant, sorted({number, self.random.randint(1, ACCOUNTS)}))
        elif chance < 0.6:
            tenant, number = self.clients.transfer()
            gateway.look_up_transfers(tenant, sorted({number, 1}))
        elif self.clients.asked:
            gateway.look_up_request(self.random.choice(self.clients.asked))

    def _pass_time(self) -> None:
        self.world.clock.advance(self.random.choice((1, 1_000, 1_000_000, 100_000_000, 1_000_000_000, 2_000_000_000)))
        if self.random.random() < 0.1:
            jump = self.random.randint(-10_000_000_000, 10_000_000_000)
            self.world.clock.jump(jump)
            self.world.say("the wall clock jumps by {:.3f} s", jump / 1e9)

    def _make_trouble(self) -> None:
        self.counts["faults"] += 1
        disk, machine = self.world.disk, self.world.disk.machine
        kind = self.random.random()
        if kind < 0.25:
            after = self.random.randint(0, 40)
            self.world.say("the power will fail {} operations of the disk from now", after)
            disk.cut_after(after)
        elif kind < 0.55:
            fault = self.random.choice(HARMFUL)
            self.world.say("soon: {}", fault)
            disk.inject(fault, self.random.randint(0, 10))
        elif kind < 0.60:
            self._reads_fail = True
            self.world.say("soon: {}", Fault.READ_ERROR)
            disk.inject(Fault.READ_ERROR, self.random.randint(0, 10))
        elif kind < 0.75 and self.engine is not None:
            # A second request that crashes within the hour would stop the shard for good: one in a story is enough.
            crash = () if self.world.poison else ("crash",)
            self.engine.kill_at = self.random.choice(("decide", "answer", *crash))
            self.world.say("the engine will die: {}", self.engine.kill_at)
        elif kind < 0.82:
            self._kill_engine()
        elif kind < 0.88:
            self._kill_gateway(self.random.randrange(GATEWAYS))
        elif kind < 0.94:
            self.world.say("the disk is full")
            machine.capacity_bytes = 0  # full, until somebody makes room
        else:
            self._cut()
        if machine.capacity_bytes is not None and self.random.random() < 0.5:
            machine.capacity_bytes = None

    def _damage_derived(self) -> None:
        """A file of those that can be made anew is lost, or damaged, while the engine is down."""
        self._kill_engine()
        disk = self.world.disk
        files = [folder / name for folder in DERIVED for name in disk.list(folder) if name != KEY_NAME]
        if not files:
            return
        path = self.random.choice(files)
        file = disk.open(path)
        if file is None:
            return
        self.counts["damages"] += 1
        if self.random.random() < 0.3 or not file.size():
            self.world.say("{} is gone", path)
            disk.remove(path)
            disk.sync_folder(path.parent)
        else:
            bit = self.random.randrange(file.size() * 8)
            self.world.say("bit {} of {} changes", bit, path)
            disk.flip_bit(path, bit)

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
            self._crash()
        except Corrupt as error:
            if not self._reads_fail:
                raise
            self.world.say("a read failed: {}", error)
            self._cut()  # a person looked at it, and the disk reads again
        except Damaged as error:
            if not self._reads_fail:
                raise
            self.world.say("the engine ends, and what is derived is made anew: {}", error)
            self._kill_engine()
        except (Unavailable, OutcomeUnknown) as error:
            self.world.say("the engine ends: {}", error)
            if self.engine is not None:
                self._crash_noted = True  # its last words, though no request is to blame; a start leaves none
            self._kill_engine()

    def _crash(self) -> None:
        self.counts["crashes"] += 1
        self._crash_noted = True
        self.world.say("the engine crashes while it decides")
        self._kill_engine()

    def _started(self) -> Engine:
        if self.engine is None:
            self.engine = Engine(self.world, self._crash_noted)
            self._crash_noted = False  # counted; a start that fails leaves it
            self.counts["starts"] += 1
            for lane, position in self._journaled_positions(self.engine).items():
                found = self.engine.decider.positions.get(lane, 0)
                assert found == position, f"lane {lane.hex()} is taken up to {found}; the journal says {position}"
            self._follower = None
        return self.engine

    def _gateway(self) -> Gateway | None:
        """One of the gateways, started if it is down; None if it cannot start just now."""
        number = self.random.randrange(GATEWAYS)
        if self.gateways[number] is None:
            try:
                self.gateways[number] = Gateway(self.world, number + 1, self._loop, _METRICS)
            except (Unavailable, OutcomeUnknown):
                return None
        return self.gateways[number]

    def _kill_gateway(self, number: int) -> None:
        gateway, self.gateways[number] = self.gateways[number], None
        if gateway is not None:
            self.counts["kills"] += 1
            self.world.say("gateway {} dies", number + 1)
            gateway.die()
            self.world.disk = gateway.disk.kill()

    def _kill_engine(self) -> None:
        engine, self.engine = self.engine, None
        self.world.post.engine_is(None)
        if engine is not None:
            self.counts["kills"] += 1
            self.world.say("the engine dies")
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
        self.world.say("the power fails")
        for number in range(GATEWAYS):
            self._kill_gateway(number)
        self.world.disk = self.world.disk.cut()
        self.world.disk.machine.capacity_bytes = None
        self.world.post.lose_all()
        self._kill_projector()
        self.engine, self._follower, self._reads_fail = None, None, False

    # The end

    def _finish(self) -> None:
        """All is well again: what was acknowledged gets its results, and keeps them when asked for once more."""
        self._calm_down()
        if self.random.random() < 0.5:
            self._cut()
        else:
            self._kill_engine()
        self._drain()
        self._resolve_all()
        if self.random.random() < 0.3:
            self._retry_all()
        self._show_all()
        self._start_again()
        self._follow()
        if self._projector is not None:
            for tenant in TENANTS:
                self._projector.compare(self._started().decider, tenant)
        self._judge()
        if self.random.random() < 0.3:
            self._damage()

    def _calm_down(self) -> None:
        machine = self.world.disk.machine
        machine.injected.clear()
        machine.cut_at, machine.capacity_bytes = None, None
        self.world.post.calm = True
        if self.world.broker is not None:
            self.world.broker.calm = True
        if self.engine is not None:
            self.engine.kill_at = ""

    def _drain(self) -> None:
        """Everybody has turns until nobody waits. That it ends at all is what gateways promise their clients."""
        for _ in range(ROUNDS_MAX):
            engine = self._started()
            self.world.post.deliver(1_000)
            try:
                engine.loop()
                engine.write()
            except Crashed:
                self._crash()
                continue
            for gateway in self.gateways:
                if gateway is not None:
                    gateway.submit(True)
                    gateway.submit(False)
                    gateway.turn()
            if engine.rest() and all(gateway is None or gateway.idle for gateway in self.gateways):
                return
            self.world.clock.advance(250_000_000)
        raise AssertionError("somebody waits for ever")

    def _one_gateway(self) -> Gateway:
        gateway = None
        while gateway is None:
            gateway = self._gateway()
        return gateway

    def _resolve_all(self) -> None:
        """Whoever was not told the outcome asks for it, until somebody answers."""
        asked = {(each.tenant, each.id, each.fingerprint): each for each in self.clients.asked}
        since = self.world.instant()
        for _ in range(ROUNDS_MAX):
            unresolved = self._unresolved(since)
            if not unresolved:
                return
            for key in unresolved:
                self._one_gateway().look_up_request(asked[key])
            self._drain()
        raise AssertionError("a look-up is never answered")

    def _unresolved(self, since: int) -> list[tuple[int, int, bytes]]:
        """Requests whose outcome was left open, and not told later; and not found undecided from `since` on."""
        unresolved: dict[tuple[int, int, bytes], bool] = {}
        digests = {(each.tenant, each.id, each.events): each.fingerprint for each in self.clients.asked}
        for call in self.history.calls:
            if isinstance(call, Submit):
                digest = digests[call.tenant, call.request_id, call.events]
            elif isinstance(call, LookUpRequest):
                digest = call.fingerprint
            else:
                continue
            if call.told in (Told.UNKNOWN, Told.ACCEPTED):
                unresolved[call.tenant, call.request_id, digest] = True
            elif call.told in (Told.DECIDED, Told.KEY_REUSED) or call.start_ns > since:
                unresolved[call.tenant, call.request_id, digest] = False
        return [key for key, is_open in unresolved.items() if is_open]

    def _retry_all(self) -> None:
        """Every client sends again what was durable; it must get the same results, and make no entry."""
        durable = {
            (call.tenant, call.request_id, call.events)
            for call in self.history.calls
            if isinstance(call, Submit) and call.told in (Told.DECIDED, Told.ACCEPTED, Told.KEY_REUSED)
        }
        again = {each.commands: each for each in self.clients.asked if (each.tenant, each.id, each.events) in durable}
        entries = self._commands_entered()
        for each in again.values():
            self._one_gateway().take(each)
        self._drain()
        self._resolve_all()
        assert self._commands_entered() == entries, "a retry made an entry"

    def _commands_entered(self) -> int:
        """Entries of commands; time may have brought expiries."""
        blocks = self._started().parts.journal.read(0)
        return sum(int(np.isin(block.entries["kind"], COMMAND_KINDS).sum()) for block in blocks)

    def _show_all(self) -> None:
        """Every account, until somebody answers: the last position is proved by all that was answered before."""
        for tenant in TENANTS:
            self._one_gateway().look_up_accounts(tenant, list(range(1, ACCOUNTS + 1)))
            number = self.clients.transfer()[1]
            self._one_gateway().look_up_transfers(tenant, [number])
        self._drain()

    def _start_again(self) -> None:
        """What a start makes of the journal is what the live engine had."""
        live = _rows(self._started())
        if self.random.random() < 0.3:
            self._cut()
        else:
            self._kill_engine()
        again = _rows(self._started())
        for name in sorted(live.keys() | again.keys()):
            assert live.get(name) == again.get(name), f"after a start {name} is {again.get(name)}, not {live.get(name)}"

    def _journaled_positions(self, engine: Engine) -> dict[bytes, int]:
        """How far lanes are taken, by the journal's last block."""
        end = engine.parts.journal.end()
        last = list(engine.parts.journal.read(end - 1)) if end else []
        return dict(last[-1].positions) if last else {}

    def _judge(self) -> None:
        """The whole story, before the checker of histories."""
        quarantined, previous = 0, bytes(32)
        positions: dict[bytes, int] = {}
        for block in self._started().parts.journal.read(0):
            header = block.header
            assert header.previous == previous, f"block {header.first} does not continue the chain of hashes"
            previous = header.hash
            for lane, position in positions.items():
                found = block.positions.get(lane, -1)
                assert found >= position, f"block {header.first}: lane {lane.hex()} went back to {found}"
            positions = dict(block.positions)
            entries, details = block.entries.tobytes(), block.details.tobytes()
            self.history.add(Block(first=header.first, hash=header.hash, entries=entries, details=details))
            work = np.frombuffer(entries, WORK)
            quarantined += int(((work["status"] == TransferStatus.QUARANTINED) & (work["index"] == 0)).sum())
        # The last of three crashes is that of the request alone. A power cut in the middle of a start may bring back
        # the marker of one that was counted.
        each = 2 if self.counts["cuts"] else 3
        assert quarantined <= self.counts["crashes"] // each, "a request was quarantined, but did not crash alone"
        self.verdict = check(self.history)
        assert self.verdict.ok, "; ".join(f"{fault.wrong}: {fault.what}" for fault in self.verdict.faults)
        self.world.say("the checker finds nothing wrong with {} entries", self.verdict.entries)

    def _damage(self) -> None:
        """One bit of a last block changes at rest: no start may take that for a tear, nor go on."""
        self._started().loop()  # after a power cut the durable ends of lanes are stale until the engine looked
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
        self.world.say("bit {} of {} changes", bit, path)
        try:
            self._started().loop()
        except Corrupt:
            self.world.disk.flip_bit(path, bit)
        else:
            raise AssertionError(f"bit {bit} of {path} changed, and nobody noticed")
        self._cut()
        self._started()


def _rows(engine: Engine) -> dict[str, object]:
    """What books hold, by account; and how far lanes and time have come."""
    decider = engine.decider
    found: dict[str, object] = {"next_seq": decider.next_seq, "last_timestamp": decider.last_timestamp}
    for tenant in TENANTS:
        for number in range(1, ACCOUNTS + 1):
            row = decider.bookkeeper.account(tenant, number)
            if row is not None:
                found[f"account {number} of tenant {tenant}"] = {
                    name: row[name][0].tolist() for name in row.dtype.names or ()
                }
    return found
