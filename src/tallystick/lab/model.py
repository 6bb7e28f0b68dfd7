"""The ledger in plain Python: integers, dicts, one command after the other. Slow, and obvious on purpose.

Written from the documents (TigerBeetle's reference and docs/design.md), not from the kernel: it shares no arithmetic,
no hashing and no ladder with it. Whoever wants to know what Tallystick would decide can ask here and read why; the
property tests hold the kernel against it, result by result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tallystick.records.commands import ACCOUNT, COMMAND, CONTROL, TRANSFER, AccountFlag, Kind, Opcode, Side
from tallystick.records.details import NO_POSITION
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, Status, TransferStatus, transient

U128_MAX = (1 << 128) - 1
Key: TypeAlias = tuple[int, int]
"""Tenant, and the id of an account, a transfer or a request."""
Event: TypeAlias = dict[str, Any]
"""A command's fields, 128-bit ones whole."""
_ROWS = {Kind.TRANSFER: TRANSFER, Kind.ACCOUNT: ACCOUNT, Kind.CONTROL: CONTROL}
_HALVES = {
    kind: [(name[:-3], name, f"{name[:-3]}_hi") for name in rows.names or () if name.endswith("_lo")]
    for kind, rows in _ROWS.items()
}
_EXPIRED: dict[Kind, Status] = {
    Kind.TRANSFER: TransferStatus.REQUEST_EXPIRED,
    Kind.ACCOUNT: AccountStatus.REQUEST_EXPIRED,
    Kind.CONTROL: ControlStatus.REQUEST_EXPIRED,
}
_BOTH_LIMITS = int(AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS)
_ACCOUNT_FLAGS_KNOWN = _BOTH_LIMITS | int(AccountFlag.HISTORY | AccountFlag.CLOSED)


@dataclass(frozen=True, slots=True)
class Result:
    """What is told about one command. `timestamp` is ns."""

    timestamp: int
    status: Status
    replayed: bool = False


@dataclass(slots=True)
class ModelAccount:
    """An account; amounts are minor units, timestamps ns."""

    created_at: int
    ledger: int
    code: int
    flags: int
    user_data: tuple[int, int, int]
    debits_posted: int = 0
    credits_posted: int = 0
    credit_limit: int = 0
    frozen: int = 0
    sequence: int = 1
    previous: int = 0

    def has(self, flag: AccountFlag) -> bool:
        """Whether it was opened with this flag."""
        return self.flags & int(flag) != 0

    def numbered(self, seq: int) -> Key:
        """Count the entry at `seq`; its dense number, and the position of the one before."""
        self.sequence, previous, self.previous = self.sequence + 1, self.previous, seq
        return self.sequence, previous


@dataclass(slots=True)
class Decided:
    """An entry that the model made: its position, what moved, its numbers on both sides (0 where none moved)."""

    seq: int
    status: Status
    moved: int = 0
    debit: Key = (0, 0)
    credit: Key = (0, 0)


