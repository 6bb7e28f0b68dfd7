"""How accounts stand while entries are applied: their balances and flags, kept between blocks for accounts in use.

Balances are summed for a whole batch at once: the sides of its movements are ordered by account, and a running sum
gives the balances after every one of them. A u128 is four 32-bit limbs in signed 64-bit numbers, a row for each limb
and a column for each side, so that sums of 2^31 of them cannot overflow; a carry out of the highest limb is a balance
below zero or past 2^128 − 1, which no journal of ours holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.projector import columns
from tallystick.projector.port import WritableTables

ACCOUNTS_KEPT = 131_072
"""Accounts remembered from batch to batch, about 400 bytes each; beyond that all are forgotten, and read again."""
BALANCES = 4
LIMBS = 4
WIDTH = BALANCES * LIMBS
DEBITS_PENDING, DEBITS_POSTED, CREDITS_PENDING, CREDITS_POSTED = (
    slice(at * LIMBS, (at + 1) * LIMBS) for at in range(BALANCES)
)
"""Where each balance stands among the rows of limbs."""
_LIMB = np.int64(0xFFFFFFFF)
_BITS = np.int64(32)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

Limbs = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int64]


def limbs(lo: npt.NDArray[np.uint64], hi: npt.NDArray[np.uint64]) -> Limbs:
    """Each u128 as a column of four limbs, the lowest first."""
    return np.stack([lo & _LOW, lo >> _HALF, hi & _LOW, hi >> _HALF]).astype(np.int64)


def kept(columns_of_limbs: Limbs, size: int = 16) -> list[bytes]:
    """Columns of limbs, four rows a balance, as blobs of 16 bytes a balance, cut into pieces of `size`."""
    count = len(columns_of_limbs)
    numbers = np.zeros((columns_of_limbs.shape[1], count), ">u4")
    for row, values in enumerate(columns_of_limbs):
        if values.any():
            numbers[:, row ^ (LIMBS - 1)] = values  # the highest limb of a balance comes first
    return columns.pieces(numbers, size)


@dataclass
class Standing:
    """Accounts in use, each in a slot."""

    slots: dict[bytes, int] = field(default_factory=dict)
    """By tenant and id, 24 bytes as entries hold them."""
    seqs: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    flags: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    lines: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    """How many entries concern each, and so the number of the last of them."""
    kinds: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 1024), np.int64))
    """Ledger and code of each."""
    balances: Limbs = field(default_factory=lambda: np.zeros((WIDTH, 1024), np.int64))

    def forget(self) -> None:
        """Remember nothing: for a batch that failed, and when there are too many."""
        self.slots.clear()

    def add(self, key: bytes, seq: int, flags: int, ledger: int, code: int) -> None:
        """An account just opened, without balances."""
        slot = self._slot(key, seq, flags, 1, ledger, code)  # which may replace the array of balances
        self.balances[:, slot] = 0

    def find(self, tables: WritableTables, keys: list[bytes]) -> Slots:
        """The slots of these accounts. Raises `Corrupt` for one that was never opened."""
        found = list(map(self.slots.get, keys))
        if None in found:
            self._read(tables, {key for key, slot in zip(keys, found, strict=True) if slot is None})
            found = list(map(self.slots.get, keys))
        return np.array(found, np.int64)

    def _read(self, tables: WritableTables, keys: Iterable[bytes]) -> None:
        wanted = sorted(keys)
        ids = [(int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")) for key in wanted]
        found = tables.find("accounts", _ACCOUNT, [(columns.to_signed(each), columns.blob(id)) for each, id in ids])
        for key, (tenant, number), row in zip(wanted, ids, found, strict=True):
            if row is None:
                raise Corrupt(f"account {number} of tenant {tenant} moves money, but no entry opened it")
            slot = self._slot(key, *row[:5])
            numbers = np.frombuffer(b"".join(row[5:]), ">u4").reshape(BALANCES, LIMBS)
            self.balances[:, slot] = numbers[:, ::-1].reshape(-1)

    def _slot(self, key: bytes, seq: int, flags: int, lines: int, ledger: int, code: int) -> int:
        slot = len(self.slots)
        if slot == len(self.seqs):
            for name in ("seqs", "flags", "lines", "kinds", "balances"):
                rows = getattr(self, name)
                setattr(self, name, np.concatenate([rows, np.zeros_like(rows)], axis=-1))
        self.slots[key] = slot
        self.seqs[slot], self.flags[slot], self.lines[slot] = seq, flags, lines
        self.kinds[:, slot] = ledger, code
        return slot

    def number(self, slots: Slots, seqs: Slots, sequences: Slots) -> Slots:
        """Count these entries as lines of the accounts in `slots`. Returns each account's slot once.

        Raises `Corrupt` unless each account's sequences go on where the last one was, without a gap: a line that is
        left out anywhere shows in the next one.
        """
        order = np.lexsort((seqs, slots))
        ordered, numbers = slots[order], sequences[order]
        begins = np.r_[True, ordered[1:] != ordered[:-1]]
        first = np.flatnonzero(begins)
        rank = np.arange(len(order)) - first[begins.cumsum() - 1]
        wrong = np.flatnonzero(numbers != self.lines[ordered] + 1 + rank)
        if len(wrong):
            at = wrong[0]
            raise Corrupt(
                f"entry {seqs[order[at]]} is line {numbers[at]} of an account of which "
                f"{self.lines[ordered[at]] + rank[at]} were read"
            )
        last = np.r_[first[1:], len(order)] - 1
        self.lines[ordered[first]] = numbers[last]
        return ordered[first]

    def move(self, slots: Slots, changes: Limbs) -> tuple[Limbs, Slots]:
        """Add `changes` (a column of signed limbs for each) to the accounts in `slots`, one after the other.

        Returns the balances after each, and each account's slot once. Raises `Corrupt` where a balance leaves what a
        u128 can hold.
        """
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        begins = np.r_[True, ordered[1:] != ordered[:-1]]
        first = np.flatnonzero(begins)
        account = begins.cumsum() - 1
        last = np.r_[first[1:], len(order)] - 1
        used = ordered[first]
        after = np.zeros_like(changes)
        carry: Limbs | None = None
        for row in range(WIDTH):
            before, change = self.balances[row, used], changes[row]
            moves = bool(change.any())
            if moves or carry is not None or before.any():  # the high limbs are zero, as a rule
                sums = before[account]
                if moves:
                    ordered_change = change[order]
                    running = ordered_change.cumsum()
                    sums += running - (running[first] - ordered_change[first])[account]
                if carry is not None:
                    sums += carry
                carry = sums >> _BITS  # rounds down, so a borrow is a carry of −1
                if not carry.any():
                    carry = None
                sums &= _LIMB
                after[row, order] = sums
                self.balances[row, used] = sums[last]
            if carry is not None and row % LIMBS == LIMBS - 1:
                raise Corrupt("a balance falls below zero or passes 2^128 - 1: entries are missing, doubled or wrong")
        return after, used

    def write(self, tables: WritableTables, used: Slots) -> None:
        """Store how these accounts stand, each named once."""
        used = used[np.argsort(self.seqs[used])]  # neighbours in the file one after the other
        numbers = [kept(self.balances[at * LIMBS : (at + 1) * LIMBS, used]) for at in range(BALANCES)]
        tables.update(
            "accounts",
            _STORED,
            zip(
                *numbers,
                self.flags[used].tolist(),
                self.lines[used].tolist(),
                self.seqs[used].tolist(),
                strict=True,
            ),
        )
        if len(self.slots) > ACCOUNTS_KEPT:
            self.forget()


_ACCOUNT = "seq, flags, lines, ledger, code, debits_pending, debits_posted, credits_pending, credits_posted"
_STORED = ("debits_pending", "debits_posted", "credits_pending", "credits_posted", "flags", "lines")
