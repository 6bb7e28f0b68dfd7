"""What the random transfers of a tenant ask. It follows from their numbers, so that a repeated id repeats it."""

import numpy as np

from tallystick.records.commands import TRANSFER_EVENT, TransferFlag

U64_MAX = 2**64 - 1
ACCOUNTS = [(1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (U64_MAX, 0), (0, U64_MAX), (2**63, 2**63), (4, 0), (5, 0)]
STRANGERS = [(0, 0), (U64_MAX, U64_MAX), (99, 0), (1, 2)]  # never opened, or no ids at all
COMMON = 8  # of the accounts; of the others one is closed, one of another ledger
SHARES = [0.965 / COMMON] * COMMON + [0.01, 0.01] + [0.015 / len(STRANGERS)] * len(STRANGERS)
BOUNDARIES = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**63 + 1, U64_MAX]
TIMEOUTS = [0, 0, 1, 1, 1, 2, 3, 60, 2**32 - 1]  # seconds
PENDING = int(TransferFlag.PENDING)
POST, VOID = int(TransferFlag.POST_PENDING_TRANSFER), int(TransferFlag.VOID_PENDING_TRANSFER)
# What a transfer is, in parts of 100. A chain is broken by any refusal, so most are such as will be created.
SHAPES = {0: 46, PENDING: 23, POST: 13, VOID: 7, 16: 3, 32: 3, 48: 2, 16 | PENDING: 2, 32 | PENDING: 1}
FLAGS = np.repeat(list(SHAPES), list(SHAPES.values())).astype("<u2")
assert len(FLAGS) == 100
CHANGES = [
    ("timestamp", 1),
    ("flag_bits", 1),
    ("flag_bits", 2),
    ("flag_bits", 1 << 15),
    ("flag_bits", 256),
    ("flag_bits", 64),
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
    ("amount_lo", 0),
    ("amount_hi", 1),
    ("debit_account_id_lo", 1),
    ("credit_account_id_lo", 3),
    ("debit_account_id_hi", 7),
]
CHANGES_OF_RESOLVING = [
    ("pending_id_lo", 0),
    ("pending_id_lo", U64_MAX),
    ("pending_id_lo", 3),
    ("timeout", 2),
    ("flag_bits", POST | 16),
    ("flag_bits", VOID),
    ("flag_bits", POST),
    ("flag_bits", POST | VOID),
    ("debit_account_id_lo", 1),
    ("credit_account_id_lo", 2),
    ("ledger", 7),
    ("code", 7),
    ("user_data_64", 8),
    ("amount_lo", 3),
    ("amount_lo", 0),
]


