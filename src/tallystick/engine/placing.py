"""Entries that a shard takes in without deciding them, in blocks of their own: placements of tenants, and what a tenant
brings along from another shard (ADR 0016).
"""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Draft
from tallystick.engine.homes import let_expire
from tallystick.engine.recovery import apply_rows
from tallystick.errors import Invalid
from tallystick.ledger.batches import Outcome
from tallystick.ledger.books import Counter
from tallystick.ledger.compiled import records
from tallystick.records.carrying import of_tenant, placed_at
from tallystick.records.commands import COMMANDS_MAX
from tallystick.records.details import DETAILS
from tallystick.records.endings import Ending
from tallystick.records.entries import CARRIED, ENTRY_SIZE, TRANSFER_WORK, WORK
from tallystick.records.placements import Home, no_details, placed, placement
from tallystick.records.results import RESULT


def place(decider: Decider, tenant: int, where: Home, now: int) -> Draft | None:
    """Take in that a tenant lives somewhere, at `now` (ns); None if that is what is known already.

    Raises `Invalid` for a tenant that has accounts here and is to live elsewhere without having been moved.
    """
    homes = decider.homes
    before = homes.known.get(tenant)
    if before == where:
        return None
    leaves = homes.here(tenant) and where.shard != homes.shard
    if leaves and has_accounts(decider, tenant):
        raise Invalid("tenant", f"{tenant} has accounts in shard {homes.shard}; `tally shard move` takes them along")
    return adopt(decider, placement(tenant, where, decider.shard, decider.next_seq, now), no_details(1))


def carry(decider: Decider, tenant: int, entries: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> Draft:
    """Take in entries (`WORK`, writable) of a tenant that is on its way here, as `records.carrying` numbers them.

    Raises `Invalid` if it is not, or for what cannot be such entries.
    """
    here = decider.homes.known.get(tenant)
    if here is None or not here.moving or here.shard == decider.shard:
        raise Invalid("tenant", f"{tenant} is not on its way to shard {decider.shard}")
    chosen = of_tenant(entries, tenant) & (entries["version"] == CARRIED)
    if not 0 < len(entries) <= COMMANDS_MAX or len(details) != len(entries) or not chosen.all():
        raise Invalid("entries", f"must be 1 to {COMMANDS_MAX} that were carried, all of tenant {tenant}")
    entries["seq"] = decider.next_seq + np.arange(len(entries))
    entries["shard"] = decider.shard
    # Their timestamps do not tell where they stand: who searches by time goes by this (`engine.fetch`).
    entries["submitted_at"] = decider.last_timestamp
    placed_at(details, decider.next_seq)
    return adopt(decider, entries, details)


class Standing(NamedTuple):
    """How a tenant stands in a shard's books."""

    home: Home | None
    accounts: int
    digest: bytes
    """SHA-256 of its accounts, its open pending transfers and the times that imports must pass, without what only tells
    where they stand in the journal."""


def standing(decider: Decider, tenant: int) -> Standing:
    """How a tenant stands here, whether it lives here or not."""
    books = decider.bookkeeper.books
    accounts = books.rows.view(np.ndarray)[: decider.bookkeeper.count()]
    accounts = accounts[accounts["tenant"] == tenant]
    accounts = accounts[np.lexsort((accounts["id_lo"], accounts["id_hi"]))]
    for name in ("previous", "created_seq", "touched"):
        accounts[name] = 0
    pendings = books.pendings.view(np.ndarray)[: int(books.counters[Counter.PENDINGS])]
    pendings = pendings[(pendings["tenant"] == tenant) & (pendings["ending"] == Ending.OPEN)]
    pendings = pendings[np.lexsort((pendings["id_lo"], pendings["id_hi"]))]
    for name in ("seq", "debit_row", "credit_row"):
        pendings[name] = 0
    times = books.tenants.view(np.ndarray)[: int(books.counters[Counter.TENANTS])]
    times = times[["last_account", "last_transfer"]][times["tenant"] == tenant]
    passed = b"".join(times[name].tobytes() for name in ("last_account", "last_transfer"))
    digest = hashlib.sha256(accounts.tobytes() + pendings.tobytes() + passed).digest()
    return Standing(decider.homes.known.get(tenant), len(accounts), digest)


def has_accounts(decider: Decider, tenant: int) -> bool:
    """Whether the tenant has ever opened an account here, or brought one."""
    books = decider.bookkeeper.books
    rows = books.tenants.view(np.ndarray)[: int(books.counters[Counter.TENANTS])]
    return bool((rows["last_account"][rows["tenant"] == tenant] != 0).any())


def adopt(decider: Decider, entries: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> Draft:
    """Take these entries (`WORK`) in as a block of their own: repeated on the books as a start would, not decided.

    They bear the seqs from `next_seq` on. Raises `Corrupt` if they do not fit the books, which have changed then: the
    process must end.
    """
    count = len(entries)
    memory = np.zeros((count + 1) * ENTRY_SIZE, np.uint8)
    memory[: count * ENTRY_SIZE] = np.ascontiguousarray(entries).view(np.uint8)
    all_details = np.zeros(count + 1, DETAILS)
    all_details[:count] = details
    apply_rows(decider, memory[: count * ENTRY_SIZE], records(all_details[:count].copy()), 0)
    rows = decider.bookkeeper.books.changed[:count].copy()
    draft = Draft(
        Outcome(
            records(memory.view(WORK)),
            records(memory.view(TRANSFER_WORK)),
            records(all_details),
            records(np.empty(0, RESULT)),
            rows,
        ),
        decider.next_seq,
        dict(decider.positions),
        [],
    )
    decider.fetcher.remember(draft)
    decider.next_seq = draft.next_seq
    decider.homes.known.update(placed(entries))
    if has_accounts(decider, int(entries["tenant"][0])):
        let_expire(decider.bookkeeper, decider.homes)
    if decider.decided is not None:
        decider.decided(draft)
    return draft
