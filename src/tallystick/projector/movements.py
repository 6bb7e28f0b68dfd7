"""What of a batch of entries moves money: transfers, expiries, approvals and rejections, as columns in their order.

What a post or a void left open is filled in from its pending transfer, wherever that stands: in this batch or in the
tables. Which balances change by how much follows from the type alone (`records.changes.ChangeEventType`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.projector import columns, standing
from tallystick.projector.port import Tables
from tallystick.records.changes import ChangeEventType
from tallystick.records.commands import AccountFlag, Kind, Opcode, TransferFlag
from tallystick.records.endings import Ending
from tallystick.records.entries import CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK

Column = npt.NDArray[np.uint64]

POST = int(TransferFlag.POST_PENDING_TRANSFER)
VOID = int(TransferFlag.VOID_PENDING_TRANSFER)
PENDING = int(TransferFlag.PENDING)
IMPORTED = int(TransferFlag.IMPORTED)
CLOSING = (int(TransferFlag.CLOSING_DEBIT), int(TransferFlag.CLOSING_CREDIT))
CLOSED = int(AccountFlag.CLOSED)
_ENDING = np.zeros(len(ChangeEventType), np.int64)
_ENDING[ChangeEventType.TWO_PHASE_POSTED] = Ending.POSTED
_ENDING[ChangeEventType.TWO_PHASE_VOIDED] = Ending.VOIDED
_ENDING[ChangeEventType.TWO_PHASE_EXPIRED] = Ending.EXPIRED
_READ_AT_ONCE = 500


@dataclass
class Movements:
    """One row a movement. u128 are two columns, `…_lo` and `…_hi`."""

    seq: Column
    tenant: Column
    decided_at: Column
    timestamp: Column
    type: Column
    is_transfer: npt.NDArray[np.bool_]
    id_lo: Column
    id_hi: Column
    debit_account_id_lo: Column
    debit_account_id_hi: Column
    credit_account_id_lo: Column
    credit_account_id_hi: Column
    moved_lo: Column
    moved_hi: Column
    user_data_128_lo: Column
    user_data_128_hi: Column
    user_data_64: Column
    user_data_32: Column
    timeout: Column
    ledger: Column
    code: Column
    flags: Column
    flags_asked: Column
    pending_seq: Column
    debit_sequence: Column
    credit_sequence: Column
    metadata: Column
    """Four numbers a row: the commitment's 32 bytes."""
    pending_amount_lo: Column
    pending_amount_hi: Column
    pending_flags: Column

    def __len__(self) -> int:
        return len(self.seq)

    def those(self, chosen: npt.NDArray[np.bool_]) -> "Movements":
        """Only the rows that are chosen."""
        return Movements(**{each.name: getattr(self, each.name)[chosen] for each in fields(Movements)})

    def ending(self) -> npt.NDArray[np.int64]:
        """Of each transfer, how it stands at the end of the batch; of what resolves others, `NONE`."""
        stands = np.where(self.type == ChangeEventType.TWO_PHASE_PENDING, Ending.OPEN, Ending.NONE)
        here = self.seq.searchsorted(self.pending_seq)
        within = np.flatnonzero(self._resolves() & (self.pending_seq >= self._first()))
        stands[here[within]] = _ENDING[self.type[within]]
        return stands

    def ended_before(self) -> Iterator[tuple[int, int]]:
        """How the pending transfers of earlier batches that this one resolves have ended, and their seqs."""
        earlier = self._resolves() & (self.pending_seq < self._first())
        return zip(_ENDING[self.type[earlier]].tolist(), self.pending_seq[earlier].tolist(), strict=True)

    def _resolves(self) -> npt.NDArray[np.bool_]:
        resolves: npt.NDArray[np.bool_] = self.pending_seq != 0
        return resolves

    def _first(self) -> int:
        return int(self.seq[0]) if len(self) else 0

    def keys(self) -> list[bytes]:
        """Tenant and id of the accounts, debit and credit by turns."""
        rows = np.empty((len(self), 2, 3), "<u8")
        rows[:, :, 0] = self.tenant[:, None]
        rows[:, 0, 1], rows[:, 0, 2] = self.debit_account_id_lo, self.debit_account_id_hi
        rows[:, 1, 1], rows[:, 1, 2] = self.credit_account_id_lo, self.credit_account_id_hi
        return columns.pieces(rows, 24)

    def changes(self) -> standing.Limbs:
        """What each balance gains, as signed limbs; debit and credit account by turns."""
        found = np.zeros((standing.WIDTH, len(self), 2), np.int64)
        moved = standing.limbs(self.moved_lo, self.moved_hi)
        is_pending = self.type == ChangeEventType.TWO_PHASE_PENDING
        posts = (self.type == ChangeEventType.SINGLE_PHASE) | (self.type == ChangeEventType.TWO_PHASE_POSTED)
        reserved, final = moved * is_pending, moved * posts
        if self._resolves().any():
            reserved -= standing.limbs(self.pending_amount_lo, self.pending_amount_hi)
        found[standing.DEBITS_PENDING, :, 0] = found[standing.CREDITS_PENDING, :, 1] = reserved
        found[standing.DEBITS_POSTED, :, 0] = found[standing.CREDITS_POSTED, :, 1] = final
        return found.reshape(standing.WIDTH, -1)

    def closings(self) -> Iterator[tuple[int, bool]]:
        """Accounts that close (True) or open again: their place among `keys`, in order."""
        closes = np.where(self.type == ChangeEventType.TWO_PHASE_PENDING, self.flags, 0)
        reopens = np.where(
            (self.type == ChangeEventType.TWO_PHASE_VOIDED) | (self.type == ChangeEventType.TWO_PHASE_EXPIRED),
            self.pending_flags,
            0,
        )
        for at in np.flatnonzero((closes | reopens) & sum(CLOSING)).tolist():
            for side, flag in enumerate(CLOSING):
                if (closes[at] | reopens[at]) & flag:
                    yield 2 * at + side, bool(closes[at])


