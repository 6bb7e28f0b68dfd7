"""What the journal of a simulation says, folded by plain Python, and what clients were told, held against it.

It shares no code with the ledger: a mistake there is not repeated here. Everything it finds wrong is an
`AssertionError` that names the request, the entry or the account.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tallystick.engine.drafts import Delivery
from tallystick.records.blocks import EntryBlock, pack_positions
from tallystick.records.commands import AccountFlag, Kind, Opcode, Side
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, SEAL_EVENT, TRANSFER_WORK, WORK
from tallystick.statuses import CREATED, STORED_MASK, TRANSIENT, AccountStatus, RequestStatus, TransferStatus

Key: TypeAlias = tuple[int, int]
"""Tenant, and the id of a request, a transfer or an account."""
Result: TypeAlias = tuple[int, int]
"""Timestamp (ns) and status, as a client gets them."""
LIMITED = AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS
_TRANSIENT = frozenset(int(status) for status in TRANSIENT)


@dataclass
class FoldedAccount:
    """An account by its entries alone; amounts are minor units."""

    created_at: int
    flags: int
    debits: int = 0
    credits: int = 0
    limit: int = 0
    frozen: int = 0
    sequence: int = 1
    previous: int = 0

    def numbered(self, seq: int, details: Any, side: str) -> None:
        """The entry at `seq` is the account's next; its details must say so."""
        found = (int(details[f"{side}_sequence"]), int(details[f"{side}_previous"]))
        assert found == (self.sequence + 1, self.previous), f"entry {seq}: numbered {found} on its {side} account"
        self.sequence, self.previous = self.sequence + 1, seq


@dataclass(frozen=True)
class Recorded:
    """A request's results in the journal."""

    fingerprint: bytes
    results: list[Result]


