"""Which payments a run makes: a function from an index to a payment, so that whoever checks need not be told.

The load generator and the check are different processes with nothing in common but a `Plan`: what was asked, the
check works out again from the index, and compares with what the journal says.
"""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from tallystick.records.commands import TransferFlag

LEDGER = 978
PLAIN = TransferFlag(0)
CODE = 1
REFUSED_EVERY = 50
"""One payment in so many asks for more than anyone has, so that a run shows refusals too."""
AMOUNT_REFUSED = 10**15


class Payments(Protocol):
    """What a load generator makes and a check looks for: so many payments, each a function of its index."""

    @property
    def run(self) -> int:
        """The upper half of every request id of the run."""
        ...

    @property
    def payments(self) -> int:
        """How many there are."""
        ...

    def payment(self, index: int) -> "Payment":
        """Payment `index`, from 0; its request id ends in `index + 1`."""
        ...


class Plan(msgspec.Struct, frozen=True, kw_only=True, tag="plan"):
    """A run's payments between its accounts."""

    run: int
    """64 random bits in every id of the run, so that runs on one journal never meet."""
    accounts: int
    """How many accounts pay each other, numbered from 0; at least 2."""
    payments: int
    refused_every: int = REFUSED_EVERY
    """One payment in so many asks for too much; 0: none does."""
    accounts_run: int | None = None
    """The run whose accounts are used, if not this one's own."""

    def account_id(self, number: int) -> int:
        """The id of account `number`."""
        run = self.run if self.accounts_run is None else self.accounts_run
        return account_id(run, number)

    def payment(self, index: int) -> "Payment":
        """Payment `index`, from 0."""
        debit = (index * 7919) % self.accounts
        credit = (debit + 1 + (index * 104_729) % (self.accounts - 1)) % self.accounts
        every = self.refused_every
        amount = AMOUNT_REFUSED if every and index % every == every - 1 else 1 + index % 97
        return Payment(payment_id(self.run, index), self.account_id(debit), self.account_id(credit), amount)


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment. `id` is the request's and the transfer's alike."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    code: int = CODE
    flags: TransferFlag = PLAIN
    pending_id: int = 0
    after: int = -1
    """The index of a payment whose outcome must be known before this one is sent; negative: of none."""


def account_id(run: int, number: int) -> int:
    """The id of a run's account `number`."""
    return (run << 64) | (0xACC << 48) | (number + 1)


def payment_id(run: int, index: int) -> int:
    """The id of a run's payment `index`, as a transfer and as a request."""
    return (run << 64) | (0xFAE << 48) | (index + 1)