class RandomTransfers:
    """The transfers of one tenant, made as they are asked for.

    `rich`: with amounts up to 2^128 − 1. One in `closing_every` closes an account.
    """

    def __init__(self, rng, rich, timeless, closing_every=1200):
        self._rng = rng
        self._rich = rich
        self._timeless = timeless
        self._closing_every = closing_every
        self._made = np.empty(0, TRANSFER_EVENT)
        self._pendings = np.empty(0, np.int64)
        self.asked = 0

    def some(self, count):
        """Events, many new, some of numbers that were asked for before."""
        repeats = self._rng.random(count) < 0.15
        back = (self._rng.exponential(300, count)).astype(np.int64) + 1
        fresh = self.asked + np.arange(count)
        numbers = np.where(repeats, np.maximum(0, fresh - back), fresh)
        self.asked += count
        self._make(int(numbers.max()) + 1)
        events = self._made[numbers].copy()
        self._change(events)
        return events

    def accounts_of(self, numbers):
        """Ids, as two halves each, of the accounts that these transfers debit, or credit: one of the two."""
        chosen = self._made[numbers]
        side = "debit" if self._rng.random() < 0.5 else "credit"
        return chosen[f"{side}_account_id_lo"], chosen[f"{side}_account_id_hi"]

    def ids_of_pendings(self, count):
        """Ids of pending transfers, most of them asked for lately; some are none."""
        back = self._rng.exponential(8, count).astype(np.int64) + 1
        numbers = self._pendings[np.maximum(0, np.searchsorted(self._pendings, self.asked) - back)] + 0
        numbers[self._rng.random(count) < 0.1] = 0
        return numbers

    def _make(self, stop):
        start = len(self._made)
        if stop <= start:
            return
        stop = max(stop, start + 4096)
        numbers = np.arange(start, stop)
        mixed = (numbers * 2654435761) & 0xFFFFFFFF
        events = np.zeros(len(numbers), TRANSFER_EVENT)
        events["id_lo"], events["id_hi"] = numbers + 1, numbers % 3
        self._name_accounts(events, mixed)
        events["amount_lo"] = mixed // 7 % 12
        if self._rich:
            sizes = np.array(BOUNDARIES, "<u8")
            events["amount_lo"] = sizes[mixed // 11 % len(sizes)]
            events["amount_hi"] = np.where(mixed // 97 % 11 == 0, sizes[mixed // 13 % len(sizes)], np.uint64(0))
            whole = mixed // 53 % 41 == 0
            events["amount_lo"][whole] = events["amount_hi"][whole] = U64_MAX
        events["ledger"], events["code"] = 1, 1 + mixed % 2
        events["flag_bits"] = FLAGS[mixed // 31 % 100]
        pending = events["flag_bits"] & PENDING != 0
        closing = mixed // 67 % self._closing_every == 0
        events["flag_bits"][closing] = PENDING | np.array([64, 128, 192])[mixed[closing] % 3]
        pending |= closing
        # Most are voided soon, or all would be closed in the end.
        reopening = np.flatnonzero(closing) + 1 + mixed[closing] % 6 + (mixed[closing] % 4 == 0) * len(events)
        reopening, reopened = reopening[reopening < len(events)], np.flatnonzero(closing)[reopening < len(events)]
        pending[reopening] = False
        events["flag_bits"][reopening] = VOID
        if not self._timeless:
            events["timeout"] = np.where(pending, np.array(TIMEOUTS)[mixed // 17 % len(TIMEOUTS)], 0)
        balancing = events["flag_bits"] & 48 != 0
        events["amount_lo"][balancing] = np.where(mixed[balancing] % 3 == 0, U64_MAX, 20)
        self._made = np.concatenate([self._made, events])
        self._pendings = np.concatenate([self._pendings, numbers[pending]])
        resolving = np.flatnonzero(events["flag_bits"] & (POST | VOID)) + start
        if len(self._pendings):
            self._made[resolving] = self._resolving(self._made[resolving], resolving, mixed[resolving - start])
            for name in ("id_lo", "id_hi"):
                self._made[f"pending_{name}"][reopening + start] = self._made[name][reopened + start]
            for name in ("amount_lo", "amount_hi", "debit_account_id_lo", "debit_account_id_hi"):
                self._made[name][reopening + start] = 0

    def _name_accounts(self, events, mixed):
        everyone = np.array(ACCOUNTS + STRANGERS, "<u8")
        bounds = np.cumsum(SHARES)
        places = {
            side: np.minimum(np.searchsorted(bounds, bits, side="right"), len(everyone) - 1)
            for side, bits in (("debit", mixed % 9973 / 9973), ("credit", mixed // 9973 % 9967 / 9967))
        }
        same = (places["debit"] == places["credit"]) & (mixed % 11 > 0)
        places["credit"][same] = (places["credit"][same] + 1) % COMMON
        for side, at in places.items():
            chosen = everyone[at]
            events[f"{side}_account_id_lo"], events[f"{side}_account_id_hi"] = chosen[:, 0], chosen[:, 1]

    def _resolving(self, events, numbers, mixed):
        """Posts and voids of a pending transfer numbered shortly before; seldom of one numbered later."""
        at = np.searchsorted(self._pendings, numbers) - 1 - (mixed // 41 % 5) + (mixed // 43 % 19 == 0) * 5
        of = self._made[self._pendings[np.clip(at, 0, len(self._pendings) - 1)]]
        named = mixed // 47 % 4 == 0
        for name in ("ledger", "code"):
            events[name] = np.where(named, of[name], 0)
        for side in ("debit_account_id", "credit_account_id"):
            for half in ("lo", "hi"):
                events[f"{side}_{half}"] = np.where(named, of[f"{side}_{half}"], 0)
        events["pending_id_lo"], events["pending_id_hi"] = of["id_lo"], of["id_hi"]
        exact = mixed // 59 % 3 == 0
        part = mixed // 59 % 3 == 1
        whole = np.where(events["flag_bits"] & POST, U64_MAX, 0).astype("<u8")
        for half in ("lo", "hi"):
            events[f"amount_{half}"] = np.where(exact, of[f"amount_{half}"], whole)
        events["amount_lo"][part] = of["amount_lo"][part] // 2
        events["amount_hi"][part] = of["amount_hi"][part]
        events["timeout"] = 0
        return events

    def _change(self, events):
        """Give some events one other field each; some an id that is none."""
        resolving = events["flag_bits"] & (POST | VOID) != 0
        for changes, chosen, share in ((CHANGES, ~resolving, 0.06), (CHANGES_OF_RESOLVING, resolving, 0.12)):
            which = self._rng.integers(0, len(changes), len(events))
            which[~chosen | (self._rng.random(len(events)) >= share)] = -1
            for number, (name, value) in enumerate(changes):
                events[name][which == number] = value
                if name == "pending_id_lo":
                    events["pending_id_hi"][which == number] = value if value != 3 else 0
        own = (self._rng.random(len(events)) < 0.002) & resolving
        for half in ("lo", "hi"):
            events[f"pending_id_{half}"][own] = events[f"id_{half}"][own]
        nobody = self._rng.random(len(events))
        for chosen, word in ((nobody < 0.001, 0), (nobody > 0.999, U64_MAX)):
            events["id_lo"][chosen] = events["id_hi"][chosen] = word
