"""One torture from start to verdict: a platform of its own, clients and wounds at once, then rest, then the judge."""

import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from tallystick.client.http import Api
from tallystick.clock import SystemClock, system_entropy, write_offset
from tallystick.compose.journals import Place
from tallystick.errors import Unavailable
from tallystick.gateway import auth
from tallystick.lab.history import file as history_file
from tallystick.lab.history.calls import End, Told
from tallystick.lab.history.check import check
from tallystick.lab.history.faults import Fault, Unknown, Verdict
from tallystick.lab.history.file import HistoryFile
from tallystick.lab.instance import TENANT, Instance, pause
from tallystick.lab.onserver import engines
from tallystick.lab.torture import dump
from tallystick.lab.torture.clients import ANSWER_S_MAX, IDS_A_LOOK_UP, Client, Desk, Tally
from tallystick.lab.torture.display import Display
from tallystick.lab.torture.orders import ACCOUNTS, Order, Orders
from tallystick.lab.torture.pulse import Pulse
from tallystick.lab.torture.servers import Server, ServerWounds
from tallystick.lab.torture.wounds import Wounds
from tallystick.settings import LANE_SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN

GATEWAYS = 2
TENANTS = (TENANT, TENANT + 1)
CLIENTS = 8
"""Of each tenant."""
REST_S = 120.0
"""How long the platform may take to recover and decide what waits, once nobody hurts it any more."""
FAULTS_SHOWN = 20
SETTINGS = {
    # Small, so that a short run meets what a year brings: new segments, closed windows, deleted lanes, merged runs.
    "segment_bytes": SEGMENT_BYTES_MIN,
    "lane_segment_bytes": LANE_SEGMENT_BYTES_MIN,
    "window_ids": 2_000,
    "accounts_max": 10_000,
    "intake_retention_s": 3,
    # What is judged is what engine and gateways say; followers would only be slower company.
    "followers": "",
    # The machine's own disk may be nearly full already; what a full one does is tried by other means.
    "disk_free_min": 0.0,
}


class Report(msgspec.Struct, kw_only=True):
    """What the torture found; `--json` prints it."""

    acknowledged: int
    """Requests that some answer called durable or decided."""
    lost: int
    """Things gone that somebody was told of."""
    doubled: int
    """Things that count twice."""
    contradicted: int
    """Answers that are not so, in any other way."""
    kills: int
    seed: int
    history: str
    """The file that can be checked again: `tally torture check FILE`."""
    requests: int
    indefinite: int
    """Requests with an answer that left the outcome open; each was resolved, or counts as contradicted."""
    unknown: Unknown
    """Of these, those that may have been written or not, and how it was found out."""
    calls: int
    look_ups: int
    entries: int
    by_status: dict[str, int]
    wounds: dict[str, int]
    """By kind: kill, stop, jump, full."""
    servers: dict[str, dict[str, int]]
    """By server behind the platform and by kind: kill, pause."""
    shortfalls: list[str]
    """What could not be done on this machine."""
    unexpected: list[str]
    """Answers that the clients did not understand: none, if all is well."""
    faults: list[Fault]
    """The first of them."""
    seconds: float
    ok: bool


def run(
    seconds: float,
    seed: int | None,
    data: Path | None,
    history: Path | None,
    as_json: bool,
    journal: str = "files",
    intake: str = "files",
    servers: Sequence[Server] = (),
) -> bool:
    """Torture a platform of its own for so long; True if nothing is wrong. Raises `Unavailable` if it cannot be run.

    `servers`: those behind it that are hurt as well. Without `data` it lives in a temporary folder, which stays only if
    something is wrong.
    """
    seed = int.from_bytes(system_entropy(4), "big") if seed is None else seed
    display = Display(sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="tallystick-torture-")) if data is None else data.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "journal").exists():
        raise Unavailable(f"{folder} holds a journal already: what is in it, nobody noted. Use another folder")
    file = history or (Path(f"tally-torture-{seed}.jsonl").absolute() if data is None else folder / "history.jsonl")
    with engines(journal, intake) as settings:
        report = Torture(seconds, seed, folder, file, display, settings, servers).run()
    if data is None and report.ok:
        shutil.rmtree(folder)
    elif not report.ok:
        display.say(f"the data folder is kept: {folder}")
    display.verdict(report)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
    return report.ok


