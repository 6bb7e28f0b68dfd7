"""Seeded requests that meet: few accounts, few ids, limits near, repeats of all sorts, three tenants.

The same seed gives the same bytes, in this process and in another.
"""

from dataclasses import dataclass

import numpy as np

from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, Kind, Opcode, frame

NOW = 1_800_000_000_000_000_000
TENANTS = (1, 2, 2**63 + 5)
RICH_TENANT = TENANTS[2]  # whose amounts go up to 2^128 − 1
U64_MAX = 2**64 - 1
ACCOUNTS = [(1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (U64_MAX, 0), (0, U64_MAX), (2**63, 2**63), (4, 0), (5, 0)]
STRANGERS = [(0, 0), (U64_MAX, U64_MAX), (99, 0), (1, 2)]  # never opened, or no ids at all
ACCOUNT_FLAGS = [0, 2, 4, 2, 8, 0, 4, 2, 32, 2]
BOUNDARIES = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**63 + 1, U64_MAX]
TRANSFER_CHANGES = [
    ("timestamp", 1),
    ("flag_bits", 1),
    ("flag_bits", 2),
    ("flag_bits", 1 << 15),
    ("pending_id_lo", 9),
    ("timeout", 3),
    ("user_data_128_hi", 1),
    ("user_data_64", 2**63),
    ("user_data_32", 5),
    ("ledger", 0),
    ("ledger", 2),
    ("code", 0),
    ("code", 7),
    ("amount_lo", 1),
    ("amount_hi", 1),
    ("debit_account_id_lo", 1),
    ("credit_account_id_lo", 3),
    ("debit_account_id_hi", 7),
]
ACCOUNT_CHANGES = [
    ("timestamp", 1),
    ("reserved", 1),
    ("flag_bits", 1),
    ("flag_bits", 6),
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


@dataclass
class Sent:
    """A request that may be sent again."""

    commands: np.ndarray
    kind: Kind
    tenant: int
    request_id: int


class RandomRequests:
    """An endless stream of requests, as `COMMAND` rows each."""

    def __init__(self, seed, expiring=True):
        self._rng = np.random.default_rng(seed)
        self._expiring = expiring
        self._opened = 0
        self._ids = 0
        self._requests = 0
        self._sent = []

    def take(self, commands_min):
        """Requests of at least so many commands in all; the first open most of the accounts."""
        requests, count = [], 0
        while count < commands_min:
            request = self._next()
            requests.append(request)
            count += len(request)
        return requests

    def batches(self, requests, size_max=8190):
        """The same requests cut at random into batches of at most so many commands."""
        batch, count, size = [], 0, self._size(size_max)
        for request in requests:
            if batch and count + len(request) > size:
                yield batch
                batch, count, size = [], 0, self._size(size_max)
            batch.append(request)
            count += len(request)
        if batch:
            yield batch

    def _size(self, most):
        return int(min(most, 10 ** self._rng.uniform(0, 4)))

    def _next(self):
        if self._opened < 2 * len(TENANTS):
            self._opened += 1
            return self._send(Kind.ACCOUNT, self._accounts(every=True), TENANTS[self._opened % len(TENANTS)])
        chance = self._rng.random()
        if chance < 0.10 and self._sent:
            return self._again()
        tenant = TENANTS[self._rng.choice(3, p=(0.5, 0.3, 0.2))]
        if chance < 0.16:
            return self._send(Kind.CONTROL, self._controls(), tenant)
        if chance < 0.20:
            return self._send(Kind.ACCOUNT, self._accounts(), tenant)
        return self._send(Kind.TRANSFER, self._transfers(tenant), tenant)

    def _send(self, kind, events, tenant, request_id=None):
        if request_id is None:
            self._requests += 1
            request_id = self._requests << 64 | int(self._rng.integers(1, 1000))
        expires_at = 0
        if self._expiring and self._rng.random() < 0.03:
            expires_at = NOW - 1 if self._rng.random() < 0.5 else U64_MAX
        metadata = b"" if self._rng.random() < 0.9 else bytes([3]) * 32 * len(events)
        commands = frame(events.tobytes(), kind, tenant, int(request_id), NOW, expires_at, metadata)
        commands["device_pseudonym"] = self._rng.integers(0, 2**64, dtype="<u8")
        self._sent.append(Sent(commands, kind, tenant, int(request_id)))
        return commands

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
        return self._send(Kind.TRANSFER, self._transfers(sent.tenant), sent.tenant, sent.request_id)

    def _count(self):
        return int(min(2000, 10 ** self._rng.exponential(0.9)))

    def _transfers(self, tenant):
        count = self._count()
        events = np.zeros(count, TRANSFER_EVENT)
        repeats = self._rng.random(count) < 0.2
        numbers = np.where(repeats, self._rng.integers(0, max(1, self._ids), count), self._ids + np.arange(count))
        self._ids += count
        # What a transfer asks follows from its number, so that a repeated id repeats its content too.
        mixed = (numbers * 2654435761) & 0xFFFFFFFF
        events["id_lo"], events["id_hi"] = numbers + 1, numbers % 3
        everyone = np.array(ACCOUNTS + STRANGERS, "<u8")
        shares = [0.97 / len(ACCOUNTS)] * len(ACCOUNTS) + [0.03 / len(STRANGERS)] * len(STRANGERS)
        bounds = np.cumsum(shares)
        for side, bits in (("debit", mixed % 9973 / 9973), ("credit", mixed // 9973 % 9967 / 9967)):
            chosen = everyone[np.minimum(np.searchsorted(bounds, bits, side="right"), len(everyone) - 1)]
            events[f"{side}_account_id_lo"], events[f"{side}_account_id_hi"] = chosen[:, 0], chosen[:, 1]
        events["amount_lo"] = mixed // 7 % 12
        if tenant == RICH_TENANT:
            sizes = np.array(BOUNDARIES, "<u8")
            events["amount_lo"] = sizes[mixed // 11 % len(sizes)]
            events["amount_hi"] = np.where(mixed // 97 % 23 == 0, sizes[mixed // 13 % len(sizes)], np.uint64(0))
        events["ledger"], events["code"] = 1, 1 + mixed % 2
        self._change(events, TRANSFER_CHANGES, 0.12)
        nobody = self._rng.random(count)
        for chosen, word in ((nobody < 0.001, 0), (nobody > 0.999, U64_MAX)):
            events["id_lo"][chosen] = events["id_hi"][chosen] = word
        return events

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
        self._change(events, ACCOUNT_CHANGES, 0.1 if every else 0.7)
        return events

    def _controls(self):
        count = min(5, self._count())
        events = np.zeros(count, CONTROL_EVENT)
        chosen = np.array(ACCOUNTS + STRANGERS[:3], "<u8")[self._rng.integers(0, len(ACCOUNTS) + 3, count)]
        events["account_id_lo"], events["account_id_hi"] = chosen[:, 0], chosen[:, 1]
        # Thaw twice as often as freeze, or all is frozen in the end.
        opcodes = (Opcode.FREEZE, Opcode.UNFREEZE, Opcode.UNFREEZE, Opcode.CREDIT_LIMIT, Opcode.CREDIT_LIMIT, 0, 4)
        events["opcode"] = np.array(opcodes)[self._rng.choice(7, count, p=(0.2, 0.2, 0.2, 0.15, 0.15, 0.05, 0.05))]
        events["value_lo"] = self._rng.integers(0, 5, count)
        limits = events["opcode"] == Opcode.CREDIT_LIMIT
        events["value_lo"][limits] = np.array([0, 5, 50, U64_MAX], "<u8")[self._rng.integers(0, 4, limits.sum())]
        events["value_hi"][limits] = np.where(self._rng.random(limits.sum()) < 0.05, np.uint64(U64_MAX), np.uint64(0))
        events["reserved_64"][:, 8] = self._rng.random(count) < 0.03
        events["reason"] = self._rng.integers(0, 9, count)
        return events

    def _change(self, events, changes, share):
        """Give some events one other field each."""
        which = np.where(self._rng.random(len(events)) < share, self._rng.integers(0, len(changes), len(events)), -1)
        for number, (name, value) in enumerate(changes):
            events[name][which == number] = value
