"""Histories that the real engine decided: random requests that use every flag, reviews, imports, expiries, controls."""

import random

from tallystick.lab.shard import Shard
from tallystick.records import objects
from tallystick.records.commands import AccountFlag, Kind, Opcode, Side, TransferFlag, frame
from tallystick.records.details import Verdict
from tallystick.records.objects import Account, Control, Transfer
from tests.unit.projector.histories import NOW, TENANTS, U64S, U128S

SECOND = 1_000_000_000


class EngineHistory:
    """A shard after so many batches; `journal` is what it wrote."""

    def __init__(self, seed, batches):
        self.random = random.Random(seed)
        self.shard = Shard(1024, 1024)
        self.shard.decider.screen = self._screen
        self.now, self.ids, self.requests = NOW, 100, 0
        self.pending = {tenant: [] for tenant in TENANTS}
        self.reviewed = {tenant: [1] for tenant in TENANTS}
        self.accounts = {tenant: [] for tenant in TENANTS}
        for tenant in TENANTS:
            self._decide([self._accounts(tenant)])
        for _ in range(batches):
            self.now += self.random.choice((100_000, SECOND, 3 * SECOND))
            self._decide([self._request() for _ in range(self.random.randrange(1, 6))])

    @property
    def journal(self):
        return self.shard.journal

    def _screen(self, work, now):
        for at in range(len(work.verdicts)):
            if work.is_transfer[at] and self.random.random() < 0.15:
                work.verdicts[at] = Verdict.REVIEW
                self.reviewed[int(work.transfers["tenant"][at])].append(int(work.transfers["id_lo"][at]))

    def _decide(self, requests):
        self.now += 10_000
        self.shard.decide(requests, self.now)

    def _request(self):
        tenant, chance = self.random.choice(TENANTS), self.random.random()
        if chance < 0.05:
            return self._accounts(tenant)
        if chance < 0.2:
            return self._controls(tenant)
        importing = chance < 0.3
        return self._framed(Kind.TRANSFER, tenant, self._transfers(tenant, importing), objects.pack_transfer)

    def _framed(self, kind, tenant, events, pack):
        self.requests += 1
        return frame(objects.pack_all(events, pack), kind, tenant, self.requests, self.now)

    def _own(self):
        pick = self.random.choice
        return {"user_data_128": pick(U128S), "user_data_64": pick(U64S), "user_data_32": pick((0, 3, 2**32 - 1))}

    def _accounts(self, tenant):
        events, importing = [], self.random.random() < 0.3
        for _ in range(6):
            self.ids += 1
            flags = AccountFlag(self.random.choice((0, 0, 2, 4))) | self.random.choice((0, AccountFlag.HISTORY))
            time = {"timestamp": self.now - 5_000 + self.ids} if importing else {}
            flags |= AccountFlag.IMPORTED if importing else 0
            code = self.random.choice((1, 2))
            events.append(Account(id=self.ids, ledger=1, code=code, flags=flags, **self._own(), **time))
            self.accounts[tenant].append(self.ids)
        return self._framed(Kind.ACCOUNT, tenant, events, objects.pack_account)

    def _controls(self, tenant):
        opcode = self.random.choice([*Opcode, *[Opcode.APPROVE] * 4, *[Opcode.REJECT] * 2])
        value, number = self.random.choice(list(Side)), self.random.choice(self.accounts[tenant])
        if opcode == Opcode.CREDIT_LIMIT:
            value = self.random.choice((0, 1000))
        elif opcode in (Opcode.APPROVE, Opcode.REJECT):
            value, number = self.random.choice(self.reviewed[tenant][-9:]), 0
        events = [Control(account_id=number, opcode=opcode, value=int(value))]
        if opcode == Opcode.FREEZE:  # frozen accounts would soon stop all
            events.append(Control(account_id=number, opcode=Opcode.UNFREEZE, value=Side.DEBITS))
        return self._framed(Kind.CONTROL, tenant, events, objects.pack_control)

    def _some_pending(self, tenant):
        known = self.pending[tenant][-12:]
        return self.random.choice(known) if known else 1

    def _transfers(self, tenant, importing):
        pick, events = self.random.choice, []
        for at in range(self.random.randrange(1, 9)):
            self.ids += 1
            flags = pick([TransferFlag(0), TransferFlag.PENDING, TransferFlag.PENDING, _POST, _POST, _VOID])
            fields = {"amount": pick((0, 1, 7, 100, 2**64, 2**90)), "ledger": 1, "code": pick((1, 2, 65535))}
            debit, credit = self.random.sample(self.accounts[tenant], 2)
            if flags & (_POST | _VOID):
                debit, credit = 0, 0
                fields = {"amount": pick((0, 1, 2**128 - 1)) if flags & _POST else 0, "ledger": 0, "code": 0}
                fields["pending_id"] = self._some_pending(tenant)
            elif self.random.random() < 0.2:
                flags |= pick((TransferFlag.BALANCING_DEBIT, TransferFlag.BALANCING_CREDIT))
            if flags & TransferFlag.PENDING and self.random.random() < 0.1:
                flags |= pick((TransferFlag.CLOSING_DEBIT, TransferFlag.CLOSING_CREDIT))
            if flags & TransferFlag.PENDING and not importing:
                fields["timeout"] = pick((0, 1, 2))
            if not flags & (_POST | _VOID):
                self.pending[tenant].append(self.ids)  # plain ones too: they may come under review
            flags |= TransferFlag.LINKED if self.random.random() < 0.15 else 0
            if importing:
                flags |= TransferFlag.IMPORTED
                fields["timestamp"] = self.now - 8_000 + at
            events.append(
                Transfer(
                    id=self.ids, debit_account_id=debit, credit_account_id=credit, flags=flags, **self._own(), **fields
                )
            )
        return events


_POST, _VOID = TransferFlag.POST_PENDING_TRANSFER, TransferFlag.VOID_PENDING_TRANSFER