def check_file(file: Path, as_json: bool) -> bool:
    """Judge a history that was kept; True if nothing is wrong. Raises `Corrupt` for a file that is no whole history."""
    display = Display(sys.stderr)
    display.say(f"reading {file}")
    history = history_file.read(file)
    display.say(f"deciding {sum(len(block.entries) for block in history.blocks) // 256:,} entries once more")
    verdict = check(history)
    report = _report(verdict, history.seed, file, Tally(calls=verdict.calls), {}, {}, history.shortfalls, 0.0)
    display.verdict(report)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
    return report.ok


def _report(
    verdict: Verdict,
    seed: int,
    file: Path,
    tally: Tally,
    wounds: dict[str, int],
    servers: dict[str, dict[str, int]],
    shortfalls: list[str],
    seconds: float,
) -> Report:
    return Report(
        acknowledged=verdict.acknowledged,
        lost=verdict.lost,
        doubled=verdict.doubled,
        contradicted=verdict.contradicted,
        kills=wounds.get("kill", 0),
        seed=seed,
        history=str(file),
        requests=verdict.requests,
        indefinite=verdict.indefinite,
        unknown=verdict.unknown,
        calls=tally.calls,
        look_ups=verdict.looked_up,
        entries=verdict.entries,
        by_status=verdict.by_status,
        wounds=wounds,
        servers=servers,
        shortfalls=shortfalls,
        unexpected=tally.unexpected[:FAULTS_SHOWN],
        faults=verdict.faults[:FAULTS_SHOWN],
        seconds=round(seconds, 1),
        ok=verdict.ok and not tally.unexpected,
    )


