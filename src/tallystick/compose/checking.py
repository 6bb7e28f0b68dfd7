"""The books of all shards held against each other: `tally shard check`, and what `tally shard list` shows.

Everything is read out of the journals and the projections, beside engines that run: nothing that an engine remembers is
believed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.compose import directing, projecting, shards
from tallystick.compose.journals import FOLDER, Place
from tallystick.projector.port import Tables
from tallystick.records.commands import Kind
from tallystick.records.entries import CARRIED, WORK
from tallystick.records.placements import Home, placed
from tallystick.settings import Settings

Progress = Callable[[int, int], None]
"""Called with entries read and entries in all, of the journal at hand."""
SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@dataclass(frozen=True, slots=True)
class Listed:
    """One shard."""

    shard: int
    tenants: list[int]
    """Those placed in it; in shard 0 live all others, too."""
    entries: int
    journal_bytes: int | None
    """None where the journal is not in files."""


def listed(settings: Settings) -> list[Listed]:
    """All shards. Raises `Corrupt`, `Unavailable`."""
    homes = directing.homes(settings)
    found = []
    for each in shards.all_of(settings):
        place = Place.of(each)
        with closing(place.reader(SystemDisk())) as reader:
            end = reader.end()
        size = None if place.url else sum(file.stat().st_size for file in each.path(FOLDER).glob("*"))
        tenants = sorted(tenant for tenant, home in homes.items() if home.shard == each.shard)
        found.append(Listed(each.shard, tenants, end, size))
    return found


@dataclass
class Seen:
    """What a shard's journal says."""

    shard: int
    end: int = 0
    homes: dict[int, Home] = field(default_factory=dict)
    decided: Counter[int] = field(default_factory=Counter)
    """By tenant, entries that were decided here, and such that came along."""
    with_accounts: set[int] = field(default_factory=set)
    trespasses: list[str] = field(default_factory=list)

    def here(self, tenant: int) -> bool:
        """Whether the tenant lives here by this journal."""
        home = self.homes.get(tenant)
        return self.shard == 0 if home is None else home == Home(self.shard)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was gone through, and what is wrong with it."""

    entries: int
    tenants: int
    faults: list[str]
    notes: list[str]


def check(settings: Settings, progress: Progress) -> Checked:
    """Read all journals: each tenant lives in one shard, by all that is written; nothing was decided for it elsewhere;
    and debits equal credits in every ledger of every shard. Raises `Corrupt` if a journal is damaged, `Unavailable`.
    """
    directory = directing.homes(settings)
    every = shards.all_of(settings)
    seen = [_read(each, progress) for each in every]
    faults = [fault for each in seen for fault in each.trespasses]
    notes: list[str] = []
    tenants = sorted(set().union(*(each.with_accounts for each in seen), directory))
    for tenant in tenants:
        home = directory.get(tenant, Home(0))
        if home.moving:
            notes.append(f"tenant {tenant} is on its way from shard {home.shard}; `tally shard move` brings it there")
            continue
        holders = [each.shard for each in seen if tenant in each.with_accounts and each.here(tenant)]
        if holders not in ([], [home.shard]):
            faults.append(f"tenant {tenant} lives in shard {home.shard} by the directory, and in {holders} by journals")
        most = max(each.decided[tenant] for each in seen)
        if seen[home.shard].decided[tenant] < most:
            faults.append(f"tenant {tenant} has fewer entries in shard {home.shard}, where it lives, than elsewhere")
    for each in every:
        problem = _unbalanced(each, faults)
        if problem:
            notes.append(problem)
    return Checked(sum(each.end for each in seen), len(tenants), faults, notes)


def _read(settings: Settings, progress: Progress) -> Seen:
    found = Seen(settings.shard)
    with closing(Place.of(settings).reader(SystemDisk())) as reader:
        found.end = reader.end()
        for block in reader.read(0) if found.end else ():
            if block.header.first >= found.end:
                break
            entries = block.entries.view(WORK)
            _note(found, entries)
            progress(min(block.header.next, found.end), found.end)
    return found


def _note(found: Seen, entries: npt.NDArray[np.void]) -> None:
    kinds = entries["kind"]
    own = entries[(kinds != Kind.SEAL) & (kinds != Kind.PLACEMENT)]
    tenants, counts = np.unique(own["tenant"], return_counts=True)
    for tenant, count in zip(tenants.tolist(), counts.tolist(), strict=True):
        found.decided[tenant] += count
    found.with_accounts |= set(entries["tenant"][kinds == Kind.ACCOUNT].tolist())
    if found.homes:
        decided = own[own["version"] != CARRIED]
        for tenant in np.unique(decided["tenant"]).tolist():
            if not found.here(tenant):
                seq = int(decided["seq"][decided["tenant"] == tenant][0])
                found.trespasses.append(f"entry {seq} of shard {found.shard}: tenant {tenant} lived elsewhere by then")
    found.homes.update(placed(entries))


def _unbalanced(settings: Settings, faults: list[str]) -> str:
    """Add the ledgers whose sides differ; why that could not be looked at, if so."""
    kept = projecting.Kept.of(settings)
    if not kept.exists():
        return f"shard {settings.shard} has no projection (`tally up projector`): its sums were not looked at"
    sums: dict[tuple[int, str], int] = {}
    with closing(kept.reader(SystemClock())) as tables:
        for ledger, *amounts in _amounts(tables):
            for name, amount in zip(SUMS, amounts, strict=True):
                sums[ledger, name] = sums.get((ledger, name), 0) + amount
    for ledger in sorted({ledger for ledger, _ in sums}):
        for what in ("pending", "posted"):
            debits, credits = sums[ledger, f"debits_{what}"], sums[ledger, f"credits_{what}"]
            if debits != credits:
                faults.append(f"ledger {ledger} of shard {settings.shard}: {debits} debits {what}, {credits} credits")
    return ""


def _amounts(tables: Tables) -> Iterator[tuple[int, ...]]:
    for ledger, *amounts in tables.execute(f"SELECT ledger, {', '.join(SUMS)} FROM accounts"):
        yield int(ledger), *(int.from_bytes(amount, "big") for amount in amounts)
