"""`tally bench failover`: what is killed has a second one, and clients go on. How long is nothing decided, is any lost?

    engine      two engines on one journal in PostgreSQL, as on two machines, each with a gateway; the active one is
                killed, the one that stands by takes over, and what was killed comes back to stand by
    postgresql  the primary is killed, its synchronous standby promoted; the old primary comes back as its standby
    kafka       one broker of several is killed under the intake, and comes back; each in its turn

Servers are the user's: they are named by URL, and by a command that kills, promotes and starts each.
"""

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tallystick.clock import system_entropy
from tallystick.errors import Invalid, Unavailable
from tallystick.lab import failing_over
from tallystick.lab.failing_over import Found, Say, Wounds
from tallystick.lab.instance import READY_S, Instance, pause
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median
from tallystick.lab.torture.servers import MARK, Server

BOUNDS_S = {"engine": 5.0, "postgresql": 15.0, "kafka": 6.0}
"""By case, how long at most nothing may be decided."""
BROKERS_MIN = 3
ACCOUNTS = 1_000
CONNECTIONS = 16
PAYMENTS_MAX = 1_000_000
WAIT_S = 0.5
"""How long a gateway lets a client wait before that asks the other one."""
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Servers:
    """What the user named."""

    journal: str = "files"
    intake: str = "files"
    databases: Sequence[str] = ()
    """The command of each server of `journal`, in the order of its hosts."""
    brokers: Sequence[str] = ()
    """The command of each broker of `intake`."""


def run(kills: int, names: Sequence[str], servers: Servers, data: Path | None, say: Say) -> list[Result]:
    """Measure the cases named (none: all that have what they need). Raises `Invalid` for what cannot be run."""
    if unknown := set(names) - set(BOUNDS_S):
        raise Invalid("--case", f"no such case as {min(unknown)!r}; there are {', '.join(BOUNDS_S)}")
    lacks = {name: _lack(name, servers) for name in BOUNDS_S}
    chosen = [name for name in BOUNDS_S if (name in names if names else not lacks[name])]
    if missing := [f"{name}: {lacks[name]}" for name in chosen if lacks[name]]:
        raise Invalid("--case", "; ".join(missing))
    if not chosen:
        raise Invalid("", "; ".join(f"{name}: {lack}" for name, lack in lacks.items()))
    return [_measure(name, kills, servers, data, say) for name in chosen]


def _lack(name: str, servers: Servers) -> str:
    """What a case needs and was not given; empty if nothing."""
    if name in ("engine", "postgresql") and not servers.journal.startswith(("postgresql://", "postgres://")):
        return "needs a journal that outlives the machine: --journal postgresql://…"
    if name == "engine" and "://" not in servers.intake:
        return "needs an intake that both machines reach: --intake kafka://… or rabbitmq://…"
    if name == "postgresql" and len(servers.databases) != 2:
        return "needs --database COMMAND twice, for primary and standby in the order of the URL's hosts"
    if name == "kafka" and not servers.intake.startswith("kafka://"):
        return "needs --intake kafka://… with all of its brokers"
    if name == "kafka" and len(servers.brokers) < BROKERS_MIN:
        return f"needs --broker COMMAND for each broker, {BROKERS_MIN} at least"
    return ""


def commands(option: str, given: Sequence[str]) -> list[Server]:
    """The servers that obey these commands. Raises `Invalid` for one without a place for the word."""
    for command in given:
        if not any(MARK in word for word in shlex.split(command)):
            raise Invalid(option, f"{command!r} has no {MARK} where kill, promote, start go")
    return [Server(f"server {number}", shlex.split(each)) for number, each in enumerate(given, 1)]


