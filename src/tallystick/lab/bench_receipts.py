"""The cases of `tally bench audit` on a whole platform: what the log costs payments, and when a receipt is there.

`payments`: CPU of the engine a payment, in pairs of stretches that follow each other directly: one without auditor and
signer, one with both, in turning order. `latency`: payments at a constant rate before a log that three witnesses on
this machine cosign, of whom the policy wants two. For each payment: how long after its answer a checkpoint over its
entry was published, and how long until one had its quorum. Some receipts are then fetched over HTTP and verified.
"""

import contextlib
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick import ids
from tallystick.auditor.serving import PUBLISHED, WITNESSED
from tallystick.blockfile import slots
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose.auditor import FOLDER
from tallystick.compose.signer import FOLDER as SIGNER_FOLDER
from tallystick.compose.signer import KEYS
from tallystick.compose.witness import FOLDER as WITNESS_FOLDER
from tallystick.compose.witness import LOGS
from tallystick.errors import Unavailable
from tallystick.lab import journal_check, procstat
from tallystick.lab.followers import follower
from tallystick.lab.generator import load_run
from tallystick.lab.instance import Instance, pause, tally
from tallystick.lab.load import Config
from tallystick.lab.plan import Plan
from tallystick.lab.results import Result, median, percentiles_ms
from tallystick.records import openings
from tallystick.settings import Settings
from tallystick.signer import keyfile
from tallystick.tlog import receipts
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.merkle import leaf_hash
from tallystick.tlog.notes import parse_note
from tallystick.tlog.policies import Policy, parse_policy

CASES = ("payments", "latency")
ACCOUNTS, CONNECTIONS = 1_000, 64
COST_MAX = 1.15
"""Times the engine's CPU without auditor and signer."""
P99_MS_MAX = {PUBLISHED: 1_500.0, WITNESSED: 3_000.0}
GRADES = {PUBLISHED: "logged", WITNESSED: "witnessed"}
LOOK_S = 0.005
LEVEL_S = 60.0
FETCHED = 50
WITNESSES, QUORUM = 3, 2

Say = Callable[[str], None]
_clock = SystemClock()