@dataclass
class Model:
    """Books of one shard. `accounts_max` is how many accounts there is room for."""

    accounts_max: int = 1 << 32
    accounts: dict[Key, ModelAccount] = field(default_factory=dict)
    transfers: dict[Key, tuple[Event, int] | None] = field(default_factory=dict)
    """Created ones with their timestamp; None for an id that failed for good."""
    requests: dict[Key, tuple[object, list[Result]]] = field(default_factory=dict)
    next_seq: int = 0
    entries: list[Decided] = field(default_factory=list)
    """Those of the last batch, its seal left out."""

    def decide(self, requests: Sequence[npt.NDArray[np.void]], now: int) -> list[Result]:
        """Decide one batch of whole requests (`COMMAND` rows each) at `now`, ns: a result for every command."""
        results: list[Result] = []
        self.entries = []
        for commands in requests:
            results.extend(self._request(commands, now))
        if self.entries:
            self.next_seq += 1  # the seal
        return results

    def _request(self, commands: npt.NDArray[np.void], now: int) -> list[Result]:
        kind = Kind(int(commands["kind"][0]))
        content = (kind, commands["event"].tobytes(), commands["metadata"].tobytes())
        events = list(_events(commands, kind))
        key = (events[0]["tenant"], events[0]["request_id"])
        if key in self.requests:
            first, results = self.requests[key]
            if first != content:
                return [Result(0, RequestStatus.IDEMPOTENCY_KEY_REUSED)] * len(events)
            return [Result(one.timestamp, one.status, True) for one in results]
        results = []
        for event in events:
            made = Decided(self.next_seq, TransferStatus.CREATED)
            timestamp = now + len(self.entries)
            if event["expires_at"] and now > event["expires_at"]:
                made.status = _EXPIRED[kind]
                results.append(Result(timestamp, made.status))
            elif kind is Kind.TRANSFER:
                results.append(self._transfer(event, timestamp, made))
            elif kind is Kind.ACCOUNT:
                results.append(self._account(event, timestamp, made))
            else:
                results.append(self._control(event, timestamp, made))
            self.entries.append(made)
            self.next_seq += 1
        self.requests[key] = (content, results)
        return results

    # Accounts

    def _account(self, a: Event, timestamp: int, made: Decided) -> Result:
        key = (a["tenant"], a["id"])
        made.status = status = self._account_status(a, self.accounts.get(key))
        if status is AccountStatus.EXISTS:
            return Result(self.accounts[key].created_at, status)
        if status is AccountStatus.CREATED:
            self.accounts[key] = ModelAccount(
                timestamp, a["ledger"], a["code"], a["flag_bits"], _user_data(a), previous=made.seq
            )
            made.debit = (1, NO_POSITION)
        return Result(timestamp, status)

    def _account_status(self, a: Event, there: ModelAccount | None) -> AccountStatus:
        if a["timestamp"]:
            return AccountStatus.TIMESTAMP_MUST_BE_ZERO
        if a["reserved"]:
            return AccountStatus.RESERVED_FIELD
        if a["flag_bits"] & ~_ACCOUNT_FLAGS_KNOWN:
            return AccountStatus.RESERVED_FLAG
        if a["id"] == 0:
            return AccountStatus.ID_MUST_NOT_BE_ZERO
        if a["id"] == U128_MAX:
            return AccountStatus.ID_MUST_NOT_BE_INT_MAX
        if there is not None:
            return _account_exists(a, there)
        if a["flag_bits"] & _BOTH_LIMITS == _BOTH_LIMITS:
            return AccountStatus.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        for name, status in (
            ("debits_pending", AccountStatus.DEBITS_PENDING_MUST_BE_ZERO),
            ("debits_posted", AccountStatus.DEBITS_POSTED_MUST_BE_ZERO),
            ("credits_pending", AccountStatus.CREDITS_PENDING_MUST_BE_ZERO),
            ("credits_posted", AccountStatus.CREDITS_POSTED_MUST_BE_ZERO),
        ):
            if a[name] != 0:
                return status
        if a["ledger"] == 0:
            return AccountStatus.LEDGER_MUST_NOT_BE_ZERO
        if a["code"] == 0:
            return AccountStatus.CODE_MUST_NOT_BE_ZERO
        if len(self.accounts) >= self.accounts_max:
            return AccountStatus.TOO_MANY_ACCOUNTS
        return AccountStatus.CREATED

    # Controls

    def _control(self, c: Event, timestamp: int, made: Decided) -> Result:
        account = self.accounts.get((c["tenant"], c["account_id"]))
        made.status = status = _control_status(c, account)
        if status is ControlStatus.APPLIED and account is not None:
            if c["opcode"] == Opcode.FREEZE:
                account.frozen |= c["value"]
            elif c["opcode"] == Opcode.UNFREEZE:
                account.frozen &= ~c["value"]
            else:
                account.credit_limit = c["value"]
            made.debit = account.numbered(made.seq)
        return Result(timestamp, status)

    # Transfers

    def _transfer(self, t: Event, timestamp: int, made: Decided) -> Result:
        key = (t["tenant"], t["id"])
        made.status = status = self._transfer_status(t, key)
        if status is TransferStatus.EXISTS:
            there = self.transfers[key]
            assert there is not None
            return Result(there[1], status)
        if status is TransferStatus.CREATED:
            debit = self.accounts[t["tenant"], t["debit_account_id"]]
            credit = self.accounts[t["tenant"], t["credit_account_id"]]
            debit.debits_posted += t["amount"]
            credit.credits_posted += t["amount"]
            made.moved, made.debit, made.credit = t["amount"], debit.numbered(made.seq), credit.numbered(made.seq)
            self.transfers[key] = (t, timestamp)
        elif transient(status):
            self.transfers[key] = None
        return Result(timestamp, status)

    def _transfer_status(self, t: Event, key: Key) -> TransferStatus:
        if t["timestamp"]:
            return TransferStatus.TIMESTAMP_MUST_BE_ZERO
        if t["flag_bits"]:
            return TransferStatus.RESERVED_FLAG
        if t["id"] == 0:
            return TransferStatus.ID_MUST_NOT_BE_ZERO
        if t["id"] == U128_MAX:
            return TransferStatus.ID_MUST_NOT_BE_INT_MAX
        if key in self.transfers:
            there = self.transfers[key]
            return TransferStatus.ID_ALREADY_FAILED if there is None else _transfer_exists(t, there[0])
        if (refused := _misshapen(t)) is not None:
            return refused
        debit = self.accounts.get((t["tenant"], t["debit_account_id"]))
        credit = self.accounts.get((t["tenant"], t["credit_account_id"]))
        if debit is None:
            return TransferStatus.DEBIT_ACCOUNT_NOT_FOUND
        if credit is None:
            return TransferStatus.CREDIT_ACCOUNT_NOT_FOUND
        return _between(t, debit, credit)


