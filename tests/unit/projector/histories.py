"""Journals written by hand, entry by entry: histories that a ledger could have decided, without one.

Entries follow docs/records.md. The writer knows just enough of a ledger to write what fits together.
"""

import random

import numpy as np

from tallystick.journal.memory import KeptBlocks, MemoryJournal
from tallystick.records import details, entries
from tallystick.records.blocks import entry_block
from tallystick.records.commands import AccountFlag, Kind, Opcode, TransferFlag
from tallystick.records.details import DETAILS
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, ENTRY, LEAF_SIZE, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK, TransferStatus

NOW = 1_800_000_000_000_000_000
LOW = 0xFFFFFFFFFFFFFFFF
TENANTS = (1, 2, 2**64 - 3)
U64S = (0, 0, 7, 2**63, 2**64 - 1)
U128S = (0, 0, 9, 2**64, 2**127 + 1)


def put(row, name, value):
    if f"{name}_lo" in row.dtype.names:
        row[f"{name}_lo"], row[f"{name}_hi"] = value & LOW, value >> 64
    else:
        row[name] = value


class Writer:
    """Appends blocks to a journal in memory. Each call of a verb writes one entry of the block at hand."""

    def __init__(self, kept=None):
        self.journal = MemoryJournal(kept=kept or KeptBlocks())
        self.now = NOW
        self._waiting = []
        self._lines = {}  # by tenant and account, how many
        self._sides = {}  # by seq of a transfer, its two accounts

    @property
    def next_seq(self):
        return self.journal.end() + len(self._waiting)

    def entry(self, kind, tenant=1, status=STORED_MASK, pending_seq=0, moved=0, **fields):
        """Any entry; returns its seq. Fields are those of the event, or of the entry."""
        layout = {Kind.ACCOUNT: ACCOUNT_WORK, Kind.CONTROL: CONTROL_WORK}.get(kind, TRANSFER_WORK)
        rows, private = np.zeros(1, ENTRY), np.zeros(1, DETAILS)
        row = rows.view(layout)[0]
        self.now += 3
        rows["length"], rows["version"], rows["kind"], rows["status"] = LEAF_SIZE, entries.VERSION, kind, status
        fields.setdefault("flag_bits_effective", fields.get("flag_bits", 0))
        fields.setdefault("timeout_effective", fields.get("timeout", 0))
        for name, value in {"seq": self.next_seq, "timestamp": self.now, "moved": moved, "tenant": tenant}.items():
            put(row, name, value)
        for name, value in fields.items():
            put(row, name, value)
        private["pending_seq"], private["version"] = pending_seq, details.VERSION
        if status == STORED_MASK:
            self._number(private, kind, tenant, pending_seq, fields)
        self._waiting.append((rows, private))
        return self.next_seq - 1

    def _number(self, private, kind, tenant, pending_seq, fields):
        """Number the entry in its accounts, as the ledger does."""
        if kind == Kind.ACCOUNT:
            sides = (fields["id"],)
        elif pending_seq:
            sides = self._sides.get(pending_seq, ())
        elif kind == Kind.TRANSFER:
            sides = (fields["debit_account_id"], fields["credit_account_id"])
        else:
            sides = (fields.get("account_id", 0),)
        self._sides[self.next_seq] = sides
        for name, number in zip(("debit_sequence", "credit_sequence"), sides, strict=False):
            private[name] = self._lines[tenant, number] = self._lines.get((tenant, number), 0) + 1

    def account(self, number, tenant=1, flags=0, **fields):
        return self.entry(Kind.ACCOUNT, tenant, id=number, **{"ledger": 1, "code": 1, "flag_bits": flags, **fields})

    def transfer(self, number, debit, credit, amount, tenant=1, flags=0, moved=None, **fields):
        return self.entry(
            Kind.TRANSFER,
            tenant,
            moved=amount if moved is None else moved,
            id=number,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=amount,
            **{"ledger": 1, "code": 1, "flag_bits": flags, **fields},
        )

    def control(self, opcode, number, value, tenant=1, **fields):
        return self.entry(Kind.CONTROL, tenant, opcode=opcode, account_id=number, value=value, **fields)

    def seal(self):
        """End the block: its entries are durable now."""
        rows, private = np.zeros(1, ENTRY), np.zeros(1, DETAILS)
        rows["length"], rows["version"], rows["kind"] = LEAF_SIZE, entries.VERSION, Kind.SEAL
        rows["seq"], private["version"] = self.next_seq, details.VERSION
        whole = [*self._waiting, (rows, private)]
        tail = self.journal.tail()
        _, block = entry_block(
            np.concatenate([row.view(np.uint8) for row, _ in whole]).view(ENTRY),
            np.concatenate([row.view(np.uint8) for _, row in whole]).view(DETAILS),
            {},
            tail.next_seq,
            tail.hash,
            self.journal.epoch,
        )
        self.journal.append(block, tail.next_seq, self.journal.epoch)
        self._waiting = []


