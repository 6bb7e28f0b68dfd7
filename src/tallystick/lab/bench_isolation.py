"""`tally bench isolation`: what does a follower that is stopped, killed or far behind cost the payments?

One platform without followers is loaded with payments at a constant rate, in short stretches. Pairs of stretches
follow each other directly: one without the follower, one with it and its wound, in turning order; and as many pairs
without it in both. The ratio of the two p99 of a pair is what counts: the machine's moods are in both. The median of a
case must not pass 1.10, or what nine of ten pairs without any difference stay below. Journal and intake may not grow
more with it than without.
"""

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Invalid, TallystickError, Unavailable
from tallystick.journal import progress
from tallystick.lab import bench_notifier, journal_check
from tallystick.lab.followers import follower, killed
from tallystick.lab.generator import load_run
from tallystick.lab.instance import Instance, pause
from tallystick.lab.load import Config
from tallystick.lab.onserver import engines
from tallystick.lab.own_intake import own_intake
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median, percentiles_ms, ratio
from tallystick.webhooks.shapes import SubscriptionIn

ACCOUNTS = 1_000
RATE = 400.0
CONNECTIONS = 32
BACKLOG = 150_000
"""Entries that stand in the journal before, so that a follower that begins anew has something to do."""
WARM_UP_S = 3.0
KILL_EVERY_S = 0.7
PAIRS_MIN = 10
BOUND = 1.10
STARTED_S = 30.0
CASES = (
    "projector stopped",
    "projector killed",
    "projector behind",
    "notifier stopped",
    "notifier killed",
    "notifier behind",
)
RELAY_CASES = ("relay stopped", "relay killed", "relay behind")
READS = {"projector": "/v1/transfers?limit=1000", "notifier": "/v1/webhooks"}
"""What each is asked when it is stopped in the middle of an answer."""

Say = Callable[[str], None]
_clock = SystemClock()


@dataclass
class _Stretch:
    """What one stretch of payments gave."""

    p50_ms: float
    p99_ms: float
    payments: int
    bytes_kept: int


@dataclass
class _Pairs:
    without: list[_Stretch] = field(default_factory=list)
    wounded: list[_Stretch] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Of p99, pair by pair."""
        return [b.p99_ms / a.p99_ms for a, b in zip(self.without, self.wounded, strict=True)]


def run(
    pairs: int,
    seconds: float,
    names: list[str],
    folder: Path | None,
    say: Say,
    journal: str = "files",
    intake: str = "files",
    relay: str = "",
) -> list[Result]:
    """Each case named as `FOLLOWER WOUND` (none: all of them), and the pairs without a difference.

    `relay` is a `TALLY_RELAY`; without one there are no cases of the relay.
    """
    known = (*CASES, *(RELAY_CASES if relay else ()))
    if unknown := set(names) - set(known):
        more = "" if relay else "; those of the relay need --relay"
        raise Invalid("--case", f"no such case: {', '.join(unknown)}; there are {', '.join(map(repr, known))}{more}")
    chosen = [case for case in known if not names or case in names]
    with tempfile.TemporaryDirectory(prefix="tally-isolation-", dir=folder) as place, engines(journal, intake) as own:
        # Of our session, as load and followers are: all compete as they do where nothing groups them by session.
        with Instance(Path(place), settings={"followers": "", **own}, own_session=False) as instance:
            # Only now: the supervisor would run one at all times.
            instance.environment.append(f"TALLY_RELAY={own_intake(relay, system_entropy)}")
            bench = _Bench(instance, seconds)
            bench.prepare(say)
            kept = {name: _Pairs() for name in ("no difference", *chosen)}
            for number in range(pairs):
                for name, into in kept.items():
                    say(f"pair {number + 1} of {pairs}: {name}")
                    bench.pair(name, number % 2 == 1, into)
        noise = float(np.percentile(kept["no difference"].ratios, 90))
        return [_result(name, each, noise, pairs) for name, each in kept.items()]


class _Bench:
    """A platform under load."""

    def __init__(self, instance: Instance, seconds: float) -> None:
        self.instance = instance
        self.seconds = seconds
        self.accounts = Plan(run=_random_run(), accounts=ACCOUNTS, payments=0)

    def prepare(self, say: Say) -> None:
        """Open the accounts, and put the backlog into the journal."""
        self.instance.open_accounts([self.accounts.account_id(number) for number in range(ACCOUNTS)], limited=False)
        say(f"{BACKLOG:,} entries for a follower that begins anew")
        self._pay(payments=BACKLOG, rate=0.0, connections=256)
        self._pay(payments=round(RATE * WARM_UP_S), rate=RATE)

    def pair(self, name: str, wounded_first: bool, into: _Pairs) -> None:
        """Two stretches, one after the other."""
        for wounded in (wounded_first, not wounded_first):
            if wounded and name != "no difference":
                follower, wound = name.split()
                with _WOUNDS[wound](self.instance, follower):
                    into.wounded.append(self.stretch())
            else:
                (into.wounded if wounded else into.without).append(self.stretch())

    def stretch(self) -> _Stretch:
        """Payments at the constant rate for a while."""
        before = _kept_bytes(self.instance)
        latencies = self._pay(payments=round(RATE * self.seconds), rate=RATE)
        p50, _, p99 = percentiles_ms(latencies)
        return _Stretch(p50, p99, len(latencies), _kept_bytes(self.instance) - before)

    def _pay(self, payments: int, rate: float, connections: int = CONNECTIONS) -> list[int]:
        plan = msgspec.structs.replace(self.accounts, payments=payments, refused_every=0)
        plan = msgspec.structs.replace(plan, run=_random_run(), accounts_run=self.accounts.run)
        answers_file = self.instance.folder / "answers.npy"
        config = Config(
            host="127.0.0.1",
            port=self.instance.port,
            key=self.instance.key,
            plan=plan,
            connections=connections,
            answers=str(answers_file),
            rate=rate,
            patience_s=300.0,
        )
        with load_run(config) as generator:
            for _ in generator.lines():
                pass
        answers = np.load(answers_file)
        if (answers["answered_ns"] == 0).any():
            raise Unavailable(f"{int((answers['answered_ns'] == 0).sum()):,} payments have no known outcome")
        latencies: list[int] = (answers["answered_ns"] - answers["sent_ns"]).tolist()
        return latencies


def _kept_bytes(instance: Instance) -> int:
    """What stands in the journal, and in the intake's segments if it has any, in bytes: entries, blocks with room."""
    intake = instance.folder / "intake"
    segments = sum(path.stat().st_blocks * 512 for path in intake.rglob("*") if path.is_file())
    return journal_check.end(instance.place) * 360 + segments