def _events(commands: npt.NDArray[np.void], kind: Kind) -> Iterator[Event]:
    rows = np.ascontiguousarray(commands).view(COMMAND).view(_ROWS[kind])
    names = rows.dtype.names or ()
    for row in rows.tolist():
        event = dict(zip(names, row, strict=True))
        for name, lo, hi in _HALVES[kind]:
            event[name] = event[lo] | event[hi] << 64
        yield event


def _user_data(event: Event) -> tuple[int, int, int]:
    return event["user_data_128"], event["user_data_64"], event["user_data_32"]


def _account_exists(a: Event, there: ModelAccount) -> AccountStatus:
    if a["flag_bits"] != there.flags:
        return AccountStatus.EXISTS_WITH_DIFFERENT_FLAGS
    asked, kept = _user_data(a), there.user_data
    if asked[0] != kept[0]:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if asked[1] != kept[1]:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if asked[2] != kept[2]:
        return AccountStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if a["ledger"] != there.ledger:
        return AccountStatus.EXISTS_WITH_DIFFERENT_LEDGER
    if a["code"] != there.code:
        return AccountStatus.EXISTS_WITH_DIFFERENT_CODE
    return AccountStatus.EXISTS


def _control_status(c: Event, account: ModelAccount | None) -> ControlStatus:
    reserved = c["flag_bits"] or any(np.asarray(c["reserved_64"]).tolist())
    if reserved or c["opcode"] not in (Opcode.FREEZE, Opcode.UNFREEZE, Opcode.CREDIT_LIMIT):
        return ControlStatus.RESERVED_FIELD
    if c["opcode"] != Opcode.CREDIT_LIMIT and c["value"] not in (Side.DEBITS, Side.CREDITS, Side.BOTH):
        return ControlStatus.RESERVED_FIELD
    return ControlStatus.ACCOUNT_NOT_FOUND if account is None else ControlStatus.APPLIED


def _transfer_exists(t: Event, there: Event) -> TransferStatus:
    for name, status in (
        ("flag_bits", TransferStatus.EXISTS_WITH_DIFFERENT_FLAGS),
        ("pending_id", TransferStatus.EXISTS_WITH_DIFFERENT_PENDING_ID),
        ("timeout", TransferStatus.EXISTS_WITH_DIFFERENT_TIMEOUT),
        ("debit_account_id", TransferStatus.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID),
        ("credit_account_id", TransferStatus.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID),
        ("amount", TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT),
        ("user_data_128", TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128),
        ("user_data_64", TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64),
        ("user_data_32", TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32),
        ("ledger", TransferStatus.EXISTS_WITH_DIFFERENT_LEDGER),
        ("code", TransferStatus.EXISTS_WITH_DIFFERENT_CODE),
    ):
        if t[name] != there[name]:
            return status
    return TransferStatus.EXISTS


def _misshapen(t: Event) -> TransferStatus | None:
    if t["debit_account_id"] == 0:
        return TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if t["debit_account_id"] == U128_MAX:
        return TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if t["credit_account_id"] == 0:
        return TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if t["credit_account_id"] == U128_MAX:
        return TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if t["debit_account_id"] == t["credit_account_id"]:
        return TransferStatus.ACCOUNTS_MUST_BE_DIFFERENT
    if t["pending_id"]:
        return TransferStatus.PENDING_ID_MUST_BE_ZERO
    if t["timeout"]:
        return TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
    if t["ledger"] == 0:
        return TransferStatus.LEDGER_MUST_NOT_BE_ZERO
    if t["code"] == 0:
        return TransferStatus.CODE_MUST_NOT_BE_ZERO
    return None


def _between(t: Event, debit: ModelAccount, credit: ModelAccount) -> TransferStatus:
    if debit.ledger != credit.ledger:
        return TransferStatus.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
    if t["ledger"] != debit.ledger:
        return TransferStatus.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
    if debit.has(AccountFlag.CLOSED):
        return TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED
    if credit.has(AccountFlag.CLOSED):
        return TransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED
    if debit.frozen & Side.DEBITS:
        return TransferStatus.DEBIT_ACCOUNT_FROZEN
    if credit.frozen & Side.CREDITS:
        return TransferStatus.CREDIT_ACCOUNT_FROZEN
    debits, credits = debit.debits_posted + t["amount"], credit.credits_posted + t["amount"]
    if debits > U128_MAX:
        return TransferStatus.OVERFLOWS_DEBITS_POSTED
    if credits > U128_MAX:
        return TransferStatus.OVERFLOWS_CREDITS_POSTED
    if debit.has(AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS) and debits > debit.credits_posted + debit.credit_limit:
        return TransferStatus.EXCEEDS_CREDITS
    if credit.has(AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS) and credits > credit.debits_posted:
        return TransferStatus.EXCEEDS_DEBITS
    return TransferStatus.CREATED
