"""Which payments a run makes: a function from an index to a payment, so that whoever checks need not be told.

The load generator and the check are different processes with nothing in common but a `Plan`: what was asked, the
check works out again from the index, and compares with what the journal says.
"""

from dataclasses import dataclass

import msgspec

LEDGER = 978
CODE = 1
REFUSED_EVERY = 50
"""One payment in so many asks for more than anyone has, so that a run shows refusals too."""
AMOUNT_REFUSED = 10**15


class Plan(msgspec.Struct, frozen=True, kw_only=True):
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
        return (run << 64) | (0xACC << 48) | (number + 1)

    def payment(self, index: int) -> "Payment":
        """Payment `index`, from 0."""
        debit = (index * 7919) % self.accounts
        credit = (debit + 1 + (index * 104_729) % (self.accounts - 1)) % self.accounts
        every = self.refused_every
        amount = AMOUNT_REFUSED if every and index % every == every - 1 else 1 + index % 97
        return Payment(
            (self.run << 64) | (0xFAE << 48) | (index + 1), self.account_id(debit), self.account_id(credit), amount
        )


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment. `id` is the request's and the transfer's alike."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
