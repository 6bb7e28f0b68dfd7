"""A placement: the entry that says which shard a tenant lives in (ADR 0016, docs/shards.md).

Each shard has those that concern it, and decides nothing for a tenant that they say is elsewhere. Those of shard 0,
which has all of them, are the directory of tenants. An entry of this kind is no command: it has the event of a control
record, whose `value` is the home as one number, and a zero request id.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.records.commands import Kind
from tallystick.records.details import DETAILS
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import CONTROL_WORK, LENGTH_BYTESWAPPED, VERSION, WORK
from tallystick.statuses import STORED_MASK

SHARD_MAX = 65_535


class Home(NamedTuple):
    """Where a tenant lives."""

    shard: int
    moving: bool = False
    """It is on its way to another shard, and until it is there nothing is decided for it."""

    @property
    def number(self) -> int:
        """As an entry and the books have it; never 0, which stands for "nobody said"."""
        return (self.shard + 1) << 1 | self.moving


def home(number: int) -> Home | None:
    """The home that a number stands for; None for 0."""
    return Home((number >> 1) - 1, bool(number & 1)) if number else None


def placement(tenant: int, where: Home, shard: int, seq: int, now: int) -> npt.NDArray[np.void]:
    """The one entry (`WORK`, writable) that says so, in the journal of `shard` at `seq`, decided at `now` (ns)."""
    rows = np.zeros(1, WORK)
    rows["length"], rows["kind"], rows["version"] = LENGTH_BYTESWAPPED, Kind.PLACEMENT, VERSION
    rows["shard"], rows["status"], rows["seq"], rows["timestamp"] = shard, STORED_MASK, seq, now
    rows["tenant"], rows["submitted_at"] = tenant, now
    rows.view(CONTROL_WORK)["value_lo"] = where.number
    return rows


def no_details(count: int) -> npt.NDArray[np.void]:
    """Details of entries that move nothing and belong to no request."""
    rows = np.zeros(count, DETAILS)
    rows["version"] = DETAILS_VERSION
    return rows


def placed(entries: npt.NDArray[np.void]) -> dict[int, Home]:
    """By tenant what the placements among these entries (`WORK`) say; the last one stands."""
    rows = entries[entries["kind"] == Kind.PLACEMENT].view(CONTROL_WORK)
    said = zip(rows["tenant"].tolist(), rows["value_lo"].tolist(), strict=True)
    return {tenant: where for tenant, number in said if (where := home(number)) is not None}