@dataclass
class Torture:
    """One run."""

    seconds: float
    seed: int
    folder: Path
    file: Path
    display: Display
    engines: Mapping[str, object]
    """Settings: where journal and intake are."""
    servers: Sequence[Server] = ()
    clock: SystemClock = field(default_factory=SystemClock)
    tally: Tally = field(default_factory=Tally)

    @property
    def _place(self) -> Place:
        return Place.named(self.folder, str(self.engines["journal"]))

    def run(self) -> Report:
        """From the first start to the verdict."""
        started_ns = self.clock.monotonic_ns()
        offset_file = self.folder / "clock-offset"
        write_offset(offset_file, 0)
        history = HistoryFile(self.file, self.seed)
        settings = {**SETTINGS, "clock_offset_file": offset_file, **self.engines}
        self.display.say(f"seed {self.seed}; {GATEWAYS} gateways, {len(TENANTS)} tenants; data in {self.folder}")
        with Instance(self.folder, self.clock, GATEWAYS, settings) as instance:
            desks = self._desks(instance, history)
            pulse = Pulse(lambda: self.tally.decided, self.clock)
            wounds = Wounds(
                instance, Random(f"{self.seed}/wounds"), history, self.clock, offset_file, threading.Event(), pulse
            )
            chance = Random(f"{self.seed}/servers")
            hurt = ServerWounds(self.servers, chance, history, self.clock, threading.Event(), pulse)
            self._live(instance, desks, wounds, hurt, history)
            self.display.say("no more wounds; asking about every answer that left something open")
            self._resolve(instance, desks)
        self.display.say("reading the journal")
        entries = dump.dump(self._place, history)
        history.add(End(shortfalls=wounds.shortfalls))
        history.close()
        self.display.say(f"deciding {entries:,} entries once more, and holding {self.tally.calls:,} calls against that")
        verdict = check(history_file.read(self.file))
        seconds = (self.clock.monotonic_ns() - started_ns) / 1e9
        counts = {kind: count for kind, count in sorted(wounds.counts.items()) if kind != "room"}
        servers = {name: dict(kinds) for name, kinds in hurt.counts.items()}
        return _report(verdict, self.seed, self.file, self.tally, counts, servers, wounds.shortfalls, seconds)

    def _desks(self, instance: Instance, history: HistoryFile) -> list[Desk]:
        """A desk for each tenant, and its accounts opened."""
        desks = []
        for tenant in TENANTS:
            key = instance.key
            if tenant != TENANT:
                key = auth.make_key(system_entropy)
                keys = instance.folder / "keys.json"
                auth.add_key(keys, key, tenant, f"tenant-{tenant}", list(auth.SCOPES), self.clock.wall_ns())
            apis = [Api(url, key, 2 * CLIENTS, ANSWER_S_MAX) for url in instance.urls]
            desk = Desk(tenant, apis, history, self.clock, self.tally)
            desks.append(desk)
            opener = Client(0, Random(f"{self.seed}/{tenant}"), desk, self.clock, threading.Event())
            for _ in range(200):  # a key is known to a gateway only when it next looks at its file
                if opener.open_accounts() is Told.DECIDED:
                    break
                self.tally.unexpected.clear()
                pause(0.05)
            else:
                raise Unavailable(f"the accounts of tenant {tenant} could not be opened; see {instance.log_path}")
        return desks

    def _live(
        self, instance: Instance, desks: Sequence[Desk], wounds: Wounds, hurt: ServerWounds, history: HistoryFile
    ) -> None:
        """Clients and wounds, at once, for as long as it shall take."""
        stopped, reading = threading.Event(), threading.Event()
        clients = [
            Client(number, Random(f"{self.seed}/{desk.tenant}/{number}"), desk, self.clock, stopped)
            for desk in desks
            for number in range(1, CLIENTS + 1)
        ]
        count = len(clients)
        with ThreadPoolExecutor(count + 3) as threads, ThreadPoolExecutor(count) as second:
            try:
                running: list[Future[None]] = [threads.submit(client.run, second) for client in clients]
                running.append(threads.submit(wounds.run))
                if self.servers:
                    running.append(threads.submit(hurt.run))
                running.append(threads.submit(dump.follow, self._place, history, self.clock, reading))
                with self.display.live(self.seconds, self.clock) as show:
                    until_ns = self.clock.monotonic_ns() + round(self.seconds * 1e9)
                    while self.clock.monotonic_ns() < until_ns and not any(each.done() for each in running):
                        show(self.tally, wounds, hurt)
                        pause(0.2)
            finally:
                stopped.set()
                wounds.stopped.set()
                hurt.stopped.set()
                reading.set()
            for each in running:
                each.result()  # whatever broke one of them is raised here
        if self.tally.unexpected:
            self.display.say(f"not understood: {self.tally.unexpected[0]}")

    def _resolve(self, instance: Instance, desks: Sequence[Desk]) -> None:
        """When all is well again: everything that is open, and everything there is, is looked up once more."""
        instance.wait_ready(REST_S)
        for desk in desks:
            for gateway in range(desk.gateways):
                self._barrier(desk, gateway)
        drained = dump.wait_drained(self._place, self.clock, REST_S)
        until_ns = self.clock.monotonic_ns() + round(REST_S * 1e9)
        for desk in desks:
            for order in desk.open():
                told = self._insist(partial(desk.ask_about, order, 1, 0))
                if told is Told.NOT_DECIDED and not drained:
                    self._settle(desk, order, until_ns)
            numbers = sorted(desk.known.ids)
            self._insist(partial(desk.look_up, "accounts", range(1, ACCOUNTS + 1), 0, 0))
            for at in range(0, len(numbers), IDS_A_LOOK_UP):
                some = numbers[at : at + IDS_A_LOOK_UP]
                self._insist(partial(desk.look_up, "transfers", some, 0, 0))

    def _settle(self, desk: Desk, order: Order, until_ns: int) -> None:
        """Find out what a lane may still hold: what was acknowledged comes by then, or is lost; else send it again."""
        if not desk.is_accepted(order):
            self._insist(partial(desk.send, order, 1, 0, "wait=5"))
            return
        told = Told.NOT_DECIDED
        while told is Told.NOT_DECIDED and self.clock.monotonic_ns() < until_ns:
            pause(0.2)
            told = self._insist(partial(desk.ask_about, order, 1, 0))

    def _barrier(self, desk: Desk, gateway: int) -> None:
        """A payment and a control command decided: all that this gateway took on before has reached the intake."""
        orders = Orders(Random(f"{self.seed}/end/{desk.tenant}/{gateway}"), desk.tenant, desk.known)
        for order in (orders.a_payment(), orders.a_control()):
            self._insist(partial(desk.send, order, gateway, 0, "wait=5"))

    def _insist(self, ask: Callable[[], Told]) -> Told:
        """Ask until there is an answer. Raises `Unavailable` if none comes in time."""
        until_ns = self.clock.monotonic_ns() + round(REST_S * 1e9)
        while (told := ask()) in (Told.UNKNOWN, Told.NOTHING_WRITTEN, Told.ACCEPTED):
            if self.clock.monotonic_ns() > until_ns:
                raise Unavailable(f"nobody answers, {REST_S:.0f} s after the last wound; see {self.folder / 'log'}")
            pause(0.2)
        return told
