"""A small bank with a month behind it, made of a number: the same seed gives the same accounts and payments anywhere.

Salaries, rent, shopping, friends who pay each other, the bank's monthly fee. What comes out is a history as
`lab.replay` takes it, so that it is paid through the front door, and once, however often it is sent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tallystick.lab.replay.mapping import Accounts, Columns, Mapping
from tallystick.lab.replay.rows import ROWS_AT_ONCE

FIRST_DAY = 1_767_225_600
"""Midnight of 1 January 2026, UTC, seconds since the epoch: the history's own time, not the ledger's."""
DAY_S = 86_400
MONTH_DAYS = 30
FEES = "bank/fees"
SHOPS = ("bakery", "bookshop", "cinema", "grocer", "pharmacy", "station", "tailor", "trattoria")
SALARY, RENT, SHOPPING, FRIENDS, FEE = 10, 20, 30, 40, 50
"""Transfer codes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a bank, and how long."""

    customers: int = 100
    days: int = 30

    @property
    def employers(self) -> int:
        """Who pays the salaries."""
        return max(1, self.customers // 25)


def mapping(seed: int, size: Size) -> Mapping:
    """How the rows are to be read: one word for all accounts, since who pays today is paid tomorrow."""
    return Mapping(
        name=f"seed-{seed}-{size.customers}-{size.days}",
        accounts=Accounts(payer="account", payee="account"),
        columns=Columns(code="code"),
        currency="EUR",
    )


class SeededHistory:
    """The rows, made as they are read."""

    columns: Sequence[str] = ("id", "payer", "payee", "amount", "time", "code")

    def __init__(self, seed: int, size: Size) -> None:
        self._made = list(enumerate(_rows(Random(seed), size)))
        self.count: int | None = len(self._made)

    def rows(self, skip: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """As `lab.replay.rows.History`."""
        for at in range(skip, len(self._made), ROWS_AT_ONCE):
            yield self._made[at : at + ROWS_AT_ONCE]


def customer(number: int) -> str:
    """The name of a customer's account."""
    return f"customer/{number:05d}"


def _rows(random: Random, size: Size) -> Iterator[dict[str, Any]]:
    salaries = [random.randrange(180_000, 620_000, 500) for _ in range(size.customers)]
    rents = [random.randrange(45_000, 150_000, 1_000) for _ in range(size.customers)]
    count = 0
    for day in range(size.days):
        made = sorted(_day(random, size, day, salaries, rents))
        for second, payer, payee, amount, code in made:
            count += 1
            yield {
                "id": str(count),
                "payer": payer,
                "payee": payee,
                "amount": f"{amount // 100}.{amount % 100:02d}",
                "time": FIRST_DAY + day * DAY_S + second,
                "code": code,
            }


def _day(
    random: Random, size: Size, day: int, salaries: list[int], rents: list[int]
) -> Iterator[tuple[int, str, str, int, int]]:
    """Second of the day, payer, payee, cents, code."""
    for number in range(size.customers):
        who = customer(number)
        if day % MONTH_DAYS == 0:
            yield 6 * 3600 + number, f"employer/{number % size.employers:03d}", who, salaries[number], SALARY
        if day % MONTH_DAYS == 2:
            yield 7 * 3600 + number, who, f"landlord/{number % 7:03d}", rents[number], RENT
        if day % MONTH_DAYS == MONTH_DAYS - 1:
            yield 23 * 3600, who, FEES, 490, FEE
        for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
            shop = f"shop/{random.choice(SHOPS)}-{random.randrange(3)}"
            yield random.randrange(8 * 3600, 21 * 3600), who, shop, random.randrange(150, 9_000), SHOPPING
        if size.customers > 1 and random.random() < 0.1:
            friend = customer((number + random.randrange(1, size.customers)) % size.customers)
            yield random.randrange(10 * 3600, 23 * 3600), who, friend, random.randrange(500, 5_000, 50), FRIENDS
