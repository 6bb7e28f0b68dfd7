"""Whether a projection is what its journal says, without making it again: row by row, and by sums of its own.

Shares no code with what wrote the rows (`recording`): rows are held against the entries that they must come from, and
balances are folded from the entries once more, in plain numbers. A row that is missing, doubled or altered is named.
What no entry says by itself (balances after each line, endings) is left to `verification`, which makes all anew.
"""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.journal.follow import Cursor, rows_from, slices
from tallystick.journal.port import JournalReader
from tallystick.projector import columns
from tallystick.projector.port import Tables
from tallystick.records.commands import Kind, Opcode, TransferFlag
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK

Progress = Callable[[int, int], None]
Key = tuple[int, int, int]
"""Tenant, low and high half of an account's id."""
Rows = npt.NDArray[np.void]

_PENDING = int(TransferFlag.PENDING)
_POST = int(TransferFlag.POST_PENDING_TRANSFER)
_VOID = int(TransferFlag.VOID_PENDING_TRANSFER)
_TWO_PHASE = _PENDING | _POST | _VOID
DEBITS_PENDING, DEBITS_POSTED, CREDITS_PENDING, CREDITS_POSTED, LINES = range(5)


def first_difference(tables: Tables, journal: JournalReader, progress: Progress | None = None) -> str | None:
    """The first difference between the projection in `tables` and its journal, in words; None if there is none.

    As of its own cursor, in one read transaction, so it may be followed meanwhile. Raises `Corrupt` if the journal
    itself does not fit, `Unavailable` if the tables cannot be read.
    """
    with tables.telling(), tables.at_one_moment():
        [end] = tables.execute("SELECT next_seq FROM cursor").fetchone()
        if end > journal.end():
            return f"it has entries up to {end:,}, but the journal ends at {journal.end():,}"
        return _Reconciling(tables).run(journal, end, progress or (lambda done, of: None))


