"""What the model remembers: accounts, transfers, the times that are taken, and how to take a broken chain back."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tallystick.lab.model.events import Event, Key
from tallystick.records.commands import AccountFlag, Kind, TransferFlag
from tallystick.records.endings import Ending


@dataclass(slots=True)
class ModelAccount:
    """An account; amounts are minor units, timestamps ns. Of an imported one `created_at` is its own time."""

    created_at: int
    ledger: int
    code: int
    flags: int
    user_data: tuple[int, int, int]
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    credit_limit: int = 0
    frozen: int = 0
    sequence: int = 1
    previous: int = 0

    def has(self, flag: AccountFlag) -> bool:
        """Whether it has this flag now."""
        return self.flags & int(flag) != 0

    def numbered(self, seq: int) -> Key:
        """Count the entry at `seq`; its dense number, and the position of the one before."""
        self.sequence, previous, self.previous = self.sequence + 1, self.previous, seq
        return self.sequence, previous


@dataclass(slots=True)
class ModelTransfer:
    """A transfer that was created: as asked, and as it is, fields that were left to the pending transfer filled in."""

    asked: Event
    seq: int
    decided_at: int
    timestamp: int
    """ns, of its creation: the decision's, of an imported one its own."""
    moved: int
    flags: int
    """Effective ones."""
    timeout: int
    """Seconds, effective."""
    debit_account_id: int
    credit_account_id: int
    ledger: int
    code: int
    user_data: tuple[int, int, int]
    pending: "ModelTransfer | None" = None
    """The one it posts or voids."""
    ending: Ending = Ending.NONE
    in_review: bool = False
    expires_at: int = 0

    def has(self, flag: TransferFlag) -> bool:
        """Whether it has this flag in effect."""
        return self.flags & int(flag) != 0

    def shown(self) -> Event:
        """What a look-up shows of it: flags and time-out as they are in effect."""
        names = ("user_data_128", "user_data_64", "user_data_32")
        return {
            **{name: self.asked[name] for name in ("id", "pending_id")},
            **dict(zip(names, self.user_data, strict=True)),
            "debit_account_id": self.debit_account_id,
            "credit_account_id": self.credit_account_id,
            "amount": self.moved,
            "ledger": self.ledger,
            "code": self.code,
            "timeout": self.timeout,
            "flag_bits": self.flags,
            "timestamp": self.timestamp,
        }


@dataclass
class ModelBooks:
    """Everything of all tenants."""

    accounts: dict[Key, ModelAccount] = field(default_factory=dict)
    transfers: dict[Key, ModelTransfer | None] = field(default_factory=dict)
    """None for an id that failed for good."""
    latest: dict[tuple[int, Kind], int] = field(default_factory=dict)
    """By tenant and kind, the highest timestamp of what was created."""
    taken: dict[tuple[int, Kind], set[int]] = field(default_factory=dict)
    """By tenant and kind, all of them."""
    rows: int = 0
    """Pending transfers that take up room: open, or resolved in this batch."""
    resolved: int = 0
    """Those of them that this batch resolved."""
    _due: list[tuple[int, int, Key]] = field(default_factory=list)
    _ways_back: list[Callable[[], object]] | None = None

    # Chains

    def begin(self) -> None:
        """From now on changes can be taken back."""
        self._ways_back = []

    def keep(self) -> None:
        """What was changed since `begin` stays."""
        self._ways_back = None

    def take_back(self) -> None:
        """Take back what was changed since `begin`, last change first."""
        for way_back in reversed(self._ways_back or ()):
            way_back()
        self._ways_back = None

    def changing(self, thing: Any) -> None:
        """Say this before an account or transfer is changed."""
        if self._ways_back is None:
            return
        before = [(name, getattr(thing, name)) for name in type(thing).__slots__]

        def restore() -> None:
            for name, value in before:
                setattr(thing, name, value)

        self._ways_back.append(restore)

    def _if_taken_back(self, way_back: Callable[[], object]) -> None:
        if self._ways_back is not None:
            self._ways_back.append(way_back)

    # Creation

    def add_account(self, key: Key, account: ModelAccount) -> None:
        """A new account."""
        self.accounts[key] = account
        self._if_taken_back(lambda: self.accounts.pop(key))
        self._take(key[0], Kind.ACCOUNT, account.created_at)

    def add_transfer(self, key: Key, transfer: ModelTransfer) -> None:
        """A new transfer."""
        self.transfers[key] = transfer
        self._if_taken_back(lambda: self.transfers.pop(key))
        self._take(key[0], Kind.TRANSFER, transfer.timestamp)
        if transfer.ending is Ending.OPEN:
            self.rows += 1
            self._if_taken_back(self._one_less)
            if transfer.expires_at:
                heapq.heappush(self._due, (transfer.expires_at, transfer.decided_at, key))

    def _one_less(self) -> None:
        self.rows -= 1

    def resolved_one(self) -> None:
        """An open pending transfer is resolved; its room is free when the batch is over."""
        self.resolved += 1
        self._if_taken_back(self._one_back)

    def _one_back(self) -> None:
        self.resolved -= 1

    def make_room(self) -> None:
        """The batch is over."""
        self.rows -= self.resolved
        self.resolved = 0

    def _take(self, tenant: int, kind: Kind, timestamp: int) -> None:
        at = (tenant, kind)
        latest, taken = self.latest.get(at, 0), self.taken.setdefault(at, set())
        self.latest[at] = max(latest, timestamp)
        taken.add(timestamp)
        self._if_taken_back(lambda: self.latest.update({at: latest}))
        self._if_taken_back(lambda: taken.discard(timestamp))

    def regresses(self, tenant: int, kind: Kind, timestamp: int) -> bool:
        """Whether an imported event of this kind comes too late: others have this time, or a later one."""
        other = Kind.ACCOUNT if kind is Kind.TRANSFER else Kind.TRANSFER
        return timestamp <= self.latest.get((tenant, kind), 0) or timestamp in self.taken.get((tenant, other), ())

    # Time

    def next_due(self, now: int) -> tuple[Key, ModelTransfer] | None:
        """The open pending transfer that expires first, if it is due; the earlier created one of two."""
        while self._due and self._due[0][0] <= now:
            _, decided_at, key = heapq.heappop(self._due)
            transfer = self.transfers.get(key)
            if transfer is not None and transfer.decided_at == decided_at and transfer.ending is Ending.OPEN:
                return key, transfer
        return None
