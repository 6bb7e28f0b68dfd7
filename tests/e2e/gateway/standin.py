"""A small engine for tests of the gateway: real lanes, real sockets, and a ledger of dictionaries.

It keeps the promises that a gateway relies on (first results stand, fingerprints are compared, lanes in order) and
knows just enough of accounts to refuse. It can be told to be silent, and to lose pushes.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tallystick.answers import wire
from tallystick.answers.addresses import address
from tallystick.answers.engineend import EngineEnd
from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RESULT
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.intake.files import FileIntake
from tallystick.records.blocks import pack_positions
from tallystick.records.commands import (
    ACCOUNT,
    ACCOUNT_EVENT,
    CONTROL,
    TRANSFER,
    TRANSFER_EVENT,
    Kind,
    Opcode,
    fingerprint,
)
from tallystick.settings import Settings
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

CREATED = 0xFFFFFFFF


def wide(row: Any, name: str) -> int:
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


@dataclass
class Account:
    event: Any
    frozen: int = 0
    credit_limit: int = 0


@dataclass
class Books:
    """What the stand-in remembers; outlives the engine that uses it, as a journal would."""

    positions: dict[bytes, int] = field(default_factory=dict)
    requests: dict[tuple[int, int], tuple[bytes, bytes]] = field(default_factory=dict)
    accounts: dict[tuple[int, int], Account] = field(default_factory=dict)
    transfers: dict[tuple[int, int], Any] = field(default_factory=dict)
    commands: list[Any] = field(default_factory=list)
    kinds_in_order: list[int] = field(default_factory=list)
    now: int = 1_700_000_000_000_000_000


class StandIn:
    """Decides in a thread from `start` to `stop`."""

    def __init__(self, settings: Settings, books: Books | None = None, only_count: bool = False) -> None:
        self.books = books or Books()
        self.lose_push: Callable[[int], bool] = lambda number: False
        self.silent = False
        """Neither decides nor answers."""
        self.decided = 0
        self.asked: list[wire.Inbound] = []
        self._only_count = only_count
        self._settings = settings
        self._stop = False

    def start(self) -> "StandIn":
        settings = self._settings
        clock = SystemClock()
        self.intake = FileIntake(
            settings.path("intake"), SystemDisk(), clock, os.urandom, settings.lane_segment_bytes, 86_400.0
        )
        self.end = EngineEnd(address(settings.data))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop = True
        self.end.wake()
        self._thread.join(10)
        self.end.close()
        self.intake.close()

    def _run(self) -> None:
        while not self._stop:
            messages = self.end.receive(20)
            if self.silent:
                continue
            for block in self.intake.receive(self.books.positions, 1000, 8190):
                rows = self._decide(block.commands)
                lane, number = block.header.lane, block.header.first
                self.books.positions[lane] = number
                if not self.lose_push(number):
                    self.end.publish(lane, wire.BlockResults(number, rows.tobytes(), number))
            for message in messages:
                self._reply(message)

    def _decide(self, commands: Any) -> Any:
        results = np.zeros(len(commands), RESULT)
        self.decided += len(commands)
        if self._only_count:
            self.books.now += 1
            results["timestamp"], results["status"] = self.books.now, CREATED
            return results
        at = 0
        while at < len(commands):
            count = int(commands[at]["count"])
            results[at : at + count] = self._request(commands[at : at + count])
            at += count
        return results

    def _request(self, commands: Any) -> Any:
        first = commands[0]
        key = (int(first["tenant"]), wide(first, "request_id"))
        digest = first["fingerprint"].tobytes()
        metadata = commands["metadata"].tobytes()
        whole = fingerprint(
            int(first["kind"]), len(commands), commands["event"].tobytes(), metadata if any(metadata) else b""
        )
        assert digest == whole, "the gateway fingerprints what it sends"
        rows = np.zeros(len(commands), RESULT)
        known = self.books.requests.get(key)
        if known is not None and known[0] != digest:
            rows["status"] = RequestStatus.IDEMPOTENCY_KEY_REUSED
            return rows
        if known is not None:
            rows = np.frombuffer(known[1], RESULT).copy()
            rows["replayed"] = 1
            return rows
        for index, command in enumerate(commands):
            self.books.commands.append(command.copy())
            self.books.now += 1
            rows[index] = (self.books.now, self._command(key[0], command, commands, index), 0)
        self.books.requests[key] = (digest, rows.tobytes())
        return rows

    def _command(self, tenant: int, command: Any, commands: Any, index: int) -> int:
        books = self.books
        books.kinds_in_order.append(int(command["kind"]))
        if command["expires_at"] and int(command["expires_at"]) < books.now:
            return TransferStatus.REQUEST_EXPIRED
        if command["kind"] == Kind.ACCOUNT:
            event = commands.view(ACCOUNT)[index]
            if (tenant, wide(event, "id")) in books.accounts:
                return AccountStatus.EXISTS
            row = np.zeros((), ACCOUNT_EVENT)
            for name in ACCOUNT_EVENT.names or ():
                row[name] = event[name]
            row["timestamp"] = books.now
            books.accounts[(tenant, wide(event, "id"))] = Account(row)
            return CREATED
        if command["kind"] == Kind.CONTROL:
            event = commands.view(CONTROL)[index]
            if event["opcode"] in (Opcode.APPROVE, Opcode.REJECT):
                known = (tenant, wide(event, "value")) in books.transfers
                return ControlStatus.APPLIED if known else ControlStatus.PENDING_TRANSFER_NOT_FOUND
            account = books.accounts.get((tenant, wide(event, "account_id")))
            if account is None:
                return ControlStatus.ACCOUNT_NOT_FOUND
            if event["opcode"] == Opcode.CREDIT_LIMIT:
                account.credit_limit = wide(event, "value")
            elif event["opcode"] == Opcode.FREEZE:
                account.frozen |= wide(event, "value")
            else:
                account.frozen &= ~wide(event, "value")
            return ControlStatus.APPLIED
        return self._transfer(tenant, commands.view(TRANSFER)[index])

    def _transfer(self, tenant: int, event: Any) -> int:
        books = self.books
        if (tenant, wide(event, "id")) in books.transfers:
            return TransferStatus.EXISTS
        debit = books.accounts.get((tenant, wide(event, "debit_account_id")))
        credit = books.accounts.get((tenant, wide(event, "credit_account_id")))
        if debit is None:
            return TransferStatus.DEBIT_ACCOUNT_NOT_FOUND
        if credit is None:
            return TransferStatus.CREDIT_ACCOUNT_NOT_FOUND
        if debit.frozen & 1:
            return TransferStatus.DEBIT_ACCOUNT_FROZEN
        row = np.zeros((), TRANSFER_EVENT)
        for name in TRANSFER_EVENT.names or ():
            row[name] = event[name]
        row["timestamp"] = books.now
        books.transfers[(tenant, wide(event, "id"))] = row
        return CREATED

    def _reply(self, message: wire.Inbound) -> None:
        if isinstance(message, wire.Doorbell):
            return
        self.asked.append(message)
        status, payload = 0, b""
        books = self.books
        if isinstance(message, wire.PositionsQuery):
            payload = pack_positions(books.positions)
        elif isinstance(message, wire.ResultsQuery):
            known = books.requests.get((message.tenant, int.from_bytes(message.request_id, "little")))
            if known is None:
                status = RequestStatus.NOT_DECIDED
            elif message.fingerprint and message.fingerprint != known[0]:
                status = RequestStatus.IDEMPOTENCY_KEY_REUSED
            else:
                payload = known[1]
        else:
            ids = [int(low) | int(high) << 64 for low, high in wire.unpack_ids(message.ids)]
            if isinstance(message, wire.AccountsQuery):
                for account in filter(None, (books.accounts.get((message.tenant, number)) for number in ids)):
                    extra = np.zeros((), FOUND_ACCOUNT_EXTRA)
                    extra["frozen"] = account.frozen
                    extra["credit_limit_lo"] = account.credit_limit & 0xFFFFFFFFFFFFFFFF
                    extra["credit_limit_hi"] = account.credit_limit >> 64
                    payload += account.event.tobytes() + extra.tobytes()
            else:
                found = (books.transfers.get((message.tenant, number)) for number in ids)
                payload = b"".join(row.tobytes() for row in found if row is not None)
        self.end.publish(message.client, wire.Reply(message.query, status, payload, 1))


def main() -> None:
    """For measurements: decide all as created, in a process of its own, until told to stop."""
    import signal
    import sys

    engine = StandIn(Settings(data=Path(sys.argv[1])), only_count=True).start()  # type: ignore[call-arg]
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    engine.stop()


if __name__ == "__main__":
    main()