def movements(work: npt.NDArray[np.void], details: npt.NDArray[np.void], tables: Tables) -> tuple[Movements, Movements]:
    """Those among these entries (`WORK`, dense) that move money; and approvals that move none: those of what was asked
    as a pending transfer, and is from then on just that. Raises `Corrupt` if they do not fit the tables."""
    created = work["status"] == STORED_MASK
    kind = work["kind"]
    opcode = work.view(CONTROL_WORK)["opcode"]
    decides = (kind == Kind.CONTROL) & ((opcode == Opcode.APPROVE) | (opcode == Opcode.REJECT))
    chosen = np.flatnonzero(created & ((kind == Kind.TRANSFER) | (kind == Kind.EXPIRY) | decides))
    t = work.view(TRANSFER_WORK)
    is_transfer = kind[chosen] == Kind.TRANSFER
    flags = np.where(is_transfer, t["flag_bits_effective"][chosen], 0).astype(np.uint64)
    type_ = np.zeros(len(chosen), np.uint64)
    type_[flags & PENDING != 0] = ChangeEventType.TWO_PHASE_PENDING
    type_[flags & POST != 0] = ChangeEventType.TWO_PHASE_POSTED
    type_[flags & VOID != 0] = ChangeEventType.TWO_PHASE_VOIDED
    type_[kind[chosen] == Kind.EXPIRY] = ChangeEventType.TWO_PHASE_EXPIRED
    type_[decides[chosen] & (opcode[chosen] == Opcode.APPROVE)] = ChangeEventType.TWO_PHASE_POSTED
    type_[decides[chosen] & (opcode[chosen] == Opcode.REJECT)] = ChangeEventType.TWO_PHASE_VOIDED
    decided_at = t["timestamp"][chosen]
    pending_seqs = details["pending_seq"]
    found = Movements(
        seq=t["seq"][chosen],
        tenant=t["tenant"][chosen],
        decided_at=decided_at,
        timestamp=np.where(flags & IMPORTED != 0, t["event_timestamp"][chosen], decided_at),
        type=type_,
        is_transfer=is_transfer,
        timeout=t["timeout_effective"][chosen].astype(np.uint64),
        flags=flags,
        flags_asked=np.where(is_transfer, t["flag_bits"][chosen], 0).astype(np.uint64),
        pending_seq=np.where(type_ > ChangeEventType.TWO_PHASE_PENDING, pending_seqs[chosen], 0).astype(np.uint64),
        debit_sequence=details["debit_sequence"][chosen],
        credit_sequence=details["credit_sequence"][chosen],
        metadata=t["metadata"][chosen],
        pending_amount_lo=np.zeros(len(chosen), np.uint64),
        pending_amount_hi=np.zeros(len(chosen), np.uint64),
        pending_flags=np.zeros(len(chosen), np.uint64),
        **{name: t[name][chosen].astype(np.uint64) for name in _AS_ASKED},
    )
    if (type_ > ChangeEventType.TWO_PHASE_PENDING).any():
        return _inherited(found, tables)
    return found, found.those(np.zeros(len(found), np.bool_))