def _reads(instance: Instance, name: str) -> bool:
    """Whether the follower answers a read just now."""
    api = instance.api(wait_s=10.0)
    try:
        return api.ask("GET", READS[name]).status == 200
    except TallystickError:
        return False
    finally:
        api.close()


def _has_begun(instance: Instance, name: str) -> bool:
    """Whether a follower that answers nobody has something behind it."""
    found = progress.read(instance.folder / "run").get(name)
    return found is not None and found.next_seq > 0


def _works(instance: Instance, name: str) -> bool:
    return _reads(instance, name) if name in READS else _has_begun(instance, name)


def _wait_until_it_works(instance: Instance, name: str) -> None:
    until = _clock.monotonic_ns() + round(STARTED_S * 1e9)
    while not _works(instance, name):
        if _clock.monotonic_ns() > until:
            told = progress.read(instance.folder / "run").get(name)
            raise Unavailable(f"the {name} does not work: {(told and told.trouble) or 'it does not say why'}")
        pause(0.1)


@contextmanager
def _stopped(instance: Instance, name: str) -> Iterator[None]:
    """SIGSTOP, while a read is on its way there, if it answers any."""
    with follower(instance, name) as child:
        _wait_until_it_works(instance, name)
        reader = threading.Thread(target=_works, args=(instance, name))
        reader.start()
        pause(0.002)
        os.kill(child.pid, signal.SIGSTOP)
        reader.join()
        yield


@contextmanager
def _killed(instance: Instance, name: str) -> Iterator[None]:
    """SIGKILL again and again, as soon as it has run a little, and started again each time by a supervisor."""
    with killed(instance, name, KILL_EVERY_S, lambda: _wait_until_it_works(instance, name)):
        yield


@contextmanager
def _behind(instance: Instance, name: str) -> Iterator[None]:
    """It begins anew: takes the whole journal in, or has a webhook or event to send for every payment in it."""
    for path in [*(instance.folder / name).glob("*.db*"), *(instance.folder / name).glob("*.cursor")]:
        path.unlink()
    with _receiver() as url, follower(instance, name):
        if name == "notifier":
            _subscribe(instance, url)
        yield


@contextmanager
def _receiver() -> Iterator[str]:
    """Takes every webhook that comes to this URL, in a thread of this process.

    It stands for somebody else's machine, so it takes no processor from the payments either.
    """
    loop = asyncio.new_event_loop()
    server, url = loop.run_until_complete(bench_notifier.serve(bench_notifier.TakesAll()))

    def serve() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread alone
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _subscribe(instance: Instance, url: str) -> None:
    """To all payments from the journal's beginning."""
    api = instance.api()
    wanted = SubscriptionIn(url, ["transfer.created"], from_position="0")
    try:
        told = instance.settle(api, "/v1/webhooks", wanted)
    finally:
        api.close()
    if told.status != 201:
        raise Unavailable(f"the subscription was not made: HTTP {told.status} {told.body[:200]!r}")


_WOUNDS: dict[str, Callable[[Instance, str], AbstractContextManager[None]]] = {
    "stopped": _stopped,
    "killed": _killed,
    "behind": _behind,
}


def _random_run() -> int:
    return int.from_bytes(system_entropy(8), "big") >> 1


def _result(name: str, pairs: _Pairs, noise: float, count: int) -> Result:
    middle = median(pairs.ratios)
    bound = max(BOUND, noise)
    without, wounded = pairs.without, pairs.wounded
    kept = median(each.bytes_kept / each.payments for each in wounded)
    kept_without = median(each.bytes_kept / each.payments for each in without)
    return Result(
        case=name,
        rate=RATE,
        unit="payments",
        cpu_us=None,
        reference="the same payments without the follower",
        reference_rate=RATE,
        ratio=ratio(RATE, RATE),
        p50_ms=median(each.p50_ms for each in wounded),
        p99_ms=median(each.p99_ms for each in wounded),
        extra={
            "pairs": count,
            "p99_ms_without": round(median(each.p99_ms for each in without), 3),
            "p99_ratio_median": round(middle, 3),
            "p99_ratio_min": round(min(pairs.ratios), 3),
            "p99_ratio_max": round(max(pairs.ratios), 3),
            "bound": round(bound, 3),
            "holds": bool(middle <= bound),
            "enough_pairs": count >= PAIRS_MIN,
            "bytes_a_payment": round(kept, 1),
            "bytes_a_payment_without": round(kept_without, 1),
        },
    )
