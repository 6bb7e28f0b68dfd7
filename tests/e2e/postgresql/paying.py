"""A ledger with two accounts, and transfers between them by the fifty."""

from collections.abc import Set

from tallystick.compose.library import Ledger
from tallystick.records.objects import Account, Transfer


def open_two_accounts(ledger: Ledger) -> None:
    """Accounts 1 and 2, of ledger 1."""
    ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2)])


def pay(ledger: Ledger, start: int, stop: int) -> Set[str]:
    """One unit from 1 to 2, under each id from `start` to `stop`; what was told of them."""
    told = set()
    for number in range(start, stop, 50):
        transfers = [
            Transfer(id=id, debit_account_id=1, credit_account_id=2, amount=1, ledger=1, code=1)
            for id in range(number, min(number + 50, stop))
        ]
        told |= {result.status.name for result in ledger.create_transfers(transfers)}
    return told
