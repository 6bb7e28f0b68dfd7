"""Compiles everything before money depends on it: a signature met first on the live path costs seconds.

It drives the real steps on small books of its own, with every kind of command, new and repeated, and replays what
came out. After that compilation is switched off, so that a signature nobody warmed fails in tests, not in service.
"""

import threading

import numpy as np

from tallystick.engine import lookups
from tallystick.engine.deciding import Decider
from tallystick.engine.drafts import Delivery
from tallystick.engine.endings import Endings
from tallystick.engine.idindex import IdIndex
from tallystick.engine.recovery import recover
from tallystick.engine.snapshot_files import MemorySnapshots
from tallystick.engine.snapshots import Cadence, Keeper
from tallystick.engine.writer import Writer
from tallystick.journal.memory import MemoryJournal, MemoryJournalReader
from tallystick.ledger.books import Bookkeeper, migrate
from tallystick.ledger.compiled import stop_compiling
from tallystick.records.commands import (
    ACCOUNT_EVENT,
    CONTROL_EVENT,
    TRANSFER_EVENT,
    Kind,
    Opcode,
    Side,
    TransferFlag,
    frame,
)

TENANT = 1
_warming = threading.Lock()
_warmed = False


class _Silent:
    """A gate for answers nobody waits for."""

    def decided(self, answers: object, position: int) -> None:
        pass

    def durable(self, positions: object) -> None:
        pass


def warm() -> None:
    """Compile, or load, every kernel; once a process."""
    global _warmed
    with _warming:
        if not _warmed:
            _drive()
            stop_compiling()
            _warmed = True


def _drive() -> None:
    migrate(np.zeros(16, "<u8"), np.zeros(32, "<u8"), 0, 16)  # else met when the table of accounts grows
    journal, snapshots = MemoryJournal(), MemorySnapshots()
    keeper = _keeper(journal, snapshots)
    decider = _decider(journal, keeper)
    writer = Writer(journal, _Silent(), lambda count: bytes([1] * count))
    now = 1
    for _ in range(2):  # the second time all are repeats
        for delivery in _deliveries():
            writer.step(decider.decide([delivery], now))
            now += 10
    for request in range(20, 60):  # the window of 16 ids turns over, and runs are made
        writer.step(decider.decide([_transfer(request, request)], now))
        now += 10
        while decider.transfer_index.step() or decider.request_index.step() or keeper.step():
            pass
    writer.step(decider.decide([_transfer(61, 20), _transfer(62, 62), _transfer(62, 62)], now, quarantine=True))
    writer.step(decider.decide([_transfer(63, 63, TransferFlag.PENDING, timeout_s=1)], now + 10))
    writer.step(decider.decide([], now + 2_000_000_000))  # it expires
    decider.bookkeeper.account(TENANT, 1)
    lookups.accounts(decider, TENANT, [1, 9])
    lookups.transfers(decider, TENANT, [20, 99])
    lookups.results(decider, TENANT, 20, b"")
    _decider(journal)
    _decider(journal, _keeper(journal, snapshots))


def _decider(journal: MemoryJournal, keeper: Keeper | None = None) -> Decider:
    key = np.arange(1, 5, dtype="<u8")
    transfers, requests = IdIndex(key, 16), IdIndex(key, 16)
    books = Bookkeeper(64, key, key, transfers.current, requests.current)
    return recover(journal, books, transfers, requests, keeper=keeper)


def _keeper(journal: MemoryJournal, snapshots: MemorySnapshots) -> Keeper:
    return Keeper(snapshots, MemoryJournalReader(journal.kept), Endings, Cadence(1, 1, 1))


def _deliveries() -> list[Delivery]:
    accounts = np.zeros(2, ACCOUNT_EVENT)
    accounts["id_lo"], accounts["ledger"], accounts["code"] = (1, 2), 1, 1
    controls = np.zeros(1, CONTROL_EVENT)
    controls["account_id_lo"], controls["opcode"], controls["value_lo"] = 2, Opcode.FREEZE, Side.DEBITS
    return [
        Delivery(frame(accounts.tobytes(), Kind.ACCOUNT, TENANT, 10, 1), b"\1" * 16, 1),
        Delivery(frame(controls.tobytes(), Kind.CONTROL, TENANT, 11, 1), b"\1" * 16, 2),
        _transfer(12, 3),
    ]


def _transfer(request: int, transfer: int, flag_bits: int = 0, timeout_s: int = 0) -> Delivery:
    event = np.zeros(1, TRANSFER_EVENT)
    event["flag_bits"], event["timeout"] = flag_bits, timeout_s
    event["id_lo"], event["debit_account_id_lo"], event["credit_account_id_lo"] = transfer, 1, 2
    event["amount_lo"], event["ledger"], event["code"] = 1, 1, 1
    return Delivery(frame(event.tobytes(), Kind.TRANSFER, TENANT, request, 1))