def _inherited(found: Movements, tables: Tables) -> tuple[Movements, Movements]:
    """The movements with what comes from the pending transfers that they resolve, and apart from them the approvals
    that move nothing."""
    resolving = np.flatnonzero(found.type > ChangeEventType.TWO_PHASE_PENDING)
    pending = _pending(found, resolving, tables)
    for name in ("debit_account_id", "credit_account_id"):
        for half in (f"{name}_lo", f"{name}_hi"):
            getattr(found, half)[resolving] = pending[half]
    found.ledger[resolving], found.code[resolving] = pending["ledger"], pending["code"]
    found.pending_amount_lo[resolving] = pending["moved_lo"]
    found.pending_amount_hi[resolving] = pending["moved_hi"]
    found.pending_flags[resolving] = pending["flags"]
    unset = (found.user_data_128_lo[resolving] == 0) & (found.user_data_128_hi[resolving] == 0)
    for name, where in (
        ("user_data_128_lo", unset),
        ("user_data_128_hi", unset),
        ("user_data_64", found.user_data_64[resolving] == 0),
        ("user_data_32", found.user_data_32[resolving] == 0),
    ):
        getattr(found, name)[resolving[where]] = pending[name][where]
    approved = (found.type == ChangeEventType.TWO_PHASE_POSTED) & ~found.is_transfer
    approved[resolving] &= pending["flags_asked"] & PENDING != 0
    unmoved, found = found.those(approved), found.those(~approved)
    resolved = found.pending_seq[found.pending_seq != 0]
    if len(np.unique(resolved)) != len(resolved):
        raise Corrupt(f"a pending transfer between entries {resolved.min()} and {resolved.max()} is resolved twice")
    return found, unmoved


def _pending(found: Movements, resolving: npt.NDArray[np.intp], tables: Tables) -> dict[str, Column]:
    """Of each movement in `resolving`, the columns of the pending transfer that it is about."""
    asked = found.pending_seq[resolving]
    pending = {name: np.zeros(len(resolving), np.uint64) for name in _INHERITED}
    here = asked >= found.seq[0]
    places = np.minimum(found.seq.searchsorted(asked), len(found) - 1)
    fits = (found.seq[places] == asked) & (found.type[places] == ChangeEventType.TWO_PHASE_PENDING)
    wrong = here & (~fits | (asked >= found.seq[resolving]))
    if wrong.any():
        raise Corrupt(f"entry {found.seq[resolving[wrong][0]]} resolves what is no pending transfer")
    for name in _INHERITED:
        pending[name][here] = getattr(found, name)[places[here]]
    _read(tables, asked, np.flatnonzero(~here), pending)
    if (pending["tenant"] != found.tenant[resolving]).any():
        raise Corrupt(f"an entry from {found.seq[resolving[0]]} on resolves another tenant's pending transfer")
    return pending


def _read(tables: Tables, seqs: Column, places: npt.NDArray[np.intp], into: dict[str, Column]) -> None:
    """Read the pending transfers `seqs[places]` of earlier batches into the columns, at `places`."""
    wanted, which = np.unique(seqs[places], return_inverse=True)
    read = {name: np.zeros(len(wanted), np.uint64) for name in _INHERITED}
    left = wanted.tolist()
    at = {seq: place for place, seq in enumerate(left)}
    for start in range(0, len(left), _READ_AT_ONCE):
        part = left[start : start + _READ_AT_ONCE]
        for row in tables.execute(_PENDING.format(",".join("?" * len(part))), part):
            place = at.pop(row[0])
            for name, number in zip(_READ, row[1:], strict=True):
                if isinstance(number, bytes):
                    read[f"{name}_lo"][place] = int.from_bytes(number[8:], "big")
                    read[f"{name}_hi"][place] = int.from_bytes(number[:8], "big")
                elif number is not None:
                    read[name][place] = columns.unsigned(number)
    if at:
        raise Corrupt(f"entry {min(at)} is no pending transfer that is open, but a later one resolves it")
    for name in _INHERITED:
        into[name][places] = read[name][which]


_READ = {
    "tenant": "t.tenant",
    "debit_account_id": "d.id",
    "credit_account_id": "c.id",
    "moved": "t.amount",
    **{
        name: f"t.{name}"
        for name in ("user_data_128", "user_data_64", "user_data_32", "ledger", "code", "flags", "flags_asked")
    },
}
_PENDING = (
    f"SELECT t.seq, {', '.join(_READ.values())} FROM transfers t "
    "CROSS JOIN accounts d ON d.seq = t.debit CROSS JOIN accounts c ON c.seq = t.credit "
    f"WHERE t.seq IN ({{}}) AND t.ending = {int(Ending.OPEN)}"
)
_AS_ASKED = (
    *(
        f"{name}_{half}"
        for name in ("id", "debit_account_id", "credit_account_id", "moved", "user_data_128")
        for half in ("lo", "hi")
    ),
    "user_data_64",
    "user_data_32",
    "ledger",
    "code",
)
_INHERITED = tuple(name for name in (*_AS_ASKED, "tenant", "flags", "flags_asked") if not name.startswith("id_"))
assert set(_AS_ASKED) <= {each.name for each in fields(Movements)}
assert WORK.itemsize == TRANSFER_WORK.itemsize
