"""How accounts stand while entries are applied: their balances and flags, kept between blocks for accounts in use.

Balances are summed for a whole batch at once: each side of each movement is a row of changes, rows are ordered by
account, and a running sum gives the balances after every one of them. A u128 is four 32-bit limbs in signed 64-bit
numbers, so that sums of 2^31 rows cannot overflow; a carry out of the highest limb is a balance below zero or past
2^128 − 1, which no journal of ours holds.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.projector import columns

ACCOUNTS_KEPT = 131_072
"""Accounts remembered from batch to batch, about 400 bytes each; beyond that all are forgotten, and read again."""
BALANCES = 4
LIMBS = 4
WIDTH = BALANCES * LIMBS
DEBITS_PENDING, DEBITS_POSTED, CREDITS_PENDING, CREDITS_POSTED = (
    slice(at * LIMBS, (at + 1) * LIMBS) for at in range(BALANCES)
)
"""Where each balance stands in a row of limbs."""
_LIMB = np.int64(0xFFFFFFFF)
_BITS = np.int64(32)

Limbs = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int64]


def limbs(lo: npt.NDArray[np.uint64], hi: npt.NDArray[np.uint64]) -> Limbs:
    """Each u128 as a row of four limbs, the lowest first."""
    both = np.empty((len(lo), 2), "<u8")
    both[:, 0], both[:, 1] = lo, hi
    return both.view("<u4").astype(np.int64)


def kept(rows: Limbs) -> list[bytes]:
    """Rows of limbs as blobs of 16 bytes a balance."""
    numbers = rows.reshape(len(rows), -1, LIMBS)[:, :, ::-1].astype(">u4")
    return columns.pieces(numbers, numbers.shape[1] * 16)


@dataclass
class Standing:
    """Accounts in use, each in a slot."""

    slots: dict[bytes, int] = field(default_factory=dict)
    """By tenant and id, 24 bytes as entries hold them."""
    seqs: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    flags: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    balances: Limbs = field(default_factory=lambda: np.zeros((1024, WIDTH), np.int64))

    def forget(self) -> None:
        """Remember nothing: for a batch that failed, and when there are too many."""
        self.slots.clear()

    def add(self, key: bytes, seq: int, flags: int) -> None:
        """An account just opened, without balances."""
        slot = self._slot(key, seq, flags)  # which may replace the array of balances
        self.balances[slot] = 0

    def find(self, connection: sqlite3.Connection, keys: list[bytes]) -> Slots:
        """The slots of these accounts. Raises `Corrupt` for one that was never opened."""
        self._read(connection, set(keys) - self.slots.keys())
        return np.fromiter(map(self.slots.__getitem__, keys), np.int64, len(keys))

    def _read(self, connection: sqlite3.Connection, keys: Iterable[bytes]) -> None:
        for key in sorted(keys):
            tenant, number = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
            row = connection.execute(_ACCOUNT, (columns.to_signed(tenant), columns.blob(number))).fetchone()
            if row is None:
                raise Corrupt(f"account {number} of tenant {tenant} moves money, but no entry opened it")
            slot = self._slot(key, row[0], row[1])
            self.balances[slot] = np.frombuffer(b"".join(row[2:]), ">u4").reshape(BALANCES, LIMBS)[:, ::-1].reshape(-1)

    def _slot(self, key: bytes, seq: int, flags: int) -> int:
        slot = len(self.slots)
        if slot == len(self.seqs):
            for name in ("seqs", "flags", "balances"):
                rows = getattr(self, name)
                setattr(self, name, np.concatenate([rows, np.zeros_like(rows)]))
        self.slots[key] = slot
        self.seqs[slot], self.flags[slot] = seq, flags
        return slot

    def move(self, slots: Slots, changes: Limbs) -> Limbs:
        """Add `changes` (signed limbs) to the accounts in `slots`, one after the other; the balances after each.

        Raises `Corrupt` where one leaves what a u128 can hold.
        """
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(slots) else np.zeros(0, np.int64)
        counts = np.diff(np.r_[first, len(slots)])
        sums = changes[order].cumsum(axis=0)
        before = self.balances[ordered[first]] - sums[first] + changes[order[first]]
        sums += np.repeat(before, counts, axis=0)
        _carry(sums)
        after = np.empty_like(sums)
        after[order] = sums
        last = first + counts - 1
        self.balances[ordered[last]] = sums[last]
        return after

    def write(self, connection: sqlite3.Connection, slots: Slots) -> None:
        """Store how these accounts stand, each once."""
        used = np.unique(slots)
        used = used[np.argsort(self.seqs[used])]  # neighbours in the file one after the other
        numbers = [kept(self.balances[used, at * LIMBS : (at + 1) * LIMBS]) for at in range(BALANCES)]
        connection.executemany(_STORE, zip(*numbers, self.flags[used].tolist(), self.seqs[used].tolist(), strict=True))
        if len(self.slots) > ACCOUNTS_KEPT:
            self.forget()


def _carry(sums: Limbs) -> None:
    for balance in range(BALANCES):
        for limb in range(balance * LIMBS, (balance + 1) * LIMBS):
            carry = sums[:, limb] >> _BITS  # rounds down, so a borrow is a carry of −1
            sums[:, limb] &= _LIMB
            if limb % LIMBS < LIMBS - 1:
                sums[:, limb + 1] += carry
            elif carry.any():
                raise Corrupt("a balance falls below zero or passes 2^128 - 1: entries are missing, doubled or wrong")


_ACCOUNT = (
    "SELECT seq, flags, debits_pending, debits_posted, credits_pending, credits_posted FROM accounts "
    "INDEXED BY accounts_by_id WHERE tenant = ? AND id = ?"
)
_STORE = (
    "UPDATE accounts SET debits_pending = ?, debits_posted = ?, credits_pending = ?, credits_posted = ?, flags = ? "
    "WHERE seq = ?"
)
