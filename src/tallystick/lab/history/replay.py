"""The journal of a history, decided once more: by the plain-Python model, block by block, at the stored times.

Journal order is the order. What the model decides is what every answer is held against; where an entry says
otherwise, that is a fault, and the model is asked no further, since its books are no longer the journal's.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tallystick import statuses
from tallystick.ids import show
from tallystick.lab.history import shown
from tallystick.lab.history.calls import Block
from tallystick.lab.history.faults import Fault, Wrong
from tallystick.lab.history.versions import Versions
from tallystick.lab.model import Model
from tallystick.records.commands import Kind, TransferFlag, fingerprint, frame
from tallystick.records.details import DETAILS, Verdict
from tallystick.records.entries import SEAL_EVENT, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK, AccountStatus, ControlStatus, TransferStatus

Key: TypeAlias = tuple[int, int]
"""Tenant, and the id of a request, an account or a transfer."""
_RESULT = struct.Struct("<QII")
_RESOLVES = int(TransferFlag.POST_PENDING_TRANSFER | TransferFlag.VOID_PENDING_TRANSFER)


@dataclass(slots=True)
class Decision:
    """A request as the journal has it."""

    block: int
    """Number of its block, from 0."""
    seq: int
    fingerprint: bytes
    results: list[tuple[int, int]]
    """Timestamp (ns) and status of each command, as clients must be told."""
    by_model: bool
    """Whether the model decided so too; else the results are those of the entries alone."""


@dataclass
class Asked:
    """What clients sent, as far as the journal does not keep it."""

    expires_at: dict[tuple[Key, bytes], set[int]] = field(default_factory=dict)
    """By request and fingerprint, each `expires_at` it was sent with, ns."""

    def expiry(self, key: Key, digest: bytes, expired: bool) -> int:
        """The `expires_at` of the try that was decided; where tries differ, one that could have had this outcome."""
        sent = self.expires_at.get((key, digest), {0})
        return min(each for each in sent if each or not expired or sent == {0}) if expired else _latest(sent)


def _latest(sent: set[int]) -> int:
    return 0 if 0 in sent else max(sent)


@dataclass
class Replay:
    """The journal up to the block taken last."""

    asked: Asked
    model: Model = field(default_factory=Model)
    faults: list[Fault] = field(default_factory=list)
    decisions: dict[Key, Decision] = field(default_factory=dict)
    accounts: dict[Key, Versions] = field(default_factory=dict)
    transfers: dict[Key, Versions] = field(default_factory=dict)
    hashes: list[bytes] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)
    next_seq: int = 0
    last_timestamp: int = 0
    trusted: bool = True
    """Whether the model still is where the journal is."""
    _sides: dict[Key, tuple[int, int]] = field(default_factory=dict)

    @property
    def blocks(self) -> int:
        """How many blocks were taken."""
        return len(self.hashes)

    def take(self, block: Block) -> None:
        """The next block."""
        entries = np.frombuffer(block.entries, WORK)
        details = np.frombuffer(block.details, DETAILS)
        if self._is_whole(block, entries, details):
            seal = len(entries) - 1
            first = next((at for at in range(seal) if entries["kind"][at] != Kind.EXPIRY), seal)
            requests = list(self._requests(entries, details, first, seal))
            verdicts = dict(zip(range(first, seal), details["verdict"][first:seal].tolist(), strict=True))
            self._decide(entries, first, requests, verdicts)
            self._remember(entries[:seal])
        self.next_seq = block.first + len(entries)
        self.firsts.append(block.first)
        self.hashes.append(block.hash)

    def _wrong(self, wrong: Wrong, what: str) -> None:
        self.faults.append(Fault(wrong, what))

    def _is_whole(self, block: Block, entries: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> bool:
        expected = np.arange(self.next_seq, self.next_seq + len(entries), dtype=np.uint64)
        times = entries["timestamp"][:-1].astype(np.uint64)
        ok = len(entries) > 1 and len(entries) == len(details) and bool((entries["seq"] == expected).all())
        if not ok:
            self._wrong(Wrong.JOURNAL_GAP, f"block at {block.first}: its entries do not continue at {self.next_seq}")
        elif bool((entries["kind"][:-1] == Kind.SEAL).any()) or entries["kind"][-1] != Kind.SEAL:
            self._wrong(Wrong.JOURNAL_GAP, f"block at {block.first} does not end with its only seal")
        elif not _sealed(entries, details):
            self._wrong(Wrong.ALTERED, f"block at {block.first}: its seal is not that of its details")
        else:
            if int(times[0]) <= self.last_timestamp or bool((times[1:] <= times[:-1]).any()):
                self._wrong(Wrong.JOURNAL_DIFFERS, f"block at {block.first}: time does not pass from entry to entry")
                self.trusted = False
            self.last_timestamp = int(times[-1])
            return True
        self.trusted = False
        return False

    def _requests(
        self, entries: npt.NDArray[np.void], details: npt.NDArray[np.void], first: int, seal: int
    ) -> Iterator[tuple[Key, int, bytes, npt.NDArray[np.void]]]:
        """Of each request key, place of its first entry, fingerprint, and its commands as clients sent them."""
        at = first
        while at < seal:
            count = int(details["count"][at])
            rows = entries[at : at + count]
            row = rows[0]
            key = (int(row["tenant"]), int(row["request_id_lo"]) | int(row["request_id_hi"]) << 64)
            same = (
                (rows["tenant"] == row["tenant"])
                & (rows["request_id_lo"] == row["request_id_lo"])
                & (rows["request_id_hi"] == row["request_id_hi"])
                & (rows["kind"] == row["kind"])
            )
            if not 1 <= count <= seal - at or not same.all() or rows["index"].tolist() != list(range(count)):
                self._wrong(Wrong.JOURNAL_GAP, f"entry {int(row['seq'])}: its request is not whole")
                self.trusted = False
                return
            digest = details["fingerprint"][at].tobytes()
            metadata = np.ascontiguousarray(rows["metadata"]).tobytes()
            metadata = metadata if any(metadata) else b""
            events = np.ascontiguousarray(rows["event"]).tobytes()
            if fingerprint(int(row["kind"]), count, events, metadata) != digest:
                self._wrong(Wrong.ALTERED, f"entry {int(row['seq'])}: the events of request {show(key[1])} changed")
            expired = int(row["status"]) == TransferStatus.REQUEST_EXPIRED
            expires_at = self.asked.expiry(key, digest, expired)
            submitted_at = int(row["submitted_at"])
            yield key, at, digest, frame(events, Kind(int(row["kind"])), *key, submitted_at, expires_at, metadata)
            at += count

    def _decide(
        self,
        entries: npt.NDArray[np.void],
        first: int,
        requests: list[tuple[Key, int, bytes, npt.NDArray[np.void]]],
        verdicts: dict[int, int],
    ) -> None:
        """Have the model decide the block, compare, and note the results of its requests.

        Two things only the journal knows: what screening said, by place, and which requests were quarantined.
        """
        fresh: list[tuple[Key, int, npt.NDArray[np.void]]] = []
        here: set[Key] = set()
        for key, at, _, commands in requests:
            if key in self.decisions or key in here:
                before = self.decisions[key].seq if key in self.decisions else "this block too"
                what = f"request {show(key[1])} at entry {int(entries['seq'][at])}, and before at {before}"
                self._wrong(Wrong.DECIDED_TWICE, what)
                self.trusted = False
            else:
                here.add(key)
                fresh.append((key, at, commands))
        results: list[tuple[int, int]] = []
        if self.trusted:
            starts = {key: at for key, at, _ in fresh}
            self.model.verdict_of = lambda event: Verdict(
                verdicts[starts[event["tenant"], event["request_id"]] + event["index"]]
            )
            quarantined = [key for key, at, _ in fresh if entries["status"][at] == TransferStatus.QUARANTINED]
            told = self.model.decide([commands for _, _, commands in fresh], int(entries["timestamp"][0]), quarantined)
            results = [(each.timestamp, int(each.status)) for each in told]
            self._compare(entries, first, results)
        by_model = self.trusted
        done = 0
        for key, at, commands in fresh:
            count = len(commands)
            rows = entries[at : at + count]
            own = [(int(row["timestamp"]), _whole_status(int(row["status"]))) for row in rows]
            digest = commands["fingerprint"][0].tobytes()
            chosen = results[done : done + count] if by_model else own
            self.decisions[key] = Decision(self.blocks, int(rows["seq"][0]), digest, chosen, by_model)
            done += count

    def _compare(self, entries: npt.NDArray[np.void], first: int, results: list[tuple[int, int]]) -> None:
        """Hold each entry but the seal against what the model decided."""
        made = self.model.entries
        if len(made) != len(entries) - 1 or len(results) != len(entries) - 1 - first:
            what = f"block at {int(entries['seq'][0])}: {len(entries) - 1} entries, {first} of them expiries"
            self._wrong(Wrong.JOURNAL_DIFFERS, f"{what}; the model makes {len(made)}, {len(made) - len(results)}")
            self.trusted = False
            return
        for entry, decided in zip(entries, made, strict=False):
            moved = int(entry["moved_lo"]) | int(entry["moved_hi"]) << 64
            found = [int(entry[name]) for name in ("seq", "timestamp", "status")] + [moved]
            expected = [decided.seq, decided.timestamp, int(decided.status) & STORED_MASK, decided.moved]
            if int(entry["kind"]) == Kind.TRANSFER:
                found += [int(entry["flag_bits_effective"]), int(entry["timeout_effective"])]
                expected += [decided.flags, decided.timeout]
            if found != expected:
                what = f"entry {found[0]}, {_name(entry)}, (seq, timestamp, status, moved, …) {found}"
                model = statuses.name(decided.status)
                self._wrong(Wrong.JOURNAL_DIFFERS, f"{what}; the model decides {model}, {expected}")
                self.trusted = False
                return

    def _remember(self, entries: npt.NDArray[np.void]) -> None:
        """Note what look-ups show from this block on."""
        accounts, transfers = self._touched(entries)
        for entry in entries:
            self.by_status[f"{Kind(int(entry['kind'])).name.lower()} {_name(entry)}"] += 1
        if not self.trusted:
            return
        after = self.blocks + 1
        for key in accounts:
            row = shown.account(self.model, key)
            if row is not None:
                self.accounts.setdefault(key, Versions()).change(row, after)
        for key in transfers:
            row = shown.transfer(self.model, key)
            if row is not None:
                self.transfers.setdefault(key, Versions()).change(row, after)

    def _touched(self, entries: npt.NDArray[np.void]) -> tuple[set[Key], set[Key]]:
        """Accounts and transfers that these entries may have changed."""
        accounts: set[Key] = set()
        transfers: set[Key] = set()
        for entry in entries.view(TRANSFER_WORK):
            if entry["status"] != STORED_MASK:
                continue
            tenant, kind = int(entry["tenant"]), int(entry["kind"])
            number = _whole(entry, "id")
            if kind in (Kind.ACCOUNT, Kind.CONTROL):
                accounts.add((tenant, number))  # both kinds of event begin with the account's id
                # an approval names its pending transfer where a transfer names its debit account
                accounts.update(
                    (tenant, each) for each in self._sides.get((tenant, _whole(entry, "debit_account_id")), ())
                )
                continue
            sides = (_whole(entry, "debit_account_id"), _whole(entry, "credit_account_id"))
            if kind == Kind.TRANSFER:
                if int(entry["flag_bits"]) & _RESOLVES:
                    sides = self._sides.get((tenant, _whole(entry, "pending_id")), sides)
                transfers.add((tenant, number))
                self._sides[tenant, number] = sides
            accounts.update((tenant, each) for each in sides)
        return accounts, transfers


def _sealed(entries: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> bool:
    event = np.ascontiguousarray(entries["event"][-1]).view(SEAL_EVENT)[0]
    return int(event["count"]) == len(entries) - 1 and (
        event["details_hash"].tobytes() == hashlib.sha256(details.tobytes()).digest()
    )


def _whole(row: Any, name: str) -> int:
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def _whole_status(stored: int) -> int:
    return statuses.CREATED if stored == STORED_MASK else stored


def _name(entry: Any) -> str:
    status = _whole_status(int(entry["status"]))
    kind = int(entry["kind"])
    if kind == Kind.ACCOUNT:
        return statuses.name(AccountStatus(status))
    return statuses.name(ControlStatus(status) if kind == Kind.CONTROL else TransferStatus(status))
