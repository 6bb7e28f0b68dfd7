"""Seeded requests that meet: few accounts, few ids, limits near, chains, time-outs, imports, repeats of all sorts.

A stream has a clock of its own: it says when each batch is decided, often to the nanosecond at which something
expires. The same seed gives the same bytes, in this process and in another.
"""

from dataclasses import dataclass

import numpy as np

from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, Kind, Opcode, TransferFlag, frame
from tallystick.records.details import Verdict
from tests.properties.random_transfers import ACCOUNTS, STRANGERS, U64_MAX, RandomTransfers

NOW = 1_800_000_000_000_000_000
LATE = 6_000_000_000_000_000_000
"""So late that the longest time-out ends after the end of time."""
SECOND = 10**9
TENANTS = (1, 2, 2**63 + 5)
RICH_TENANT = TENANTS[2]  # whose amounts go up to 2^128 − 1
IMPORTERS = 1 << 20  # tenants from here on begin with a past that they import
ACCOUNT_FLAGS = [0, 2, 4, 2, 8, 0, 4, 2, 32, 2]
ACCOUNT_CHANGES = [
    ("timestamp", 1),
    ("reserved", 1),
    ("flag_bits", 1),
    ("flag_bits", 6),
    ("flag_bits", 16),
    ("flag_bits", 64),
    ("user_data_128_lo", 1),
    ("user_data_64", 1),
    ("user_data_32", 1),
    ("ledger", 0),
    ("ledger", 2),
    ("code", 0),
    ("code", 9),
    ("debits_pending_hi", 1),
    ("debits_posted_lo", 1),
    ("credits_pending_lo", 1),
    ("credits_posted_hi", 1),
]
OPCODES = {
    Opcode.FREEZE: 0.05,
    Opcode.UNFREEZE: 0.25,  # twice as often as freeze, or all is frozen in the end
    Opcode.CREDIT_LIMIT: 0.2,
    Opcode.APPROVE: 0.34,
    Opcode.REJECT: 0.1,
    0: 0.03,
    6: 0.03,
}
REVIEW_TIMEOUT_S = 2


def verdict_of(event):
    """What screening says of a transfer, which follows from its id."""
    place = event["id"] % 101
    return Verdict.REVIEW if place in (3, 50) else Verdict.REFUSE if place == 7 else Verdict.ALLOW


@dataclass
class Sent:
    """A request that may be sent again."""

    commands: np.ndarray
    kind: Kind
    tenant: int
    request_id: int