def cost(pairs: int, rate: float, seconds: float, folder: Path | None, say: Say) -> Result:
    """The case `payments`."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory(prefix="tally-audit-", dir=folder) as place,
        Instance(Path(place) / "bank", settings={"followers": ""}) as instance,
    ):
        load = _Load(instance, Path(place), rate)
        load.pay(seconds)
        for number in range(pairs):
            for audited in (False, True) if number % 2 else (True, False):
                say(f"pair {number + 1} of {pairs}: {'with' if audited else 'without'} auditor and signer")
                with contextlib.ExitStack() as stack:
                    if audited:
                        for name in ("signer", "auditor"):
                            stack.enter_context(follower(instance, name))
                        _until_level(instance, PUBLISHED)
                    engine = {instance.pid("engine")}
                    before_us = procstat.cpu_us(engine)
                    count = len(load.pay(seconds)[1])
                    costs[audited].append((procstat.cpu_us(engine) - before_us) / count)
    ratios = [one / other for one, other in zip(costs[True], costs[False], strict=True)]
    return Result(
        case="payments",
        rate=rate,
        unit="payments",
        cpu_us=median(costs[True]),
        reference="the engine's CPU without auditor and signer",
        reference_rate=None,
        ratio=None,
        extra={
            "cpu_us_without": round(median(costs[False]), 2),
            "cpu_ratio_median": round(median(ratios), 3),
            "cpu_ratio_min": round(min(ratios), 3),
            "cpu_ratio_max": round(max(ratios), 3),
            "bound": COST_MAX,
            "holds": median(ratios) <= COST_MAX,
            "pairs": pairs,
        },
    )


def latency(rate: float, seconds: float, folder: Path | None, say: Say) -> list[Result]:
    """The case `latency`: a result a grade."""
    with tempfile.TemporaryDirectory(prefix="tally-audit-", dir=folder) as place, contextlib.ExitStack() as stack:
        say(f"{WITNESSES} witnesses, of whom {QUORUM} must cosign")
        bank = Path(place) / "bank"
        path = _log_and_witnesses(Path(place), bank, stack)
        instance = stack.enter_context(
            Instance(bank, settings={"followers": "signer auditor", "log_policy": str(path)})
        )
        load = _Load(instance, Path(place), rate)
        load.pay(min(seconds, 3.0))
        _until_level(instance, WITNESSED)
        say(f"{rate:,.0f} payments a second for {seconds:.0f} s")
        with _watched(instance) as seen:
            run, answered_ns = load.pay(seconds)
            for name in GRADES:
                _until_level(instance, name)
        seqs = _seqs(instance, run, len(answered_ns))
        verified = _fetched(instance, run, len(answered_ns), parse_policy(path.read_text(encoding="utf-8")))
    return [_latency(name, seen[name], seqs, answered_ns, rate, verified) for name in GRADES]


def _latency(
    name: str,
    seen: list[tuple[int, int]],
    seqs: npt.NDArray[np.int64],
    answered_ns: npt.NDArray[np.int64],
    rate: float,
    verified: int,
) -> Result:
    times, sizes = np.array(seen, np.int64).T
    waited = np.maximum(times[np.searchsorted(sizes, seqs, side="right")] - answered_ns, 0)
    p50, p95, p99 = percentiles_ms(waited.tolist())
    return Result(
        case=f"receipt {GRADES[name]}",
        rate=rate,
        unit="payments",
        cpu_us=None,
        reference="the payment's answer",
        reference_rate=None,
        ratio=None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        extra={
            "payments": len(seqs),
            "checkpoints": len(seen),
            "fetched_and_verified": verified,
            "bound_p99_ms": P99_MS_MAX[name],
            "holds": p99 <= P99_MS_MAX[name],
        },
    )


class _Load:
    """Payments at a constant rate between accounts of one platform."""

    def __init__(self, instance: Instance, folder: Path, rate: float) -> None:
        self._instance = instance
        self._answers = folder / "answers.npy"
        self._rate = rate
        self._accounts = Plan(run=_random_run(), accounts=ACCOUNTS, payments=0)
        instance.open_accounts([self._accounts.account_id(number) for number in range(ACCOUNTS)], limited=False)

    def pay(self, seconds: float) -> tuple[int, npt.NDArray[np.int64]]:
        """Pay for a while; returns the run and when each payment was answered, monotonic ns. Raises `Unavailable`."""
        plan = Plan(
            run=_random_run(),
            accounts=ACCOUNTS,
            payments=round(self._rate * seconds),
            refused_every=0,
            accounts_run=self._accounts.run,
        )
        config = Config(
            host="127.0.0.1",
            port=self._instance.port,
            key=self._instance.key,
            plan=plan,
            connections=CONNECTIONS,
            answers=str(self._answers),
            rate=self._rate,
            patience_s=300.0,
        )
        with load_run(config) as generator:
            for _ in generator.lines():
                pass
        answers = np.load(self._answers)
        if (answers["answered_ns"] == 0).any():
            raise Unavailable(f"{int((answers['answered_ns'] == 0).sum()):,} payments have no known outcome")
        return plan.run, answers["answered_ns"].copy()


def _size(reader: slots.Reader) -> int:
    data = reader.read()
    return parse_checkpoint(parse_note(data).text).size if data else -1


def _reader(instance: Instance, name: str) -> slots.Reader:
    return slots.Reader(instance.folder / FOLDER / name, SystemDisk())


def _until_level(instance: Instance, name: str) -> None:
    """Wait until a checkpoint of that grade covers what stands in the journal now. Raises `Unavailable`."""
    reader, wanted = _reader(instance, name), journal_check.end(instance.folder)
    until_ns = _clock.monotonic_ns() + round(LEVEL_S * 1e9)
    while _size(reader) < wanted:
        if _clock.monotonic_ns() > until_ns:
            raise Unavailable(f"no receipt of the grade {GRADES[name]} within {LEVEL_S:.0f} s; see {instance.log_path}")
        pause(0.05)


@contextlib.contextmanager
def _watched(instance: Instance) -> Iterator[dict[str, list[tuple[int, int]]]]:
    """Looks at both checkpoints all the time: when (monotonic ns) which size was first there."""
    seen: dict[str, list[tuple[int, int]]] = {name: [] for name in GRADES}
    stop = threading.Event()

    def look() -> None:
        readers = {name: _reader(instance, name) for name in GRADES}
        while not stop.wait(LOOK_S):
            for name, reader in readers.items():
                size = _size(reader)
                if not seen[name] or size > seen[name][-1][1]:
                    seen[name].append((_clock.monotonic_ns(), size))

    thread = threading.Thread(target=look, name="checkpoints")
    thread.start()
    try:
        yield seen
        pause(10 * LOOK_S)  # the last checkpoint was seen by who waited for it, and is seen here now
    finally:
        stop.set()
        thread.join()


def _seqs(instance: Instance, run: int, count: int) -> npt.NDArray[np.int64]:
    """The entry of each payment, by its number. Raises `Unavailable` if one has none."""
    transfers = journal_check.read(instance.folder).transfers
    ours = transfers[transfers["id_hi"] == run]
    found = np.full(count, -1, np.int64)
    found[(ours["id_lo"] & np.uint64((1 << 48) - 1)).astype(np.int64) - 1] = ours["seq"].astype(np.int64)
    if (found < 0).any():
        raise Unavailable(f"{int((found < 0).sum())} payments are not in the journal")
    return found


def _fetched(instance: Instance, run: int, count: int, policy: Policy) -> int:
    """Receipts of payments all over the run, fetched and verified; raises `InvalidProof` or `Unavailable`."""
    plan, api = Plan(run=run, accounts=ACCOUNTS, payments=count), instance.api()
    numbers = range(0, count, max(1, count // FETCHED))
    try:
        for number in numbers:
            payment = ids.show(plan.payment(number).id)
            answer = api.ask("GET", f"/v1/transfers/{payment}/receipt?grade=witnessed")
            if answer.status != 200:
                raise Unavailable(f"no receipt of {payment}: HTTP {answer.status} {answer.body[:200]!r}")
            found = receipts.parse_receipt(answer.body)
            receipts.verify(found, leaf_hash(openings.unpack(found.extra)), policy)
    finally:
        api.close()
    return len(numbers)


def _log_and_witnesses(place: Path, bank: Path, stack: contextlib.ExitStack) -> Path:
    """Keys for the log, witnesses that run and know them, and the policy that names all."""
    origin = Settings(data=bank).log_origin_of_shard
    log = keyfile.create(bank / SIGNER_FOLDER / KEYS, origin, system_entropy)
    lines = [f"log {key.verifier.vkey}" for key in log]
    names = [f"w{number}" for number in range(WITNESSES)]
    for name in names:
        folder = place / name
        (folder / WITNESS_FOLDER).mkdir(parents=True)
        (folder / WITNESS_FOLDER / LOGS).write_text("\n".join([*lines[: len(log)], "quorum none", ""]))
        keys = keyfile.create(folder / WITNESS_FOLDER / KEYS, f"{name}.example", system_entropy, keyfile.WITNESS_PAIR)
        port = stack.enter_context(_witness(folder, f"{name}.example"))
        lines.append(f"witness {name} {keys[0].verifier.vkey} http://127.0.0.1:{port}")
    policy = place / "policy"
    policy.write_text(
        "\n".join([*lines, f"group quorum-of-them {QUORUM} {' '.join(names)}", "quorum quorum-of-them", ""])
    )
    return policy


@contextlib.contextmanager
def _witness(folder: Path, name: str) -> Iterator[int]:
    """A witness as others run it; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    environment = [f"TALLY_WITNESS_NAME={name}", f"TALLY_WITNESS_PORT={port}"]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            ["env", *environment, *tally("up"), "witness", "--data", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        child.terminate()
        child.wait()


def _random_run() -> int:
    return int.from_bytes(system_entropy(8), "big") >> 1
