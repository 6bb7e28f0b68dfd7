"""`tally bench follow`: how fast a follower comes along behind the journal, on one core, and is its effect there once?

Each case is one follower, and brings what it needs: add a function to `CASES`. The projector's journal is filled in
process first. Then, in each run, a process of its own, bound to one core, follows it from entry 0 into a new file, or
into new tables of a database, whose server takes what cores there are; a last one, not measured, is killed on its way.
What either made is counted against the journal.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.compose.library import Ledger
from tallystick.compose.projecting import FILE_NAME, Kept, KeptInPostgres
from tallystick.errors import Unavailable
from tallystick.journal.files import FileJournalReader
from tallystick.journal.follow import Cursor, Follower, slices
from tallystick.lab.results import Result, median, ratio
from tallystick.projector.projection import COMMITTED_AT_ONCE, Projection
from tallystick.records.commands import ACCOUNT_EVENT, COMMANDS_MAX, TRANSFER_EVENT, Kind
from tallystick.records.entries import TRANSFER_WORK
from tallystick.statuses import CREATED, STORED_MASK

FILES = "files"
ENTRIES = 1_000_000
ACCOUNTS = 10_000
KILLS = 3

Say = Callable[[str], None]
Rows = npt.NDArray[np.void]
_clock = SystemClock()


class Followed(msgspec.Struct, frozen=True):
    """What a following process measured of itself."""

    entries: int
    wall_s: float
    cpu_s: float
    read_s: float
    """To read and verify the same blocks and do nothing with them."""


def run(
    entries: int, runs: int, names: list[str], folder: Path | None, say: Say, services: str = FILES
) -> list[Result]:
    """The cases named; `services`: a PostgreSQL server to keep tables in.

    Raises `Unavailable` if a process fails, or makes what the journal does not say.
    """
    results = []
    for name, case in CASES.items():
        if name in names:
            with tempfile.TemporaryDirectory(prefix="tally-follow-", dir=folder) as place, own_place(services) as url:
                results.append(case(entries, runs, Path(place), say, url))
    return results


def fill(data: Path, transfers: int, say: Say, accounts: int = ACCOUNTS, hot: int = 0) -> None:
    """A journal of so many transfers between random accounts; every tenth of them pays account 1 if `hot` is 10."""
    with Ledger.open(data, window_ids=1_000_000) as ledger:
        for first in range(0, accounts, COMMANDS_MAX):
            rows = np.zeros(min(COMMANDS_MAX, accounts - first), ACCOUNT_EVENT)
            rows["id_lo"] = np.arange(first + 1, first + 1 + len(rows))
            rows["ledger"], rows["code"] = 1, 1 + rows["id_lo"] % 5
            _require_created(ledger.create_accounts(rows))
        rng = np.random.default_rng(7)
        for made in range(0, transfers, COMMANDS_MAX):
            rows = _transfers(made, min(COMMANDS_MAX, transfers - made), accounts, hot, rng)
            _require_created(ledger.create_transfers(rows))
            if made // 1_000_000 != (made + COMMANDS_MAX) // 1_000_000:
                say(f"{made:,} transfers in the journal")


def _transfers(first: int, count: int, accounts: int, hot: int, rng: np.random.Generator) -> Rows:
    rows = np.zeros(count, TRANSFER_EVENT)
    debit = rng.integers(1, accounts, count)
    rows["id_hi"], rows["id_lo"] = 1 + first + np.arange(count), rng.integers(1, 1 << 63, count)
    rows["debit_account_id_lo"] = debit + 1
    rows["credit_account_id_lo"] = (debit + rng.integers(1, accounts - 1, count) - 1) % (accounts - 1) + 2
    rows["credit_account_id_lo"][rows["credit_account_id_lo"] == rows["debit_account_id_lo"]] = 1
    if hot:
        rows["credit_account_id_lo"][(first + np.arange(count)) % hot == 0] = 1
    rows["amount_lo"] = rng.integers(1, 1_000_000, count)
    rows["ledger"], rows["code"] = 1, rng.integers(1, 50, count)
    rows["user_data_64"] = rng.integers(1, 100_000, count) if hot else 0
    return rows


def _require_created(results: Rows) -> None:
    if not (results["status"] == CREATED).all():
        raise RuntimeError("a command of the bench was refused: its figure would say nothing")


def _projector(entries: int, runs: int, place: Path, say: Say, url: str) -> Result:
    """The projector from entry 0 to the end."""
    data = place / "ledger"
    say(f"filling: {entries:,} transfers between {ACCOUNTS:,} accounts")
    fill(data, entries, say)
    told: list[Followed] = []
    for number in range(runs):
        say(f"run {number + 1} of {runs}")
        target = _Target(data, place / f"run-{number}", number, url)
        told.append(_child(target))
        faults = difference(data, target.kept())
        if faults:
            raise Unavailable(f"the projection of run {number + 1} is wrong: {faults}")
    say(f"killing it {KILLS} times on its way")
    target = _Target(data, place / "killed", runs, url)
    for kill in range(KILLS):
        _killed(target, (kill + 1) * 0.2 * median(each.wall_s for each in told))
    _child(target)
    rate = median(each.entries / each.wall_s for each in told)
    reference = median(each.entries / each.read_s for each in told)
    return Result(
        case="projector",
        rate=rate,
        unit="entries",
        cpu_us=median(each.cpu_s / each.entries * 1e6 for each in told),
        reference="the same blocks read and verified",
        reference_rate=reference,
        ratio=ratio(rate, reference),
        extra={
            "runs": runs,
            "entries": told[0].entries,
            "cpu_rate": round(median(each.entries / each.cpu_s for each in told)),
            **({"file_bytes_an_entry": _bytes_an_entry(place / "run-0", told[0].entries)} if url == FILES else {}),
            "kills": KILLS,
            "difference": difference(data, target.kept()),
        },
    )


CASES: dict[str, Callable[[int, int, Path, Say, str], Result]] = {"projector": _projector}
"""By follower: (entries, runs, an empty folder, say, `files` or a database) → its result."""


def _bytes_an_entry(target: Path, entries: int) -> float:
    return round((target / FILE_NAME).stat().st_size / entries, 1)


@contextmanager
def own_place(services: str) -> Iterator[str]:
    """`files`, or the URL of a database that is dropped afterwards."""
    if services == FILES:
        yield FILES
        return
    from tallystick.lab.on_postgresql import database

    with database(services, tables=False) as url:
        yield url


class _Target(msgspec.Struct, frozen=True):
    """What a following process is told."""

    data: Path
    folder: Path
    shard: int
    """In a database each run has tables of its own."""
    url: str

    def kept(self) -> Kept | KeptInPostgres:
        """Where it puts what it makes."""
        if self.url == FILES:
            return Kept(self.folder)
        return KeptInPostgres(self.folder, self.url, self.shard, "")


_COMMAND = (sys.executable, "-m", "tallystick.lab.bench_follow")


def _told(target: _Target) -> bytes:
    """Read on standard input: everybody may read the process list, and a URL may hold a password."""
    return msgspec.json.encode(target, enc_hook=str)


def _child(target: _Target) -> Followed:
    done = subprocess.run(_COMMAND, input=_told(target), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Unavailable(f"the following process ended with code {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Followed)


def _killed(target: _Target, after_s: float) -> None:
    child = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        child.communicate(_told(target), after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()


def difference(data: Path, kept: Kept | KeptInPostgres) -> str | None:
    """What the projection lacks, or has twice, of the transfers that the journal says were made; None: nothing.

    By count and by the sum of all amounts, and by the accounts' own numbers of lines.
    """
    made, moved = 0, 0
    for entries in _entries(data):
        rows = entries[(entries["kind"] == Kind.TRANSFER) & (entries["status"] == STORED_MASK)].view(TRANSFER_WORK)
        made += len(rows)
        moved += int(rows["moved_lo"].sum())
    with closing(kept.reader(_clock)) as tables, tables.at_one_moment():
        [found] = tables.execute("SELECT count(*) FROM transfers").fetchone()
        [lines, accounts] = tables.execute("SELECT sum(lines), count(*) FROM accounts").fetchone()
        sums = [int.from_bytes(total, "big") for (total,) in tables.execute("SELECT debits_posted FROM totals")]
    for what, has, wanted in (
        ("transfers", found, made),
        ("minor units debited", sum(sums), moved),
        ("lines", lines, accounts + 2 * made),
    ):
        if has != wanted:
            return f"{has:,} {what}, the journal says {wanted:,}"
    return None


def _entries(data: Path) -> Iterator[Rows]:
    reader = FileJournalReader(data / "journal", SystemDisk())
    try:
        for block in reader.read(0):
            yield block.entries
    finally:
        reader.close()


def _main(target: _Target) -> None:
    """Follow on one core, from wherever the tables are to the journal's end, and say what it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    target.folder.mkdir(exist_ok=True)
    journal = FileJournalReader(target.data / "journal", SystemDisk())
    started = _clock.monotonic_ns()
    for _ in slices(journal, Cursor()):
        pass
    read_s = (_clock.monotonic_ns() - started) / 1e9
    wall, cpu = _clock.monotonic_ns(), _clock.cpu_ns()
    projection = Projection(target.kept().writer(SystemDisk(), lambda said: None), journal)
    first = projection.next_seq
    follower = Follower(journal, projection, _clock, COMMITTED_AT_ONCE)
    while not follower.step():
        pass
    projection.close()
    wall, cpu = _clock.monotonic_ns() - wall, _clock.cpu_ns() - cpu
    told = Followed(follower.progress().next_seq - first, wall / 1e9, cpu / 1e9, read_s)
    sys.stdout.write(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    _main(msgspec.json.decode(sys.stdin.buffer.read(), type=_Target, dec_hook=lambda kind, value: kind(value)))