class RandomRequests:
    """An endless stream of batches. `timeless`: nothing in it depends on when it is decided."""

    def __init__(self, seed, timeless=False, now=NOW):
        self._rng = np.random.default_rng(seed)
        self._timeless = timeless
        self._opened = 0
        self._requests = 0
        self._sent = []
        self._transfers = {}
        self._then = []
        self._importer = IMPORTERS
        self._past = 0
        self._begun = []
        self.now = now

    def batch(self, size_max=8190):
        """(`now`, requests) of one batch; the first batches open most of the accounts."""
        wanted, count, requests = self._size(size_max), 0, []
        while count < wanted:
            request = self._next()
            if requests and count + len(request) > 8190:
                break
            requests.append(request)
            count += len(request)
        now = self.now
        self._begun = [*self._begun[-20:], now]
        self._pass_time(count)
        return now, requests

    def batches(self, commands_min, size_max=8190):
        """Batches of at least so many commands in all."""
        count = 0
        while count < commands_min:
            now, requests = self.batch(size_max)
            count += sum(map(len, requests))
            yield now, requests

    def _pass_time(self, count):
        """To the next batch: a little, seconds, or to the moment at which what an earlier batch reserved expires."""
        chance = self._rng.random()
        least = self.now + 2 * count + 10_000  # room for as many expiries
        then = least + int(self._rng.integers(0, 1000))
        if chance < 0.3:
            then = least + int(self._rng.integers(0, 3 * SECOND))
        elif chance < 0.7:
            begun = self._begun[self._rng.integers(0, len(self._begun))]
            seconds = (least - begun) // SECOND + int(self._rng.integers(0, 2))
            then = begun + seconds * SECOND + int(self._rng.integers(-20, max(20, count)))
        self.now = max(then, least)

    def _size(self, most):
        return int(min(most, 10 ** self._rng.uniform(0, 4)))

    def _next(self):
        if self._opened < 2 * len(TENANTS):
            self._opened += 1
            return self._send(Kind.ACCOUNT, self._accounts(every=True), TENANTS[self._opened % len(TENANTS)])
        if self._then:
            return self._send(*self._then.pop())
        chance = self._rng.random()
        if chance < 0.08 and self._sent:
            return self._again()
        if chance < 0.12:
            return self._import()
        tenant = TENANTS[self._rng.choice(3, p=(0.5, 0.3, 0.2))]
        if chance < 0.15 and self._of(tenant).asked and not self._timeless:
            return self._close_and_approve(tenant)
        if chance < 0.23:
            return self._send(Kind.CONTROL, self._controls(tenant), tenant)
        if chance < 0.26:
            return self._send(Kind.ACCOUNT, self._accounts(), tenant)
        return self._send(Kind.TRANSFER, self._of(tenant).some(self._count()), tenant)

    def _of(self, tenant):
        if tenant not in self._transfers:
            closing_every = 300 if tenant == TENANTS[1] else 1500
            self._transfers[tenant] = RandomTransfers(self._rng, tenant == RICH_TENANT, self._timeless, closing_every)
        return self._transfers[tenant]

    def _count(self):
        return int(min(2000, 10 ** self._rng.exponential(0.6)))

    def _send(self, kind, events, tenant, request_id=None):
        if request_id is None:
            self._requests += 1
            request_id = self._requests << 64 | int(self._rng.integers(1, 1000))
            if self._opened >= 2 * len(TENANTS):
                self._link(events)
        expires_at = 0
        if not self._timeless and self._rng.random() < 0.03:
            expires_at = int(self.now - 1 if self._rng.random() < 0.5 else U64_MAX)
        metadata = b"" if self._rng.random() < 0.9 else bytes([3]) * 32 * len(events)
        commands = frame(events.tobytes(), kind, tenant, int(request_id), NOW, expires_at, metadata)
        commands["device_pseudonym"] = self._rng.integers(0, 2**64, dtype="<u8")
        self._sent = [*self._sent[-400:], Sent(commands, kind, tenant, int(request_id))]
        return commands

    def _link(self, events):
        """Chains of all lengths, in every third request; short ones above all, since any refusal breaks them."""
        if self._rng.random() < 0.35:
            share = self._rng.choice([0.2, 0.5, 0.8, 0.98], p=[0.4, 0.4, 0.15, 0.05])
            linked = self._rng.random(len(events)) < share
            linked[-1] &= self._rng.random() < 0.1
            events["flag_bits"] |= linked.astype("<u2")

    def _again(self):
        """An earlier request: as it was, from another tenant, or its id with other content."""
        recent = self._rng.random() < 0.7
        at = self._rng.integers(max(0, len(self._sent) - 20) if recent else 0, len(self._sent))
        sent = self._sent[at]
        chance = self._rng.random()
        if chance < 0.6:
            return sent.commands
        if chance < 0.7:
            events = np.ascontiguousarray(sent.commands["event"])
            return self._send(sent.kind, events, TENANTS[self._rng.integers(3)], sent.request_id)
        return self._send(Kind.TRANSFER, self._of(sent.tenant).some(self._count()), sent.tenant, sent.request_id)

    def _accounts(self, every=False):
        which = np.arange(len(ACCOUNTS)) if every else self._rng.integers(0, len(ACCOUNTS), min(20, self._count()))
        events = np.zeros(len(which), ACCOUNT_EVENT)
        ids = np.array(ACCOUNTS, "<u8")[which]
        events["id_lo"], events["id_hi"] = ids[:, 0], ids[:, 1]
        if not every:  # fresh ones, and ids that are none
            fresh = self._rng.random(len(which))
            events["id_lo"][fresh < 0.5] = self._rng.integers(1000, 3000, (fresh < 0.5).sum())
            for chosen, word in ((fresh < 0.02, 0), (fresh > 0.98, U64_MAX)):
                events["id_lo"][chosen] = events["id_hi"][chosen] = word
        events["flag_bits"] = np.array(ACCOUNT_FLAGS)[which]
        events["ledger"], events["code"] = np.where(which == 9, 2, 1), 1
        self._change(events, ACCOUNT_CHANGES, 0.1 if every else 0.5)
        return events

    def _controls(self, tenant):
        count = min(20, 3 * self._count())
        events = np.zeros(count, CONTROL_EVENT)
        chosen = np.array(ACCOUNTS + STRANGERS[:3], "<u8")[self._rng.integers(0, len(ACCOUNTS) + 3, count)]
        events["account_id_lo"], events["account_id_hi"] = chosen[:, 0], chosen[:, 1]
        events["opcode"] = self._rng.choice(list(OPCODES), count, p=list(OPCODES.values()))
        events["value_lo"] = self._rng.integers(0, 5, count)
        events["value_lo"][(events["opcode"] == Opcode.UNFREEZE) & (events["value_lo"] > 0)] = 3
        limits = events["opcode"] == Opcode.CREDIT_LIMIT
        events["value_lo"][limits] = np.array([0, 5, 50, U64_MAX], "<u8")[self._rng.integers(0, 4, limits.sum())]
        events["value_hi"][limits] = np.where(self._rng.random(limits.sum()) < 0.05, np.uint64(U64_MAX), np.uint64(0))
        reviews = np.isin(events["opcode"], (Opcode.APPROVE, Opcode.REJECT))
        if reviews.any() and self._of(tenant).asked:
            numbers = self._reviewable(tenant, int(reviews.sum()))
            events["value_lo"][reviews], events["value_hi"][reviews] = numbers + 1, numbers % 3
            wrong = self._rng.random(count) < 0.03
            for half in ("lo", "hi"):
                events[f"account_id_{half}"][reviews & ~wrong] = 0
            if reviews[-1] and count > 1 and self._rng.random() < 0.3:  # freeze one of its accounts before
                lo, hi = self._of(tenant).accounts_of(numbers[-1:])
                events["account_id_lo"][-2], events["account_id_hi"][-2] = lo[0], hi[0]
                events["opcode"][-2], events["value_lo"][-2], events["value_hi"][-2] = Opcode.FREEZE, 3, 0
        events["reserved_64"][:, 8] = self._rng.random(count) < 0.02
        events["flag_bits"] |= ((self._rng.random(count) < 0.02) * 2).astype("<u2")
        events["reason"] = self._rng.integers(0, 9, count)
        return events

    def _close_and_approve(self, tenant):
        """Close an account of a transfer in review, and approve that then."""
        number = self._reviewable(tenant, 1)
        approval = np.zeros(1, CONTROL_EVENT)
        approval["opcode"], approval["value_lo"], approval["value_hi"] = Opcode.APPROVE, number + 1, number % 3
        self._then.append((Kind.CONTROL, approval, tenant))
        closing = np.zeros(1, TRANSFER_EVENT)
        lo, hi = self._of(tenant).accounts_of(number)
        side, other, flag = ("debit", "credit", 64) if self._rng.random() < 0.5 else ("credit", "debit", 128)
        closing["id_lo"], closing["id_hi"] = self._requests, 1 << 40
        closing[f"{side}_account_id_lo"], closing[f"{side}_account_id_hi"] = lo, hi
        closing[f"{other}_account_id_lo"] = 3 if lo != 3 else 1
        closing["ledger"], closing["code"], closing["timeout"] = 1, 1, int(not self._timeless)
        closing["flag_bits"] = TransferFlag.PENDING | flag
        return self._send(Kind.TRANSFER, closing, tenant)

    def _reviewable(self, tenant, count):
        """Numbers of transfers of late that screening wanted people to see, or of any pending ones."""
        asked = self._of(tenant).asked
        numbers = np.arange(max(0, asked - 3000), asked)
        ids = [int(number + 1) | int(number % 3) << 64 for number in numbers]
        seen = numbers[[verdict_of({"id": each}) is Verdict.REVIEW for each in ids]]
        if not len(seen) or self._rng.random() < 0.2:
            return self._of(tenant).ids_of_pendings(count)
        return seen[np.maximum(0, len(seen) - 1 - self._rng.exponential(4, count).astype(np.int64))]

    def _import(self):
        """Accounts first, then transfers, of times long ago; now and then a new tenant."""
        if self._past == 0 or self._rng.random() < 0.05:
            self._importer += 1
            self._past = 1
            chosen = np.append(True, self._rng.random(len(ACCOUNTS) - 1) < 0.7)
            events = self._accounts(every=True)[chosen]
            events["ledger"] = 1
            kind = Kind.ACCOUNT
        elif self._rng.random() < 0.2:
            events, kind = self._accounts(), Kind.ACCOUNT
        else:
            events, kind = self._of(self._importer).some(min(self._count(), 300)), Kind.TRANSFER
            events["timeout"][self._rng.random(len(events)) < 0.9] = 0
        times = self._past + np.cumsum(self._rng.integers(0, 4, len(events)))
        self._past = int(times[-1]) + 1
        if kind is Kind.ACCOUNT:
            times += self._rng.integers(0, 40)  # transfers that follow may be older than their account
        noise = self._rng.random(len(events))
        times = np.where(noise < 0.03, self._rng.integers(0, self._past + 5, len(events)), times)
        ahead = (noise > 0.03) & (noise < 0.04)
        times = np.where(ahead, self.now + self._rng.integers(-5, 50_000, len(events)), times)
        if not self._timeless:
            events["timestamp"] = times
        events["timestamp"][noise > 0.995] = 2**63
        events["timestamp"][noise < 0.004] = 0
        imported = self._rng.random(len(events)) < 0.99
        events["flag_bits"] |= np.where(imported, 16 if kind is Kind.ACCOUNT else 256, 0).astype("<u2")
        return self._send(kind, events, self._importer)

    def _change(self, events, changes, share):
        """Give some events one other field each."""
        which = np.where(self._rng.random(len(events)) < share, self._rng.integers(0, len(changes), len(events)), -1)
        for number, (name, value) in enumerate(changes):
            events[name][which == number] = value
