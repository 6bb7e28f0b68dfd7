"""A small bank's day: salaries, rents, cards, friends, refunds, fees, and people who ask for more than they have.

A function from a seed to payments, like `Plan`: the load generator and the check both work it out, and tell each
other nothing. Money is only asked for once it is there: a payment names the one it builds on (`Payment.after`), so
whatever is killed meanwhile, exactly the payments that were meant to be are refused.
"""

from collections import Counter, deque
from dataclasses import replace
from functools import lru_cache
from random import Random

import msgspec

from tallystick.lab.plan import AMOUNT_REFUSED, Payment, account_id, payment_id
from tallystick.records.commands import TransferFlag

EMPLOYERS, LANDLORDS, SHOPS = 5, 10, 40
BANK = 0
"""The account that fees go to."""
PEOPLE_FROM = 1 + EMPLOYERS + LANDLORDS + SHOPS
SALARY = (180_000, 420_000)
"""From, to, in minor units; a month's, so that a day can spend of it."""
RENT_SHARE = (25, 35)
"""Per cent of the salary."""
KINDS = ("salary", "rent", "card", "clearing", "void", "friend", "refund", "fee", "refused")
CODES = {kind: number for number, kind in enumerate(KINDS, 10)}
WEIGHTS = {"card": 42, "clearing": 30, "void": 3, "friend": 15, "refund": 4, "fee": 4, "refused": 2}
"""What happens after salaries and rents are paid."""
AGO = 30
"""An authorisation is cleared, and a clearing refunded, at the earliest so many payments later."""


class BankDay(msgspec.Struct, frozen=True, kw_only=True, tag="day"):
    """One day. Days of the same seed differ in their ids only, by `run`."""

    run: int
    """64 random bits in every id."""
    payments: int
    people: int = 200
    seed: int = 1

    def account_ids(self) -> list[int]:
        """Of everybody: the bank, employers, landlords, shops, people."""
        return [account_id(self.run, number) for number in range(PEOPLE_FROM + self.people)]

    def unlimited(self) -> list[int]:
        """Those of them who may spend what they have not got here: employers, whose money comes from elsewhere."""
        return self.account_ids()[1 : 1 + EMPLOYERS]

    def payment(self, index: int) -> Payment:
        """Payment `index`, from 0."""
        return _story(self)[index]

    def kinds(self) -> dict[str, int]:
        """How many payments there are of each of `KINDS`."""
        counts = Counter(payment.code for payment in _story(self))
        return {kind: counts[CODES[kind]] for kind in KINDS}


@lru_cache(maxsize=2)
def _story(day: BankDay) -> list[Payment]:
    writer = _Writer(day)
    for number in range(day.payments):
        writer.write(number)
    return writer.story


class _Writer:
    """Writes a day, payment by payment."""

    def __init__(self, day: BankDay) -> None:
        self.story: list[Payment] = []
        self._day = day
        self._random = Random(day.seed)
        self._paid: dict[int, tuple[int, int]] = {}  # by person: index of the salary, its amount
        self._authorised: deque[int] = deque()  # indexes of cards that are open
        self._cleared: deque[int] = deque()  # indexes of clearings that were not refunded
        self._unpaid = list(range(PEOPLE_FROM, PEOPLE_FROM + day.people))
        self._random.shuffle(self._unpaid)
        self._renting: list[int] = []  # people whose rent is due
        self._ways = {
            "card": self._card,
            "clearing": self._clearing,
            "void": self._void,
            "friend": self._friend,
            "refund": self._refund,
            "fee": self._fee,
            "refused": self._refused,
        }

    def write(self, index: int) -> None:
        """Payment `index`: salaries in the morning, then rents, then life."""
        if self._unpaid:
            self._salary(index, self._unpaid.pop())
        elif self._renting and self._random.random() < 0.3:
            self._rent(index, self._renting.pop())
        else:
            kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            oldest = {"clearing": self._authorised, "void": self._authorised, "refund": self._cleared}.get(kind)
            ripe = oldest is None or (oldest and index - oldest[0] >= AGO)
            self._ways[kind if ripe else "card"](index)

    def _add(self, index: int, kind: str, debit: int, credit: int, amount: int, after: int) -> Payment:
        run = self._day.run
        ids = payment_id(run, index), account_id(run, debit), account_id(run, credit)
        self.story.append(Payment(*ids, amount, CODES[kind], after=after))
        return self.story[-1]

    def _person(self) -> int:
        return self._random.randrange(PEOPLE_FROM, PEOPLE_FROM + self._day.people)

    def _salary(self, index: int, person: int) -> None:
        amount = self._random.randrange(*SALARY)
        self._paid[person] = index, amount
        if self._random.random() < 0.6:
            self._renting.append(person)
        self._add(index, "salary", self._random.randrange(1, 1 + EMPLOYERS), person, amount, -1)

    def _rent(self, index: int, person: int) -> None:
        salary, amount = self._paid[person]
        landlord = self._random.randrange(1 + EMPLOYERS, 1 + EMPLOYERS + LANDLORDS)
        self._add(index, "rent", person, landlord, amount * self._random.randrange(*RENT_SHARE) // 100, salary)

    def _card(self, index: int) -> None:
        """An authorisation: reserved until it is cleared, for its whole amount or a part, or given back."""
        person, shop = self._person(), self._random.randrange(PEOPLE_FROM - SHOPS, PEOPLE_FROM)
        added = self._add(index, "card", person, shop, self._random.randrange(200, 4000), self._paid[person][0])
        self.story[-1] = replace(added, flags=TransferFlag.PENDING)
        self._authorised.append(index)

    def _resolve(self, index: int, kind: str, share: int, flags: TransferFlag) -> None:
        """Post or void the oldest open authorisation."""
        at = self._authorised.popleft()
        card = self.story[at]
        amount = card.amount * share // 100
        mine = payment_id(self._day.run, index)
        # A post and a void name the pending transfer only: who pays whom stands there.
        self.story.append(Payment(mine, 0, 0, amount, CODES[kind], flags, pending_id=card.id, after=at))

    def _clearing(self, index: int) -> None:
        share = 100 if self._random.random() < 0.7 else self._random.randrange(50, 100)
        self._resolve(index, "clearing", share, TransferFlag.POST_PENDING_TRANSFER)
        self._cleared.append(index)

    def _void(self, index: int) -> None:
        self._resolve(index, "void", 0, TransferFlag.VOID_PENDING_TRANSFER)

    def _refund(self, index: int) -> None:
        """What a shop gives back is a transfer of its own."""
        at = self._cleared.popleft()
        cleared = self.story[at]
        card = self.story[cleared.after]
        mine = payment_id(self._day.run, index)
        parties = card.credit_account_id, card.debit_account_id
        self.story.append(Payment(mine, *parties, cleared.amount, CODES["refund"], after=at))

    def _friend(self, index: int) -> None:
        person, friend = self._random.sample(range(PEOPLE_FROM, PEOPLE_FROM + self._day.people), 2)
        self._add(index, "friend", person, friend, self._random.randrange(100, 3000), self._paid[person][0])

    def _fee(self, index: int) -> None:
        person = self._person()
        self._add(index, "fee", person, BANK, self._random.randrange(50, 300), self._paid[person][0])

    def _refused(self, index: int) -> None:
        person, friend = self._random.sample(range(PEOPLE_FROM, PEOPLE_FROM + self._day.people), 2)
        self._add(index, "refused", person, friend, AMOUNT_REFUSED, self._paid[person][0])
