"""The answers to every query, by reading the whole journal entry by entry with plain integers: the yardstick.

It shares no code with the projector. It needs a journal in which every entry fits.
"""

from tallystick.records.changes import AccountBalance, ChangeEvent, ChangeEventType
from tallystick.records.commands import AccountFlag, Kind, Opcode, Side, TransferFlag
from tallystick.records.endings import Ending
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, TRANSFER_WORK
from tallystick.records.filters import AccountFilterFlag
from tallystick.records.objects import Account, Transfer
from tallystick.statuses import STORED_MASK

OWN = ("user_data_128", "user_data_64", "user_data_32")
LAYOUTS = {Kind.ACCOUNT: ACCOUNT_WORK, Kind.CONTROL: CONTROL_WORK}


def value(row, name):
    if f"{name}_lo" in row.dtype.names:
        return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64
    return int(row[name])


class Folded:
    """The journal, understood."""

    def __init__(self, journal):
        self.accounts = {}
        self.transfers = {}  # by seq
        self.tenants = {}  # of each transfer, by seq
        self.endings = {}
        self.asked_as_pending = {}
        self.balances = []  # (tenant, account id, seq of the transfer, AccountBalance)
        self.changes = []  # (tenant, ChangeEvent)
        for block in journal.read(0) if journal.end() else ():
            for at in range(len(block.entries)):
                self._entry(block.entries[at : at + 1], int(block.details[at]["pending_seq"]))

    def _entry(self, rows, pending_seq):
        kind = int(rows["kind"][0])
        if kind == Kind.SEAL or int(rows["status"][0]) != STORED_MASK:
            return
        row = rows.view(LAYOUTS.get(kind, TRANSFER_WORK))[0]
        tenant = value(row, "tenant")
        if kind == Kind.ACCOUNT:
            self._account(tenant, row)
        elif kind == Kind.TRANSFER:
            self._transfer(tenant, row, pending_seq)
        elif kind == Kind.EXPIRY:
            self._resolve(tenant, row, pending_seq, ChangeEventType.TWO_PHASE_EXPIRED, Ending.EXPIRED)
        elif row["opcode"] == Opcode.APPROVE:
            self._resolve(tenant, row, pending_seq, ChangeEventType.TWO_PHASE_POSTED, Ending.POSTED)
        elif row["opcode"] == Opcode.REJECT:
            self._resolve(tenant, row, pending_seq, ChangeEventType.TWO_PHASE_VOIDED, Ending.VOIDED)
        else:
            self._control(self.accounts[tenant, value(row, "account_id")], row)

    def _account(self, tenant, row):
        flags = AccountFlag(int(row["flag_bits"]))
        self.accounts[tenant, value(row, "id")] = {
            **{name: value(row, name) for name in ("id", "ledger", "code", *OWN)},
            **dict.fromkeys(("debits_pending", "debits_posted", "credits_pending", "credits_posted"), 0),
            "flags": flags,
            "timestamp": value(row, "event_timestamp" if flags & AccountFlag.IMPORTED else "timestamp"),
            "credit_limit": 0,
            "frozen": Side(0),
        }

    def _control(self, account, row):
        if row["opcode"] == Opcode.FREEZE:
            account["frozen"] |= Side(value(row, "value"))
        elif row["opcode"] == Opcode.UNFREEZE:
            account["frozen"] &= ~Side(value(row, "value"))
        else:
            account["credit_limit"] = value(row, "value")

    def _transfer(self, tenant, row, pending_seq):
        flags = TransferFlag(int(row["flag_bits_effective"]))
        made = {
            name: value(row, name) for name in ("id", "debit_account_id", "credit_account_id", "ledger", "code", *OWN)
        }
        made["pending_id"] = 0
        pending = None
        if flags & (TransferFlag.POST_PENDING_TRANSFER | TransferFlag.VOID_PENDING_TRANSFER):
            pending = self.transfers[pending_seq]
            made = {name: number or getattr(pending, name) for name, number in made.items()}
            made["pending_id"] = pending.id
        transfer = Transfer(
            **made,
            amount=value(row, "moved"),
            timeout=int(row["timeout_effective"]),
            flags=flags,
            timestamp=value(row, "event_timestamp" if flags & TransferFlag.IMPORTED else "timestamp"),
        )
        seq = int(row["seq"])
        self.transfers[seq], self.tenants[seq] = transfer, tenant
        kind = ChangeEventType.SINGLE_PHASE
        if flags & TransferFlag.PENDING:
            kind = ChangeEventType.TWO_PHASE_PENDING
            self.endings[seq] = Ending.OPEN
            self.asked_as_pending[seq] = bool(int(row["flag_bits"]) & TransferFlag.PENDING)
        elif flags & TransferFlag.POST_PENDING_TRANSFER:
            kind, self.endings[pending_seq] = ChangeEventType.TWO_PHASE_POSTED, Ending.POSTED
        elif flags & TransferFlag.VOID_PENDING_TRANSFER:
            kind, self.endings[pending_seq] = ChangeEventType.TWO_PHASE_VOIDED, Ending.VOIDED
        self._move(tenant, kind, transfer, pending, transfer.amount)
        self._change(tenant, int(row["timestamp"]), kind, transfer)
        for number in (transfer.debit_account_id, transfer.credit_account_id):
            account = self.accounts[tenant, number]
            if account["flags"] & AccountFlag.HISTORY:
                shown = {name: account[name] for name in AccountBalance.__struct_fields__ if name != "timestamp"}
                balance = AccountBalance(timestamp=transfer.timestamp, **shown)
                self.balances.append((tenant, number, seq, balance))

    def _resolve(self, tenant, row, pending_seq, kind, ending):
        assert self.endings[pending_seq] == Ending.OPEN
        if ending == Ending.POSTED and self.asked_as_pending[pending_seq]:
            return  # approved: it is an ordinary pending transfer from now on
        pending = self.transfers[pending_seq]
        self.endings[pending_seq] = ending
        self._move(tenant, kind, pending, pending, value(row, "moved"))
        self._change(tenant, int(row["timestamp"]), kind, pending)

    def _move(self, tenant, kind, transfer, pending, moved):
        debit = self.accounts[tenant, transfer.debit_account_id]
        credit = self.accounts[tenant, transfer.credit_account_id]
        if kind == ChangeEventType.TWO_PHASE_PENDING:
            debit["debits_pending"] += moved
            credit["credits_pending"] += moved
        elif pending is not None:
            debit["debits_pending"] -= pending.amount
            credit["credits_pending"] -= pending.amount
        if kind in (ChangeEventType.SINGLE_PHASE, ChangeEventType.TWO_PHASE_POSTED):
            debit["debits_posted"] += moved
            credit["credits_posted"] += moved
        reopening = (ChangeEventType.TWO_PHASE_VOIDED, ChangeEventType.TWO_PHASE_EXPIRED)
        for account, closing in ((debit, TransferFlag.CLOSING_DEBIT), (credit, TransferFlag.CLOSING_CREDIT)):
            if kind == ChangeEventType.TWO_PHASE_PENDING and transfer.flags & closing:
                account["flags"] |= AccountFlag.CLOSED
            elif kind in reopening and pending.flags & closing:
                account["flags"] &= ~AccountFlag.CLOSED

    def _change(self, tenant, timestamp, kind, transfer):
        shown = {}
        for field in ChangeEvent.__struct_fields__:
            for side in ("debit_account", "credit_account"):
                if field.startswith(f"{side}_"):
                    account = self.accounts[tenant, getattr(transfer, f"{side}_id")]
                    shown[field] = account[field.removeprefix(f"{side}_")]
            if field.startswith("transfer_"):
                shown[field] = getattr(transfer, field.removeprefix("transfer_"))
        self.changes.append((tenant, ChangeEvent(timestamp=timestamp, type=kind, ledger=transfer.ledger, **shown)))

    def get_account_transfers(self, tenant, asked):
        return _cut([transfer for _, transfer in self._of_account(tenant, asked)], asked, AccountFilterFlag.REVERSED)

    def get_account_balances(self, tenant, asked):
        matching = {seq for seq, _ in self._of_account(tenant, asked)}
        found = [
            balance
            for owner, number, seq, balance in self.balances
            if owner == tenant and number == asked.account_id and seq in matching
        ]
        return _cut(found, asked, AccountFilterFlag.REVERSED)

    def query_transfers(self, tenant, asked):
        mine = [transfer for seq, transfer in self.transfers.items() if self.tenants[seq] == tenant]
        return _cut([each for each in mine if _matches(each, asked)], asked, 1)

    def query_accounts(self, tenant, asked):
        mine = [Account(**account) for (owner, _), account in self.accounts.items() if owner == tenant]
        return _cut([each for each in mine if _matches(each, asked)], asked, 1)

    def get_change_events(self, tenant, asked):
        mine = [change for owner, change in self.changes if owner == tenant]
        return [each for each in mine if _in_time(each, asked)][: asked.limit]

    def _of_account(self, tenant, asked):
        for seq, transfer in self.transfers.items():
            debits = asked.flags & AccountFilterFlag.DEBITS and transfer.debit_account_id == asked.account_id
            credits = asked.flags & AccountFilterFlag.CREDITS and transfer.credit_account_id == asked.account_id
            if self.tenants[seq] == tenant and (debits or credits) and _matches(transfer, asked):
                yield seq, transfer


def _in_time(found, asked):
    return asked.timestamp_min <= found.timestamp <= (asked.timestamp_max or found.timestamp)


def _matches(found, asked):
    fields = [name for name in (*OWN, "code", "ledger") if getattr(asked, name, 0)]
    return _in_time(found, asked) and all(getattr(found, name) == getattr(asked, name) for name in fields)


def _cut(found, asked, reversed_flag):
    found = sorted(found, key=lambda each: each.timestamp, reverse=bool(asked.flags & reversed_flag))
    return found[: asked.limit]
