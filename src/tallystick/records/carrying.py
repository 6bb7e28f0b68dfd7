"""A tenant's entries on their way to another shard: chosen, numbered anew, cut into blocks (ADR 0016).

The old shard's entries stay as they are, for ever. The new shard gets a copy of each, refused ones too, since what is
remembered of a request or an id is its entry. A copy keeps what was asked and decided, and when; its place is new, so
are its nonce and the positions in its details, and `submitted_at` tells its place in time (`engine.placing.carry`). A
journal's readers know a copy by its version (`CARRIED`).

What a copy refers to may stand in the very block that is being made, whose place nobody knows before the engine takes
it in: such a position is told as its offset there, with the highest bit set.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.records.commands import COMMANDS_MAX, Kind
from tallystick.records.details import NO_POSITION
from tallystick.records.entries import CARRIED
from tallystick.statuses import STORED_MASK, AccountStatus, TransferStatus

KINDS = (Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL, Kind.EXPIRY)
HERE = np.uint64(1 << 63)
"""Of a position: it counts from the first entry of the block that it stands in."""
Rows = npt.NDArray[np.void]


class Numbering:
    """Where the entries that were carried stand in both journals."""

    def __init__(self) -> None:
        self.count = 0
        self._places = np.empty((2, COMMANDS_MAX), "<u8")

    def note(self, old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> None:
        """These come next."""
        end = self.count + len(old)
        if end > self._places.shape[1]:
            larger = np.empty((2, 2 * end), "<u8")
            larger[:, : self.count] = self._places[:, : self.count]
            self._places = larger
        self._places[0, self.count : end], self._places[1, self.count : end] = old, new
        self.count = end

    def of(self, positions: npt.NDArray[np.uint64], block: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """What positions in the old journal are in the new one; `block` are those of the entries at hand.

        Raises `Corrupt` for one that was not carried.
        """
        found = np.empty(len(positions), "<u8")
        known = np.zeros(len(positions), bool)
        new = np.arange(len(block), dtype="<u8") | HERE
        for places in (self._places[:, : self.count], np.stack([block, new])):
            if places.shape[1]:
                at = np.minimum(np.searchsorted(places[0], positions), places.shape[1] - 1)
                same = places[0][at] == positions
                found[same] = places[1][at[same]]
                known |= same
        if not known.all():
            raise Corrupt(f"entry {int(positions[~known][0])} is another tenant's, or was not carried")
        return found


def of_tenant(entries: Rows, tenant: int) -> npt.NDArray[np.bool_]:
    """Which entries (`WORK`) of a block go with a tenant."""
    chosen: npt.NDArray[np.bool_] = (entries["tenant"] == tenant) & np.isin(entries["kind"], KINDS)
    return chosen


def blocks(entries: Rows, details: Rows) -> Iterator[tuple[Rows, Rows]]:
    """The same, cut so that each piece fits a block and no request is cut."""
    starts = np.flatnonzero((entries["index"] == 0) | (entries["kind"] == Kind.EXPIRY))
    at = 0
    while at < len(entries):
        end = len(entries)
        if end - at > COMMANDS_MAX:
            end = int(starts[np.searchsorted(starts, at + COMMANDS_MAX, "right") - 1])
        yield entries[at:end], details[at:end]
        at = end


def numbered(entries: Rows, details: Rows, numbering: Numbering) -> tuple[Rows, Rows]:
    """Copies of these entries (`WORK`) and details as they are to be carried. Raises `Corrupt`."""
    block = entries["seq"].copy()
    entries, details = entries.copy(), details.copy()
    entries["version"] = CARRIED
    for side in ("debit", "credit"):
        name = f"{side}_previous"
        says = (details[f"{side}_sequence"] != 0) | (details[name] != 0)
        if side == "debit":
            says |= _repeats(entries)
        says &= details[name] != NO_POSITION
        details[name][says] = numbering.of(details[name][says], block)
    about = _resolves(entries) & (details["pending_seq"] != 0)
    details["pending_seq"][about] = numbering.of(details["pending_seq"][about], block)
    return entries, details


def placed_at(details: Rows, first: int) -> None:
    """Make of offsets in the block, which begins at `first`, positions."""
    for name in ("debit_previous", "credit_previous", "pending_seq"):
        positions = details[name]
        here = (positions & HERE != 0) & (positions != NO_POSITION)
        details[name][here] = (positions[here] & ~HERE) + np.uint64(first)


def _repeats(entries: Rows) -> npt.NDArray[np.bool_]:
    """Those that found what they ask for to exist, whose details say where: perhaps at 0."""
    found: npt.NDArray[np.bool_] = (
        (entries["kind"] == Kind.TRANSFER) & (entries["status"] == int(TransferStatus.EXISTS))
    ) | ((entries["kind"] == Kind.ACCOUNT) & (entries["status"] == int(AccountStatus.EXISTS)))
    return found


def _resolves(entries: Rows) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (entries["status"] == STORED_MASK) | (entries["kind"] == Kind.EXPIRY)
    return found