def _measure(name: str, kills: int, servers: Servers, data: Path | None, say: Say) -> Result:
    say(f"{name}: starting")
    databases, brokers = commands("--database", servers.databases), commands("--broker", servers.brokers)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-failover-", dir=data)))
        settings = stack.enter_context(engines(servers.journal, servers.intake if name != "postgresql" else "files"))
        settings |= {"followers": ""}
        platforms: list[Instance]
        if name == "engine":
            platforms = stack.enter_context(_two(folder, settings))
            wounds: Wounds = Engines(platforms, say)
        else:
            platforms = [stack.enter_context(Instance(folder, settings=settings))]
            wounds = Databases(servers.journal, databases) if name == "postgresql" else InTurn(brokers)
        first = platforms[0]
        plan = Plan(run=int.from_bytes(system_entropy(8), "big") >> 1, accounts=ACCOUNTS, payments=PAYMENTS_MAX)
        first.open_accounts([plan.account_id(number) for number in range(ACCOUNTS)], limited=False)
        config = Config(
            host="127.0.0.1",
            port=first.port,
            other_ports=[each.port for each in platforms[1:]],
            key=first.key,
            plan=plan,
            connections=CONNECTIONS,
            answers=str(folder / "answers.npy"),
            patience_s=failing_over.PATIENCE_S,
        )
        found = failing_over.run(config, first.place, kills, wounds, say)
    return _result(name, kills, found)


def _result(name: str, kills: int, found: Found) -> Result:
    worst_s, verdict = max(found.silences_s), found.verdict
    return Result(
        case=name,
        rate=found.payments_s,
        unit="payments",
        cpu_us=None,
        reference="none: a time, not a rate",
        reference_rate=None,
        ratio=None,
        extra={
            "kills": kills,
            "kill_to_new_outcome_s_median": round(median(found.silences_s), 3),
            "kill_to_new_outcome_s_max": round(worst_s, 3),
            "bound_s": BOUNDS_S[name],
            "holds": worst_s <= BOUNDS_S[name],
            "acknowledged": verdict.acknowledged,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "unknown": verdict.unknown,
            "altered": verdict.altered,
            "asked_again": found.asked_again,
            "told_otherwise": found.told_otherwise,
        },
    )


@contextmanager
def _two(folder: Path, settings: dict[str, object]) -> Iterator[list[Instance]]:
    """Two machines in small: a folder, an engine and a gateway each. The second stands by."""
    settings = {**settings, "standby": "true", "wait_s": WAIT_S}
    first, second = (Instance(folder / name, settings=settings) for name in ("first", "second"))
    second.key = first.key
    with first:
        second.prepare()
        second.start()
        try:
            _until_it_follows(second, 1)
            yield [first, second]
        finally:
            second.stop()


def _followed(platform: Instance) -> int:
    """How often its engine has said that it follows the journal of another."""
    return sum(b'"following"' in line for line in platform.log_path.read_bytes().splitlines())


def _until_it_follows(platform: Instance, times: int) -> None:
    until_ns = platform.clock.monotonic_ns() + round(READY_S * 1e9)
    while _followed(platform) < times:
        if platform.clock.monotonic_ns() > until_ns:
            raise Unavailable(f"the engine in {platform.folder} does not come to stand by; its log is {_end(platform)}")
        pause(POLL_S)


def _end(platform: Instance) -> str:
    return "\n".join(platform.log_path.read_text(errors="replace").splitlines()[-8:])


@dataclass
class Engines:
    """The active one of two engines is killed; its supervisor starts it again, and then it stands by."""

    platforms: Sequence[Instance]
    say: Say

    def kill(self) -> str:
        number = next((at for at, each in enumerate(self.platforms) if each.is_ready()), None)
        if number is None:
            raise Unavailable("neither engine is active")
        self._killed = self.platforms[number]
        self._follows = _followed(self._killed)
        self._killed.kill("engine")
        return f"the engine of machine {number + 1}"

    def heal(self) -> None:
        if self._killed.is_ready():
            self.say("it was faster than the one that stood by")
        else:
            _until_it_follows(self._killed, self._follows + 1)


@dataclass
class Databases:
    """Of a primary and its standby, whichever is the primary is killed, and the other promoted."""

    url: str
    servers: Sequence[Server]

    def kill(self) -> str:
        from tallystick.lab.on_postgresql import writable_host

        number = writable_host(self.url)
        self._killed = self.servers[number]
        self._killed.do("kill")
        self.servers[1 - number].do("promote")
        return f"the primary, {self._killed.name}"

    def heal(self) -> None:
        self._killed.do("start")


class InTurn:
    """One server after the other."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._count = 0

    def kill(self) -> str:
        self._killed = self._servers[self._count % len(self._servers)]
        self._count += 1
        self._killed.do("kill")
        return self._killed.name

    def heal(self) -> None:
        self._killed.do("start")