class RandomHistory:
    """A seeded history of all that moves money or state: few accounts, few values, so that filters meet."""

    def __init__(self, seed, steps, accounts=6):
        self.writer = Writer()
        self.random = random.Random(seed)
        self.accounts = {tenant: [] for tenant in TENANTS}
        self.open = {tenant: [] for tenant in TENANTS}
        self.ids = 1000
        for tenant in TENANTS:
            for _ in range(accounts):
                self._account(tenant)
        for _ in range(steps):
            self._step(self.random.choice(TENANTS))
            if self.random.random() < 0.15:
                self.writer.seal()
        self.writer.seal()

    def _step(self, tenant):
        chance = self.random.random()
        if chance < 0.03:
            self._account(tenant)
        elif chance < 0.08:
            opcode = self.random.choice((Opcode.FREEZE, Opcode.UNFREEZE, Opcode.CREDIT_LIMIT))
            value = self.random.choice(U128S) if opcode == Opcode.CREDIT_LIMIT else self.random.choice((1, 2, 3))
            self.writer.control(opcode, self.random.choice(self.accounts[tenant]), value, tenant)
        elif chance < 0.15:
            self.writer.transfer(7, 1, 2, 5, tenant, status=int(TransferStatus.EXCEEDS_CREDITS), moved=0)
        elif chance < 0.45 and self.open[tenant]:
            self._resolve(tenant)
        else:
            self._transfer(tenant)

    def _own(self, inherit=False):
        pick = self.random.choice
        fields = {
            "user_data_128": pick(U128S),
            "user_data_64": pick(U64S),
            "user_data_32": pick((0, 0, 3, 2**32 - 1)),
            "code": pick((1, 2, 65535)),
        }
        return {**fields, "code": 0} if inherit else fields

    def _time(self):
        """Now and then of an import: later than all before, earlier than now."""
        return {"event_timestamp": self.writer.now + 1} if self.random.random() < 0.3 else {}

    def _account(self, tenant):
        self.ids += 1
        number = self.ids if self.random.random() < 0.7 else self.ids << 64
        time = self._time()
        flags = self.random.choice((0, AccountFlag.HISTORY, AccountFlag.HISTORY, AccountFlag.CLOSED))
        flags |= AccountFlag.IMPORTED if time else 0
        self.writer.account(number, tenant, int(flags), ledger=self.random.choice((1, 2)), **{**self._own(), **time})
        self.accounts[tenant].append(number)

    def _amount(self):
        return self.random.choice((0, 1, 5, 2**32 - 1, 2**64 - 1, 2**64, 2**100))

    def _transfer(self, tenant):
        self.ids += 1
        time = self._time()
        debit, credit = self.random.sample(self.accounts[tenant], 2)
        amount, asked = self._amount(), TransferFlag.IMPORTED if time else TransferFlag(0)
        effective, timeout = asked, 0
        if self.random.random() < 0.5:
            asked |= TransferFlag.PENDING
            if self.random.random() < 0.2:
                asked |= self.random.choice((TransferFlag.CLOSING_DEBIT, TransferFlag.CLOSING_CREDIT))
            effective, timeout = asked, self.random.choice((0, 60))
        elif self.random.random() < 0.1:
            effective, timeout = asked | TransferFlag.PENDING, 900  # under review
        seq = self.writer.transfer(
            self.ids,
            debit,
            credit,
            amount + (3 if self.random.random() < 0.1 else 0),  # more was asked than moved, as of a balancing one
            tenant,
            int(asked),
            moved=amount,
            flag_bits_effective=int(effective),
            timeout_effective=timeout,
            ledger=self.random.choice((1, 2)),
            **{**self._own(), **time},
        )
        if effective & TransferFlag.PENDING:
            asked_as_pending = bool(asked & TransferFlag.PENDING)
            self.open[tenant].append((seq, self.ids, debit, credit, amount, asked_as_pending))

    def _resolve(self, tenant):
        chosen = self.open[tenant].pop(self.random.randrange(len(self.open[tenant])))
        seq, number, debit, credit, amount, asked_as_pending = chosen
        how = self.random.choice(("post", "post", "void", "expire", "approve", "reject"))
        if how == "expire":
            self.writer.entry(
                Kind.EXPIRY,
                tenant,
                pending_seq=seq,
                moved=amount,
                pending_id=number,
                debit_account_id=debit,
                credit_account_id=credit,
            )
        elif how in ("approve", "reject"):
            opcode = Opcode.APPROVE if how == "approve" else Opcode.REJECT
            stays = opcode == Opcode.APPROVE and asked_as_pending
            self.writer.control(opcode, 0, number, tenant, pending_seq=seq, moved=0 if stays else amount)
            if stays:
                self.open[tenant].append(chosen)
        else:
            self.ids += 1
            moved = self.random.choice((0, amount // 2, amount)) if how == "post" else amount
            flag = TransferFlag.POST_PENDING_TRANSFER if how == "post" else TransferFlag.VOID_PENDING_TRANSFER
            names = (debit, credit) if self.random.random() < 0.5 else (0, 0)
            self.writer.transfer(
                self.ids,
                *names,
                moved,
                tenant,
                int(flag),
                pending_id=number,
                pending_seq=seq,
                ledger=0,
                **self._own(inherit=True),
            )


assert WORK.itemsize == TRANSFER_WORK.itemsize
