"""A batch of entries as rows of the tables: accounts opened, transfers, what resolves them, controls.

Refused commands leave no row. An entry that does not fit what is there raises `Corrupt`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.projector import columns
from tallystick.projector.movements import CLOSED, Column, Movements, movements
from tallystick.projector.port import WritableTables
from tallystick.projector.standing import Slots, Standing, kept
from tallystick.projector.totals import Totals
from tallystick.records.commands import AccountFlag, Kind, Opcode
from tallystick.records.entries import ACCOUNT_WORK, CARRIED, CONTROL_WORK, WORK
from tallystick.statuses import STORED_MASK


@dataclass
class Recorder:
    """Writes batches into the tables, inside whatever that has begun."""

    tables: WritableTables
    standing: Standing = field(default_factory=Standing)
    totals: Totals = field(default_factory=Totals)
    _last: dict[tuple[str, int], int] = field(default_factory=dict)

    def record(self, entries: npt.NDArray[np.void], details: npt.NDArray[np.void], decided_at: int) -> int:
        """Write what these entries (dense) say; `decided_at` is the last decision's time (ns) before them.

        Returns that of the last one among them. After any error, `forget`.
        """
        work = entries.view(WORK)
        # What was carried here tells when it was decided in the shard it comes from.
        times = work["timestamp"][(work["kind"] != Kind.SEAL) & (work["version"] != CARRIED)]
        if len(times) and (int(times[0]) <= decided_at or (times[1:] <= times[:-1]).any()):
            raise Corrupt(f"timestamps do not increase from entry {work['seq'][0]} on")
        self._open(work)
        found, unmoved = movements(work, details, self.tables)
        notes = self._note(work, details, unmoved)
        self._number(found, notes)
        return int(times[-1]) if len(times) else decided_at

    def forget(self) -> None:
        """Drop what is remembered of the tables, which were rolled back."""
        self.standing.forget()
        self.totals.forget()
        self._last.clear()

    def _open(self, work: npt.NDArray[np.void]) -> None:
        chosen = np.flatnonzero((work["kind"] == Kind.ACCOUNT) & (work["status"] == STORED_MASK))
        if not len(chosen):
            return
        a = work.view(ACCOUNT_WORK)
        flags = a["flag_bits"][chosen]
        imported = flags & int(AccountFlag.IMPORTED) != 0
        timestamp = np.where(imported, a["event_timestamp"][chosen], a["timestamp"][chosen])
        tenant, lo, hi = a["tenant"][chosen], a["id_lo"][chosen], a["id_hi"][chosen]
        self._must_increase("accounts", tenant, timestamp)
        nothing = repeat(columns.blob(0))
        rows = zip(
            a["seq"][chosen].tolist(),
            columns.signed(tenant),
            columns.blobs(lo, hi),
            *(nothing,) * 4,
            *_own_fields(*(a[name][chosen] for name in _OWN)),
            a["ledger"][chosen].tolist(),
            a["code"][chosen].tolist(),
            flags.tolist(),
            timestamp.tolist(),
            nothing,
            repeat(0),
            repeat(1),
            strict=False,  # what repeats has no end
        )
        try:
            self.tables.insert("accounts", rows)
        except Corrupt as error:
            raise Corrupt(f"an account from entry {a['seq'][chosen[0]]} on is opened twice") from error
        keys = np.empty((len(chosen), 3), "<u8")
        keys[:, 0], keys[:, 1], keys[:, 2] = tenant, lo, hi
        kinds = np.stack([a["ledger"][chosen], a["code"][chosen]]).astype(np.int64)
        each = zip(columns.pieces(keys, 24), a["seq"][chosen].tolist(), flags.tolist(), *kinds.tolist(), strict=True)
        for row in each:
            self.standing.add(*row)
        for number in self._groups(tenant, kinds).tolist():
            self.totals.opened(number)
        self.totals.write(self.tables)

    def _number(self, found: Movements, notes: "_Notes") -> None:
        """Apply what moves money; count all that concerns an account as its lines; store how the accounts stand."""
        if not len(found) and not len(notes):
            return
        slots = self.standing.find(self.tables, found.keys())
        if (self.standing.seqs[slots] > np.repeat(found.seq, 2).astype(np.int64)).any():
            raise Corrupt(f"an entry from {found.seq[0]} on moves money of an account that is opened later")
        sequences = np.stack([found.debit_sequence, found.credit_sequence], axis=1).reshape(-1).astype(np.int64)
        noted = notes.arrays()
        used = self.standing.number(
            np.concatenate([slots, noted[:, 0]]),
            np.concatenate([np.repeat(found.seq, 2).astype(np.int64), noted[:, 1]]),
            np.concatenate([sequences, noted[:, 2]]),
        )
        if len(found):
            self._move(found, slots)
        self.standing.write(self.tables, used)
        self.totals.write(self.tables)

    def _move(self, found: Movements, slots: Slots) -> None:
        changes = found.changes()
        kinds = self.standing.kinds[:, slots]
        self.totals.move(self._groups(np.repeat(found.tenant, 2), kinds), changes)
        after, _ = self.standing.move(slots, changes)
        flags = self._flags(found, slots)
        sides = (flags[0::2].tolist(), flags[1::2].tolist(), kept(after, 2 * 4 * 16))
        transfers, others = np.flatnonzero(found.is_transfer), np.flatnonzero(~found.is_transfer)
        if len(transfers):
            self._insert_transfers(found, transfers, slots, *_of(transfers, sides))
        if len(others):
            self._insert_resolutions(found, others, slots, *_of(others, sides))
        self.tables.update("transfers", ("ending",), found.ended_before())

    def _groups(self, tenants: Column, kinds: Slots) -> Slots:
        """For each account, by tenant, ledger and code, the number of its totals."""
        rows = np.empty((len(tenants), 3), np.int64)
        rows[:, 0], rows[:, 1], rows[:, 2] = tenants.view(np.int64), kinds[0], kinds[1]
        # Equal rows are found as one number each: few tenants and kinds stand in a batch.
        mixed = rows[:, 0] * _ODD + (rows[:, 1] << 16 | rows[:, 2])
        _, first, which = np.unique(mixed, return_index=True, return_inverse=True)
        if (rows != rows[first][which]).any():  # two mixed to one number: never seen, but ids are chosen by clients
            _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        numbers = [self.totals.number(self.tables, tuple(row)) for row in rows[first].tolist()]
        return np.array(numbers, np.int64)[which.reshape(-1)]

    def _insert_transfers(self, found: Movements, at: Slots, slots: Slots, *sides: list[Any]) -> None:
        def column(name: str) -> Column:
            chosen: Column = getattr(found, name)[at]
            return chosen

        tenant, timestamp = column("tenant"), column("timestamp")
        self._must_increase("transfers", tenant, timestamp)
        accounts = self.standing.seqs[slots]
        rows = zip(
            column("seq").tolist(),
            columns.signed(tenant),
            timestamp.tolist(),
            column("decided_at").tolist(),
            columns.blobs(column("id_lo"), column("id_hi")),
            accounts[2 * at].tolist(),
            accounts[2 * at + 1].tolist(),
            columns.blobs(column("moved_lo"), column("moved_hi")),
            columns.signed_or_null(column("pending_seq")),
            *_own_fields(*(column(name) for name in _OWN)),
            column("timeout").tolist(),
            column("ledger").tolist(),
            column("code").tolist(),
            column("flags").tolist(),
            column("flags_asked").tolist(),
            found.ending()[at].tolist(),
            *sides,
            column("debit_sequence").tolist(),
            column("credit_sequence").tolist(),
            amount_keys(column("moved_lo"), column("moved_hi")),
            _commitments(column("metadata")),
            strict=True,
        )
        self.tables.insert("transfers", rows)

    def _insert_resolutions(self, found: Movements, at: Slots, slots: Slots, *sides: list[Any]) -> None:
        accounts = self.standing.seqs[slots]
        rows = zip(
            found.seq[at].tolist(),
            columns.signed(found.tenant[at]),
            found.decided_at[at].tolist(),
            found.type[at].tolist(),
            found.pending_seq[at].tolist(),
            *sides,
            accounts[2 * at].tolist(),
            accounts[2 * at + 1].tolist(),
            found.debit_sequence[at].tolist(),
            found.credit_sequence[at].tolist(),
            strict=True,
        )
        self.tables.insert("resolutions", rows)

    def _flags(self, found: Movements, slots: Slots) -> npt.NDArray[np.int64]:
        """The flags of each movement's accounts after it, by turns; remembers the last of each."""
        flags: npt.NDArray[np.int64] = self.standing.flags[slots]
        closings = list(found.closings())
        if not closings:
            return flags
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        at = np.empty(len(order), np.int64)
        at[order] = np.arange(len(order))
        starts = sorted((int(at[place]), closes) for place, closes in closings)
        stops = [start for start, _ in starts[1:]] + [len(order)]
        for (start, closes), stop in zip(starts, stops, strict=True):
            # To the next closing or reopening, or to the account's last movement.
            until = min(stop, int(ordered.searchsorted(ordered[start], side="right")))
            bits = int(flags[order[start]])
            bits = bits | CLOSED if closes else bits & ~CLOSED
            flags[order[start:until]] = self.standing.flags[ordered[start]] = bits
        return flags

    def _note(self, work: npt.NDArray[np.void], details: npt.NDArray[np.void], unmoved: Movements) -> "_Notes":
        """Freezes and credit limits, one by one in their order; and approvals that move nothing, on both accounts."""
        notes = _Notes()
        chosen = np.flatnonzero((work["kind"] == Kind.CONTROL) & (work["status"] == STORED_MASK))
        controls = work.view(CONTROL_WORK)
        for at in chosen.tolist():
            c = controls[at]
            statement = _CONTROLS.get(int(c["opcode"]))
            if statement is None:
                continue
            number = int(c["account_id_lo"]) | int(c["account_id_hi"]) << 64
            key = int(c["tenant"]).to_bytes(8, "little") + number.to_bytes(16, "little")
            slot = self._slot(key, int(c["seq"]))
            value = int(c["value_lo"]) | int(c["value_hi"]) << 64
            kept_value = columns.blob(value) if c["opcode"] == Opcode.CREDIT_LIMIT else value
            self.tables.execute(statement, (kept_value, int(self.standing.seqs[slot])))
            notes.lines.append((slot, int(c["seq"]), int(details["debit_sequence"][at])))
            notes.rows.append((int(c["timestamp"]), int(c["opcode"]), columns.blob(value)))
        keys = unmoved.keys()
        for at in range(len(unmoved)):
            pending = columns.blob(int(unmoved.pending_seq[at]))
            sequences = (int(unmoved.debit_sequence[at]), int(unmoved.credit_sequence[at]))
            for key, sequence in zip(keys[2 * at : 2 * at + 2], sequences, strict=True):
                seq = int(unmoved.seq[at])
                notes.lines.append((self._slot(key, seq), seq, sequence))
                notes.rows.append((int(unmoved.decided_at[at]), int(Opcode.APPROVE), pending))
        if len(notes):
            each = zip(notes.lines, notes.rows, strict=True)
            self.tables.insert("notes", ((int(self.standing.seqs[slot]), *line, *row) for (slot, *line), row in each))
        return notes

    def _slot(self, key: bytes, seq: int) -> int:
        slot = int(self.standing.find(self.tables, [key])[0])
        if self.standing.seqs[slot] > seq:
            raise Corrupt(f"entry {seq} is about an account that is opened later")
        return slot

    def _must_increase(self, table: str, tenant: Column, timestamp: Column) -> None:
        """Raises `Corrupt` unless each tenant's timestamps increase: order by seq stands for order by timestamp."""
        order = np.argsort(tenant, kind="stable")
        tenants, times = tenant[order], timestamp[order]
        begins = np.r_[True, tenants[1:] != tenants[:-1]]
        fits = ~(~begins[1:] & (times[1:] <= times[:-1])).any()
        first = np.flatnonzero(begins)
        last = np.r_[first[1:], len(order)] - 1
        spans = (columns.signed(tenants[first]), times[first].tolist(), times[last].tolist())
        for each, begin, end in zip(*spans, strict=True):
            fits = fits and begin > self._last_timestamp(table, each) and end < 1 << 63
            self._last[table, each] = end
        if not fits:
            raise Corrupt(f"the timestamps of {table} do not increase inside a tenant")

    def _last_timestamp(self, table: str, tenant: int) -> int:
        if (table, tenant) not in self._last:
            row = self.tables.execute(_LAST.format(table), (tenant,)).fetchone()
            self._last[table, tenant] = row[0] if row else 0
        return self._last[table, tenant]