class _Reconciling:
    """One walk along the journal."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._accounts: dict[Key, list[int]] = {}
        self._pending: dict[int, tuple[Key, Key, int, bool]] = {}
        """By seq: both accounts, the amount, and whether it was asked as a pending one."""

    def run(self, journal: JournalReader, end: int, progress: Progress) -> str | None:
        for each in slices(journal, Cursor()):
            blocks = [block for block in each.blocks if block.header.next <= end]
            if not blocks:
                break
            entries, details = rows_from(blocks, 0)
            work = entries.view(WORK)
            found = self._rows_differ(work, details)
            if found:
                return found
            self._fold(work, details)
            progress(blocks[-1].header.next, end)
        return self._accounts_differ() or self._totals_differ()

    def _rows_differ(self, work: Rows, details: Rows) -> str | None:
        span = (int(work["seq"][0]), int(work["seq"][-1]))
        made = work["status"] == STORED_MASK
        kind = work["kind"]
        for table, wanted in (
            ("accounts", self._opened(work[made & (kind == Kind.ACCOUNT)].view(ACCOUNT_WORK))),
            ("transfers", self._transfers(work, details, made & (kind == Kind.TRANSFER))),
            ("resolutions and notes", _seqs(work, made & ((kind == Kind.CONTROL) | (kind == Kind.EXPIRY)))),
        ):
            kept = self._tables.execute(_KEPT[table], span * _KEPT[table].count("BETWEEN"))
            for row, expected in zip_longest(kept, wanted):
                if row != expected:
                    return f"{table} holds {_shown(row)}, the journal says {_shown(expected)}"
        return None

    @staticmethod
    def _opened(a: Rows) -> Iterator[tuple[Any, ...]]:
        ids = columns.blobs(a["id_lo"], a["id_hi"])
        return zip(
            a["seq"].tolist(), columns.signed(a["tenant"]), ids, a["ledger"].tolist(), a["code"].tolist(), strict=True
        )

    @staticmethod
    def _transfers(work: Rows, details: Rows, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[Any, ...]]:
        t, d = work[chosen].view(TRANSFER_WORK), details[chosen]
        return zip(
            t["seq"].tolist(),
            columns.signed(t["tenant"]),
            t["timestamp"].tolist(),
            columns.blobs(t["id_lo"], t["id_hi"]),
            columns.blobs(t["moved_lo"], t["moved_hi"]),
            d["debit_sequence"].tolist(),
            d["credit_sequence"].tolist(),
            d["pending_seq"].tolist(),
            (None if each == bytes(32) else each for each in columns.pieces(t["metadata"], 32)),
            strict=True,
        )

    def _fold(self, work: Rows, details: Rows) -> None:
        """Add what these entries moved to the balances, and count the accounts' lines."""
        made = work["status"] == STORED_MASK
        kind, t = work["kind"], work.view(TRANSFER_WORK)
        plain = made & (kind == Kind.TRANSFER) & (t["flag_bits_effective"] & _TWO_PHASE == 0)
        for a in work[made & (kind == Kind.ACCOUNT)].view(ACCOUNT_WORK):
            self._accounts[_key(a, "")] = [0, 0, 0, 0, 1]
        self._fold_plain(t[plain])
        others = made & ~plain & ((kind == Kind.TRANSFER) | (kind == Kind.EXPIRY) | (kind == Kind.CONTROL))
        for at in np.flatnonzero(others).tolist():
            self._fold_one(work[at], int(details["pending_seq"][at]))

    def _fold_plain(self, t: Rows) -> None:
        if not len(t):
            return
        for side, place in (("debit", DEBITS_POSTED), ("credit", CREDITS_POSTED)):
            keys = np.stack([t["tenant"], t[f"{side}_account_id_lo"], t[f"{side}_account_id_hi"]], axis=1)
            order = np.lexsort(keys.T[::-1])
            ordered = keys[order]
            first = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)])
            # Halves of 32 bits: the sums of a slice stay far below 2^64.
            parts = [
                np.add.reduceat((t[f"moved_{half}"][order] >> np.uint64(shift)) & np.uint64(0xFFFFFFFF), first).tolist()
                for half in ("lo", "hi")
                for shift in (0, 32)
            ]
            counts = np.diff(np.r_[first, len(order)]).tolist()
            for key, count, *limbs in zip(ordered[first].tolist(), counts, *parts, strict=True):
                account = self._of((key[0], key[1], key[2]))
                account[place] += sum(limb << 32 * at for at, limb in enumerate(limbs))
                account[LINES] += count

    def _fold_one(self, entry: Any, pending_seq: int) -> None:
        """What reserves, what resolves, and controls."""
        t, kind = entry.view(TRANSFER_WORK), int(entry["kind"])
        moved = int(t["moved_lo"]) | int(t["moved_hi"]) << 64
        bits = int(t["flag_bits_effective"]) if kind == Kind.TRANSFER else 0
        if bits & _PENDING:
            debit, credit = _key(t, "debit_account_"), _key(t, "credit_account_")
            self._pending[int(t["seq"])] = (debit, credit, moved, bool(int(t["flag_bits"]) & _PENDING))
            for key, place in ((debit, DEBITS_PENDING), (credit, CREDITS_PENDING)):
                self._of(key)[place] += moved
                self._of(key)[LINES] += 1
            return
        opcode = int(entry.view(CONTROL_WORK)["opcode"]) if kind == Kind.CONTROL else 0
        if kind == Kind.CONTROL and opcode not in (Opcode.APPROVE, Opcode.REJECT):
            self._of(_key(entry.view(CONTROL_WORK), "account_"))[LINES] += 1
            return
        if pending_seq not in self._pending:
            raise Corrupt(f"entry {entry['seq']} resolves what is no pending transfer that is open")
        debit, credit, reserved, asked_as_pending = self._pending[pending_seq]
        for key in (debit, credit):
            self._of(key)[LINES] += 1
        if opcode == Opcode.APPROVE and asked_as_pending:
            return  # from now on it is just that
        del self._pending[pending_seq]
        posts = bool(bits & _POST) or opcode == Opcode.APPROVE
        for key, pending, posted in (
            (debit, DEBITS_PENDING, DEBITS_POSTED),
            (credit, CREDITS_PENDING, CREDITS_POSTED),
        ):
            self._of(key)[pending] -= reserved
            self._of(key)[posted] += moved if posts else 0

    def _of(self, key: Key) -> list[int]:
        found = self._accounts.get(key)
        if found is None:
            raise Corrupt(f"account {key[1] | key[2] << 64} of tenant {key[0]} moves money, but no entry opened it")
        return found

    def _accounts_differ(self) -> str | None:
        count = 0
        for tenant, number, *kept, lines in self._tables.walk(_BALANCES):
            whole = int.from_bytes(number, "big")
            key = (columns.unsigned(tenant), whole & 0xFFFFFFFFFFFFFFFF, whole >> 64)
            standing = [*(int.from_bytes(each, "big") for each in kept), lines]
            if standing != self._accounts.get(key):
                return f"account {number.hex()} stands at {standing}, the journal says {self._accounts.get(key)}"
            count += 1
        return None if count == len(self._accounts) else f"{len(self._accounts):,} accounts were opened, {count:,} kept"

    def _totals_differ(self) -> str | None:
        sums: dict[tuple[Any, ...], list[int]] = {}
        for *group, dp, ds, cp, cs in self._tables.walk(_GROUPED):
            total = sums.setdefault(tuple(group), [0] * 5)
            for at, number in enumerate((1, *(int.from_bytes(each, "big") for each in (dp, ds, cp, cs)))):
                total[at] += number
        kept = {
            tuple(row[:3]): [row[3], *(int.from_bytes(each, "big") for each in row[4:])]
            for row in self._tables.execute("SELECT * FROM totals")
        }
        for key in sums.keys() | kept.keys():
            if sums.get(key) != kept.get(key):
                return f"the totals of ledger {key[1]}, code {key[2]} are {kept.get(key)}, the sums {sums.get(key)}"
        return None


def _seqs(work: Rows, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[Any, ...]]:
    return zip(work["seq"][chosen].tolist(), strict=True)


def _key(row: Any, name: str) -> Key:
    return int(row["tenant"]), int(row[f"{name}id_lo"]), int(row[f"{name}id_hi"])


def _shown(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "nothing more"
    return f"({', '.join(value.hex() if isinstance(value, bytes) else str(value) for value in row)})"


_KEPT = {
    "accounts": "SELECT seq, tenant, id, ledger, code FROM accounts WHERE seq BETWEEN ? AND ? ORDER BY seq",
    "transfers": (
        "SELECT seq, tenant, decided_at, id, amount, debit_sequence, credit_sequence, coalesce(pending_seq, 0), "
        "metadata FROM transfers WHERE seq BETWEEN ? AND ? ORDER BY seq"
    ),
    "resolutions and notes": (
        "SELECT seq FROM resolutions WHERE seq BETWEEN ? AND ? UNION SELECT seq FROM notes "
        "WHERE seq BETWEEN ? AND ? ORDER BY seq"
    ),
}
_BALANCES = "SELECT tenant, id, debits_pending, debits_posted, credits_pending, credits_posted, lines FROM accounts"
_GROUPED = "SELECT tenant, ledger, code, debits_pending, debits_posted, credits_pending, credits_posted FROM accounts"