@dataclass
class Fold:
    """The journal from entry 0, block after block, with the rules of the ledger that no bug may break."""

    hashes: list[bytes] = field(default_factory=list)
    next_seq: int = 0
    last_timestamp: int = 0
    positions: dict[bytes, int] = field(default_factory=dict)
    requests: dict[Key, Recorded] = field(default_factory=dict)
    accounts: dict[Key, FoldedAccount] = field(default_factory=dict)
    created: dict[Key, int] = field(default_factory=dict)
    poisoned: set[Key] = field(default_factory=set)

    def take(self, block: EntryBlock) -> None:
        """Apply the next block; whatever it contradicts is an `AssertionError`."""
        assert block.header.first == self.next_seq, f"block {block.header.first}: {self.next_seq} is due"
        previous = self.hashes[-1] if self.hashes else bytes(32)
        assert block.header.previous == previous, f"block {self.next_seq} does not continue what was read before"
        for lane, position in self.positions.items():
            assert block.positions.get(lane, -1) >= position, f"block {self.next_seq}: lane {lane.hex()} went back"
        entries, details = np.array(block.entries).view(WORK), np.array(block.details)
        self._check_seal(block, entries[-1:], details)
        due = 0
        for at in range(len(entries) - 1):
            entry = entries[at]
            assert entry["seq"] == self.next_seq, f"entry {entry['seq']}: {self.next_seq} is due"
            assert entry["timestamp"] > self.last_timestamp, f"entry {self.next_seq}: time did not pass"
            self.last_timestamp = int(entry["timestamp"])
            if due == 0:
                due = int(details[at]["count"])
                self._open_request(entry, details[at])
            key = (int(entry["tenant"]), whole(entry, "request_id"))
            recorded = self.requests[key]
            assert entry["index"] == len(recorded.results), f"entry {self.next_seq}: out of its request's order"
            recorded.results.append(self._apply(entries[at : at + 1], details[at], int(entry["kind"])))
            due -= 1
            self.next_seq += 1
        assert due == 0, f"the request before entry {self.next_seq} is not whole"
        self.next_seq += 1
        self.positions = dict(block.positions)
        self.hashes.append(block.header.hash)

    def _check_seal(self, block: EntryBlock, seal: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> None:
        event = seal["event"].reshape(-1).view(SEAL_EVENT)[0]
        assert seal["kind"][0] == Kind.SEAL, f"block {self.next_seq} has no seal"
        assert event["count"] == len(details) - 1
        assert event["details_hash"].tobytes() == hashlib.sha256(details.tobytes()).digest()
        assert event["positions_hash"].tobytes() == hashlib.sha256(pack_positions(block.positions)).digest()

    def _open_request(self, entry: Any, details: Any) -> None:
        key = (int(entry["tenant"]), whole(entry, "request_id"))
        assert key not in self.requests, f"entry {self.next_seq}: request {key[1]:x} was decided before"
        self.requests[key] = Recorded(details["fingerprint"].tobytes(), [])

    def _apply(self, entry: npt.NDArray[np.void], details: Any, kind: int) -> Result:
        status = int(entry["status"][0])
        if kind == Kind.TRANSFER:
            timestamp = self._apply_transfer(entry.view(TRANSFER_WORK)[0], details, status)
        elif kind == Kind.ACCOUNT:
            timestamp = self._apply_account(entry.view(ACCOUNT_WORK)[0], status)
        else:
            timestamp = self._apply_control(entry.view(CONTROL_WORK)[0], details, status)
        return timestamp, CREATED if status == STORED_MASK else status

    def _apply_transfer(self, t: Any, details: Any, status: int) -> int:
        seq, key = self.next_seq, (int(t["tenant"]), whole(t, "id"))
        if status == TransferStatus.EXISTS:
            assert key in self.created, f"entry {seq}: transfer {key[1]} does not exist"
            return self.created[key]
        if status in _TRANSIENT:
            self.poisoned.add(key)
        if status != STORED_MASK:
            assert whole(t, "moved") == 0, f"entry {seq}: refused, but moved money"
            return int(t["timestamp"])
        assert key not in self.created, f"entry {seq}: transfer {key[1]} was created before"
        assert key not in self.poisoned, f"entry {seq}: the id of transfer {key[1]} failed before"
        amount = whole(t, "moved")
        assert amount == whole(t, "amount"), f"entry {seq}: moved {amount}"
        debit = self.accounts[key[0], whole(t, "debit_account_id")]
        credit = self.accounts[key[0], whole(t, "credit_account_id")]
        assert not debit.frozen & Side.DEBITS, f"entry {seq}: debits a frozen account"
        assert not credit.frozen & Side.CREDITS, f"entry {seq}: credits a frozen account"
        debit.debits += amount
        credit.credits += amount
        assert not debit.flags & LIMITED or debit.debits <= debit.credits + debit.limit, f"entry {seq}: past its limit"
        debit.numbered(seq, details, "debit")
        credit.numbered(seq, details, "credit")
        self.created[key] = int(t["timestamp"])
        return self.created[key]

    def _apply_account(self, a: Any, status: int) -> int:
        key = (int(a["tenant"]), whole(a, "id"))
        if status == AccountStatus.EXISTS:
            return self.accounts[key].created_at
        if status == STORED_MASK:
            assert key not in self.accounts, f"entry {self.next_seq}: account {key[1]} was opened before"
            timestamp = int(a["timestamp"])
            self.accounts[key] = FoldedAccount(timestamp, int(a["flag_bits"]), previous=self.next_seq)
        return int(a["timestamp"])

    def _apply_control(self, c: Any, details: Any, status: int) -> int:
        if status == STORED_MASK:
            account = self.accounts[int(c["tenant"]), whole(c, "account_id")]
            value = whole(c, "value")
            if c["opcode"] == Opcode.CREDIT_LIMIT:
                account.limit = value
            elif c["opcode"] == Opcode.FREEZE:
                account.frozen |= value
            else:
                account.frozen &= ~value
            account.numbered(self.next_seq, details, "debit")
        return int(c["timestamp"])


@dataclass(frozen=True)
class Asked:
    """A request as its client made it."""

    tenant: int
    id: int
    fingerprint: bytes
    commands: bytes = field(repr=False)
    control: bool

    @property
    def key(self) -> Key:
        """What the engine tells requests apart by."""
        return self.tenant, self.id


KEY_REUSED: list[Result] = []
"""Stands for the answer that the id was used with other content."""


@dataclass
class History:
    """What clients of one simulation did and were told. Nothing in it is ever forgotten."""

    asked: list[Asked] = field(default_factory=list)
    acknowledged: dict[tuple[Key, bytes], Asked] = field(default_factory=dict)
    blocks: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    in_doubt: dict[bytes, list[bytes]] = field(default_factory=dict)
    told: dict[tuple[Key, bytes], list[Result]] = field(default_factory=dict)

    def acknowledge(self, lane: bytes, number: int, requests: list[Asked]) -> None:
        """`submit` returned: from now on these must not be lost."""
        assert (lane, number) not in self.blocks, f"lane {lane.hex()}: block {number} was acknowledged before"
        self.blocks[lane, number] = b"".join(request.commands for request in requests)
        for request in requests:
            self.acknowledged[request.key, request.fingerprint] = request

    def doubt(self, lane: bytes, requests: list[Asked]) -> None:
        """`submit` ended unknown: the block may come, or not."""
        self.in_doubt.setdefault(lane, []).append(b"".join(request.commands for request in requests))

    def answer(self, delivery: Delivery, rows: npt.NDArray[np.void]) -> None:
        """A gateway is told the results of a block."""
        data = delivery.commands.tobytes()
        submitted = self.blocks.get((delivery.lane, delivery.number))
        expected = self.in_doubt.get(delivery.lane, []) if submitted is None else [submitted]
        assert data in expected, f"lane {delivery.lane.hex()}: block {delivery.number} is not what was submitted"
        at = 0
        while at < len(delivery.commands):
            command = delivery.commands[at]
            key = (int(command["tenant"]), whole(command, "request_id"))
            count = int(command["count"])
            self.tell(key, command["fingerprint"].tobytes(), rows[at : at + count])
            at += count

    def tell(self, key: Key, fingerprint: bytes, rows: npt.NDArray[np.void]) -> None:
        """A client learns results; they must be those it learned before."""
        results = [(int(row["timestamp"]), int(row["status"])) for row in rows]
        if not results or results[0][1] == RequestStatus.IDEMPOTENCY_KEY_REUSED:
            results = KEY_REUSED
        before = self.told.setdefault((key, fingerprint), results)
        assert before == results, f"request {key[1]:x} was answered {before}, and now {results}"

    def check(self, fold: Fold) -> None:
        """All that was told stands in the journal, as it was told."""
        for (key, fingerprint), results in self.told.items():
            recorded = fold.requests.get(key)
            assert recorded is not None, f"request {key[1]:x} was answered {results}, but is not in the journal"
            if recorded.fingerprint == fingerprint:
                assert recorded.results == results, f"request {key[1]:x}: {recorded.results}, but {results} was told"
            else:
                assert results is KEY_REUSED, f"request {key[1]:x} was shown the results of another: {results}"

    def check_complete(self, fold: Fold, quarantined_max: int) -> None:
        """Every acknowledged request has its entries, or lost its id to another that has them."""
        for key, _ in self.acknowledged:
            assert key in fold.requests, f"request {key[1]:x} was acknowledged, but is not in the journal"
        known = {(request.key, request.fingerprint) for request in self.asked}
        for key, recorded in fold.requests.items():
            assert (key, recorded.fingerprint) in known, f"nobody asked for request {key[1]:x}"
            quarantined_max -= recorded.results[0][1] == TransferStatus.QUARANTINED
        assert quarantined_max >= 0, "a request was quarantined, but did not crash alone"


def whole(row: Any, name: str) -> int:
    """A 128-bit field as a number."""
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64
