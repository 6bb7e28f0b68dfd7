"""Which tenants this shard decides for (ADR 0016).

A shard says no to a tenant that its own journal says is elsewhere, whatever a gateway may think. So a request that
waited in a lane while its tenant was moved is not decided here; it makes no entry, and is decided where the tenant is
when it comes again.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.ledger.books import Bookkeeper, Counter
from tallystick.records.endings import Ending
from tallystick.records.placements import Home, home


@dataclass
class Homes:
    """Where tenants live, as far as this shard was told."""

    shard: int = 0
    known: dict[int, Home] = field(default_factory=dict)
    """By tenant; changed by `engine.placing` only."""

    def here(self, tenant: int) -> bool:
        """Whether this shard decides for the tenant.

        One of whom nobody said anything lives in shard 0, so a platform that grows needs to tell nothing of those it
        has. A shard that was told of no tenant at all is a platform of its own, and decides for all.
        """
        if not self.known:
            return True
        where = self.known.get(tenant)
        if where is None:
            return self.shard == 0
        return where.shard == self.shard and not where.moving

    def elsewhere(self, tenants: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_] | None:
        """Which of these requests, by their tenants, are not for this shard; None if all are."""
        if not self.known or not len(tenants):
            return None
        different, which = np.unique(tenants, return_inverse=True)
        away = np.array([not self.here(tenant) for tenant in different.tolist()], bool)
        return away[which.reshape(-1)] if away.any() else None


def homes_of(bookkeeper: Bookkeeper, shard: int) -> Homes:
    """Those that the books of `shard` tell of."""
    books = bookkeeper.books
    rows = books.tenants.view(np.ndarray)[: int(books.counters[Counter.TENANTS])]
    rows = rows[rows["home"] != 0]
    said = zip(rows["tenant"].tolist(), rows["home"].tolist(), strict=True)
    return Homes(shard, {tenant: where for tenant, number in said if (where := home(number)) is not None})


def let_expire(bookkeeper: Bookkeeper, homes: Homes) -> None:
    """Make the heap of what expires anew: open pending transfers with a time-out, of tenants that live here.

    Those of others expire in the shard where the tenant is, or once it is there. A sorted array is a heap.
    """
    books = bookkeeper.books
    pendings = books.pendings.view(np.ndarray)[: int(books.counters[Counter.PENDINGS])]
    rows = np.flatnonzero((pendings["ending"] == Ending.OPEN) & (pendings["expires_at"] != 0))
    away = homes.elsewhere(pendings["tenant"][rows])
    if away is not None:
        rows = rows[~away]
    expires_at, created_at = pendings["expires_at"][rows], pendings["created_at"][rows]
    order = np.lexsort((created_at, expires_at))
    count = len(rows)
    books.heap[:count, 0], books.heap[:count, 1] = expires_at[order], created_at[order]
    books.heap[:count, 2] = rows[order]
    books.heap_at[: len(pendings)] = 0
    books.heap_at[rows[order]] = 1 + np.arange(count)
    books.counters[Counter.HEAP] = count
