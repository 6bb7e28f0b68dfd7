"""An honest platform in miniature: the model decides, a journal is kept, clients are told. Tests then falsify it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tallystick import statuses
from tallystick.lab.history import shown
from tallystick.lab.history.calls import (
    Block,
    LookUpAccounts,
    LookUpRequest,
    LookUpTransfers,
    ReadBlock,
    Submit,
    Told,
)
from tallystick.lab.history.check import check
from tallystick.lab.history.faults import Verdict
from tallystick.lab.history.file import History
from tallystick.lab.model import Model, Result
from tallystick.records import objects
from tallystick.records.commands import COMMAND, Kind, Opcode, Side, TransferFlag, fingerprint, frame
from tallystick.records.details import DETAILS
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import LENGTH_BYTESWAPPED, SEAL_EVENT, VERSION, WORK
from tallystick.records.objects import Account, Control, Transfer
from tallystick.records.results import RESULT

TENANT = 1
WORLD, ALICE, SHOP = 1, 2, 3


def ids(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(16, "little") for number in numbers)


def transfer(id: int, debit: int, credit: int, amount: int, **more: Any) -> bytes:
    wanted = {"ledger": 1, "code": 1, **more}
    return objects.pack_transfer(
        Transfer(id=id, debit_account_id=debit, credit_account_id=credit, amount=amount, **wanted)
    )


def pending(id: int, debit: int, credit: int, amount: int, timeout: int = 0) -> bytes:
    return transfer(id, debit, credit, amount, flags=TransferFlag.PENDING, timeout=timeout)


def post(id: int, pending_id: int, amount: int) -> bytes:
    flags = TransferFlag.POST_PENDING_TRANSFER
    return transfer(id, 0, 0, amount, pending_id=pending_id, flags=flags, ledger=0, code=0)


def void(id: int, pending_id: int) -> bytes:
    flags = TransferFlag.VOID_PENDING_TRANSFER
    return transfer(id, 0, 0, 0, pending_id=pending_id, flags=flags, ledger=0, code=0)


def freeze(account: int) -> bytes:
    return objects.pack_control(Control(account_id=account, opcode=Opcode.FREEZE, value=Side.DEBITS))


@dataclass
class Story:
    """Time is a number of steps; each `asks` is one block, unless blocks are put together by `asks_together`."""

    model: Model = field(default_factory=Model)
    history: History = field(default_factory=History)
    step: int = 0
    seq: int = 0
    now: int = 1_000_000

    def __post_init__(self) -> None:
        accounts = [objects.pack_account(Account(id=id, ledger=1, code=1)) for id in (WORLD, ALICE, SHOP)]
        self.asks(100, Kind.ACCOUNT, b"".join(accounts))

    def tick(self) -> int:
        self.step += 1
        return self.step

    def asks(self, request_id: int, kind: Kind, events: bytes, told: Told = Told.DECIDED) -> Submit:
        """A request that is sent, decided in a block of its own, and answered."""
        (call,) = self.asks_together((request_id, kind, events), told=told)
        return call

    def asks_together(self, *asked: tuple[int, Kind, bytes], told: Told = Told.DECIDED) -> list[Submit]:
        """Requests at the same time, decided in one block."""
        start = self.tick()
        commands = [frame(events, kind, TENANT, request_id, self.now) for request_id, kind, events in asked]
        results = self.block(commands)
        calls = []
        for (request_id, kind, events), rows in zip(asked, commands, strict=True):
            mine, results = results[: len(rows)], results[len(rows) :]
            calls.append(self.submit(start, request_id, kind, events, told, packed(mine)))
        return calls

    def submit(self, start: int, request_id: int, kind: Kind, events: bytes, told: Told, rows: bytes = b"") -> Submit:
        call = Submit(
            start_ns=start,
            end_ns=self.tick(),
            told=told,
            rows=rows if told is Told.DECIDED else b"",
            tenant=TENANT,
            request_id=request_id,
            kind=kind,
            events=events,
        )
        self.history.add(call)
        return call

    def block(self, commands: list[Any]) -> list[Result]:
        """Decide them at the next moment, and keep it."""
        self.now += 1_000
        results = self.model.decide(commands, self.now)
        made = self.model.entries
        entries, details = np.zeros(len(made) + 1, WORK), np.zeros(len(made) + 1, DETAILS)
        entries["length"], entries["version"], details["version"] = LENGTH_BYTESWAPPED, VERSION, DETAILS_VERSION
        entries["seq"] = np.arange(self.seq, self.seq + len(entries))
        entries["timestamp"][:-1] = self.now + np.arange(len(made))
        expired = len(made) - sum(map(len, commands))
        for entry, each in zip(entries[:expired], made, strict=False):
            self.expire(entry, each.pending_seq)
        asked = np.concatenate([np.zeros(0, COMMAND), *commands])
        for name in ("event", "kind", "tenant", "request_id_lo", "request_id_hi", "submitted_at", "metadata", "index"):
            entries[name][expired:-1] = asked[name]
        entries["status"][:-1] = [statuses.stored(each.status) for each in made]
        entries["moved_lo"][:-1] = [each.moved for each in made]
        entries["flag_bits_effective"][:-1] = [each.flags for each in made]
        entries["timeout_effective"][:-1] = [each.timeout for each in made]
        first = asked["index"] == 0
        details["fingerprint"][expired:-1][first] = asked["fingerprint"][first]
        details["count"][expired:-1][first] = asked["count"][first]
        self.keep(entries, details)
        return results

    def expire(self, entry: Any, pending_seq: int) -> None:
        """Fill in the entry of a pending transfer that expires."""
        gone = next(each for each in self.model.transfers.values() if each is not None and each.seq == pending_seq)
        numbers = {"pending_id": gone.asked["id"]}
        numbers |= {name: getattr(gone, name) for name in ("debit_account_id", "credit_account_id", "ledger", "code")}
        event = Transfer(id=0, amount=0, **numbers)
        entry["kind"], entry["tenant"] = Kind.EXPIRY, TENANT
        entry["event"] = np.frombuffer(objects.pack_transfer(event), "<u8")

    def passes(self, seconds: int) -> None:
        """Time goes by; what is due expires, in a block of its own."""
        self.now += seconds * 1_000_000_000
        self.block([])

    def keep(self, entries: Any, details: Any) -> None:
        """Seal the rows and append them to the journal."""
        entries["kind"][-1] = Kind.SEAL
        seal = np.zeros(1, SEAL_EVENT)
        seal["count"] = len(entries) - 1
        seal["details_hash"] = np.frombuffer(hashlib.sha256(details.tobytes()).digest(), "<u8")
        entries["event"][-1] = np.frombuffer(seal.tobytes(), "<u8")
        digest = hashlib.sha256(entries.tobytes()).digest()
        self.history.add(Block(first=self.seq, hash=digest, entries=entries.tobytes(), details=details.tobytes()))
        self.seq += len(entries)

    def retries(self, call: Submit, rows: bytes | None = None) -> Submit:
        """The same request once more, answered as a repeat."""
        again = np.frombuffer(call.rows if rows is None else rows, RESULT).copy()
        again["replayed"] = 1
        return self.submit(self.tick(), call.request_id, Kind(call.kind), call.events, Told.DECIDED, again.tobytes())

    def looks_up(self, *accounts: int) -> LookUpAccounts:
        rows = [shown.account(self.model, (TENANT, each)) or b"" for each in accounts]
        call = LookUpAccounts(
            start_ns=self.tick(),
            end_ns=self.tick(),
            told=Told.SHOWN,
            rows=b"".join(rows),
            tenant=TENANT,
            ids=ids(*accounts),
        )
        self.history.add(call)
        return call

    def looks_up_transfers(self, *transfers: int) -> LookUpTransfers:
        rows = [shown.transfer(self.model, (TENANT, each)) or b"" for each in transfers]
        call = LookUpTransfers(
            start_ns=self.tick(),
            end_ns=self.tick(),
            told=Told.SHOWN,
            rows=b"".join(rows),
            tenant=TENANT,
            ids=ids(*transfers),
        )
        self.history.add(call)
        return call

    def asks_about(self, call: Submit, told: Told, rows: bytes = b"") -> LookUpRequest:
        """What became of it?"""
        found = LookUpRequest(
            start_ns=self.tick(),
            end_ns=self.tick(),
            told=told,
            rows=rows,
            tenant=TENANT,
            request_id=call.request_id,
            fingerprint=digest_of(call),
        )
        self.history.add(found)
        return found

    def reads(self) -> ReadBlock:
        """A follower reads the newest block."""
        block = self.history.blocks[-1]
        read = ReadBlock(start_ns=self.tick(), end_ns=self.tick(), first=block.first, hash=block.hash)
        self.history.add(read)
        return read

    def replace(self, call: Any, **changes: Any) -> None:
        """Falsify a call."""
        at = next(number for number, each in enumerate(self.history.calls) if each is call)
        self.history.calls[at] = msgspec.structs.replace(call, **changes)

    def verdict(self) -> Verdict:
        return check(self.history)


def digest_of(call: Submit) -> bytes:
    return fingerprint(call.kind, len(call.events) // 128, call.events)


def packed(results: Sequence[Result]) -> bytes:
    """Results as a client gets them."""
    rows = np.zeros(len(results), RESULT)
    for row, result in zip(rows, results, strict=True):
        row["timestamp"], row["status"], row["replayed"] = result.timestamp, result.status, result.replayed
    return rows.tobytes()