@dataclass
class _Notes:
    """Lines of accounts that move nothing: for each its account's slot, its seq and its number there."""

    lines: list[tuple[int, int, int]] = field(default_factory=list)
    rows: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Time, opcode and value of each."""

    def __len__(self) -> int:
        return len(self.lines)

    def arrays(self) -> npt.NDArray[np.int64]:
        """The lines as three columns."""
        return np.array(self.lines, np.int64).reshape(-1, 3)


def amount_keys(lo: Column, hi: Column) -> list[int]:
    """Amounts as signed numbers of 64 bits; the largest one where they do not fit."""
    found: list[int] = np.where((hi == 0) & (lo < _AMOUNT_KEY_MAX), lo, _AMOUNT_KEY_MAX).tolist()
    return found


def _commitments(metadata: Column) -> list[Any]:
    if not metadata.any():
        return [None] * len(metadata)
    return [None if each == bytes(32) else each for each in columns.pieces(metadata, 32)]


def _own_fields(lo: Column, hi: Column, u64: Column, u32: Column) -> tuple[list[Any], list[Any], list[Any]]:
    return columns.blobs_or_null(lo, hi), columns.signed_or_null(u64), columns.signed_or_null(u32)


def _of(at: Slots, lists: Iterable[list[Any]]) -> Iterator[list[Any]]:
    for each in lists:
        yield each if len(at) == len(each) else [each[place] for place in at.tolist()]


_ODD = np.int64(0x9E3779B97F4A7C15 - (1 << 64))
_AMOUNT_KEY_MAX = np.uint64((1 << 63) - 1)
_OWN = ("user_data_128_lo", "user_data_128_hi", "user_data_64", "user_data_32")
_LAST = "SELECT timestamp FROM {0} INDEXED BY {0}_by_tenant WHERE tenant = ? ORDER BY seq DESC LIMIT 1"
_CONTROLS = {
    int(Opcode.FREEZE): "UPDATE accounts SET frozen = frozen | ? WHERE seq = ?",
    int(Opcode.UNFREEZE): "UPDATE accounts SET frozen = frozen & ~? WHERE seq = ?",
    int(Opcode.CREDIT_LIMIT): "UPDATE accounts SET credit_limit = ? WHERE seq = ?",
}
