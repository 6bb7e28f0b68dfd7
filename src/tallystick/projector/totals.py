"""Sums over all accounts of a ledger with one code, kept while entries are applied: what a trial balance is made of.

In a batch there are few such groups and many movements, so the changes are summed with NumPy, group by group, and only
the sums become Python numbers. A sum of balances may pass 2^128, so it is kept in 24 bytes.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.projector import columns
from tallystick.projector.port import Tables
from tallystick.projector.standing import BALANCES, LIMBS, Limbs, Slots

SUM_BYTES = 24
Group = tuple[int, int, int]
"""Tenant, as the tables keep it; ledger; code of the account."""


@dataclass
class Totals:
    """The groups that were met, each under a number."""

    numbers: dict[Group, int] = field(default_factory=dict)
    _accounts: list[int] = field(default_factory=list)
    _sums: list[list[int]] = field(default_factory=list)
    _changed: set[int] = field(default_factory=set)

    def forget(self) -> None:
        """Remember nothing: for a batch that failed."""
        for each in (self.numbers, self._accounts, self._sums, self._changed):
            each.clear()

    def number(self, tables: Tables, group: Group) -> int:
        """The group's number here."""
        found = self.numbers.get(group)
        if found is None:
            row = tables.execute(_READ, group).fetchone() or (0, *(bytes(SUM_BYTES),) * BALANCES)
            found = self.numbers[group] = len(self._accounts)
            self._accounts.append(row[0])
            self._sums.append([int.from_bytes(each, "big") for each in row[1:]])
        return found

    def opened(self, number: int) -> None:
        """One more account in a group."""
        self._accounts[number] += 1
        self._changed.add(number)

    def move(self, numbers: Slots, changes: Limbs) -> None:
        """Add `changes` (a column of signed limbs for each of `numbers`) up. Raises `Corrupt` for a sum below zero."""
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sums = np.add.reduceat(changes[:, order], first, axis=1)
        for at, number in enumerate(ordered[first].tolist()):
            kept = self._sums[number]
            for balance in range(BALANCES):
                kept[balance] += _whole(sums[balance * LIMBS : (balance + 1) * LIMBS, at])
                if kept[balance] < 0:
                    raise Corrupt("the sum of a ledger's balances falls below zero: entries are missing or wrong")
            self._changed.add(number)

    def write(self, tables: Tables) -> None:
        """Store the groups that changed."""
        rows = []
        for group, number in self.numbers.items():
            if number in self._changed:
                sums = [each.to_bytes(SUM_BYTES, "big") for each in self._sums[number]]
                rows.append((*group, self._accounts[number], *sums))
        for row in rows:
            tables.execute(_WRITE, row)
        self._changed.clear()


def _whole(limbs: npt.NDArray[np.int64]) -> int:
    return sum(limb << 32 * place for place, limb in enumerate(limbs.tolist()))


def group(tenant: int, ledger: int, code: int) -> Group:
    """The group of an account."""
    return columns.to_signed(tenant), ledger, code


_READ = (
    "SELECT accounts, debits_pending, debits_posted, credits_pending, credits_posted FROM totals "
    "WHERE tenant = ? AND ledger = ? AND code = ?"
)
_WRITE = (
    "INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, ledger, code) DO UPDATE SET "
    "accounts = excluded.accounts, debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted, "
    "credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted"
)
