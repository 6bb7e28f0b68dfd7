"""Entries that a shard takes in without deciding them, in blocks of their own: placements of tenants (ADR 0016)."""

import numpy as np
import numpy.typing as npt

from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Draft
from tallystick.engine.recovery import apply_rows
from tallystick.errors import Invalid
from tallystick.ledger.batches import Outcome
from tallystick.ledger.books import Counter
from tallystick.ledger.compiled import records
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY_SIZE, TRANSFER_WORK, WORK
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
    if decider.decided is not None:
        decider.decided(draft)
    return draft
