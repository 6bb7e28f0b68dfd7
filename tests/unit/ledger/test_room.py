"""Overflow of posted and pending amounts together. No command makes pending ones yet, so the books get them by hand."""

import numpy as np
import pytest

from tallystick.lab.shard import Shard
from tallystick.statuses import TransferStatus
from tests.properties.random_requests import NOW
from tests.unit.ledger.test_boundaries import ACCOUNT, TRANSFER, Kind, request

U128_MAX = 2**128 - 1


def status_of(amount, flags=(0, 0), **held):
    """The status of a transfer from account 1 to account 2 whose rows hold these amounts."""
    shard = Shard()
    accounts = [{**ACCOUNT, "id": at + 1, "flag_bits": flags[at]} for at in range(2)]
    shard.decide([request(Kind.ACCOUNT, accounts, 1)], NOW)
    rows = shard.decider.bookkeeper.books.rows.view(np.ndarray)
    for name, value in held.items():
        side, _, column = name.partition("_")
        row = rows[0 if side == "debit" else 1 : 1 if side == "debit" else 2]
        row[f"{column}_lo"], row[f"{column}_hi"] = value & 0xFFFFFFFFFFFFFFFF, value >> 64
    ((_, status, _),) = shard.decide([request(Kind.TRANSFER, [{**TRANSFER, "id": 1, "amount": amount}], 2)], NOW + 9)
    return TransferStatus(status)


@pytest.mark.parametrize("pending", [1, 2**64 - 1, 2**64, 2**127, U128_MAX])
def test_posted_and_pending_debits_together_stay_within_128_bits(pending):
    assert status_of(U128_MAX - pending, debit_debits_pending=pending) is TransferStatus.CREATED
    assert status_of(U128_MAX - pending + 1, debit_debits_pending=pending) is TransferStatus.OVERFLOWS_DEBITS


@pytest.mark.parametrize("pending", [1, 2**64 - 1, 2**64, 2**127, U128_MAX])
def test_posted_and_pending_credits_together_stay_within_128_bits(pending):
    assert status_of(U128_MAX - pending, credit_credits_pending=pending) is TransferStatus.CREATED
    assert status_of(U128_MAX - pending + 1, credit_credits_pending=pending) is TransferStatus.OVERFLOWS_CREDITS


def test_overflows_win_in_their_order_and_before_limits():
    both = {"debit_debits_pending": U128_MAX, "credit_credits_pending": U128_MAX}
    assert status_of(1, (2, 4), **both) is TransferStatus.OVERFLOWS_DEBITS
    assert status_of(1, (2, 4), credit_credits_pending=U128_MAX) is TransferStatus.OVERFLOWS_CREDITS
    assert status_of(1, credit_credits_posted=U128_MAX, **both) is TransferStatus.OVERFLOWS_CREDITS_POSTED
    assert status_of(1, debit_debits_posted=U128_MAX, **both) is TransferStatus.OVERFLOWS_DEBITS_POSTED


def test_pending_amounts_count_against_limits():
    assert status_of(5, (2, 0), debit_credits_posted=8, debit_debits_pending=3) is TransferStatus.CREATED
    assert status_of(6, (2, 0), debit_credits_posted=8, debit_debits_pending=3) is TransferStatus.EXCEEDS_CREDITS
    assert status_of(1, (2, 0), debit_credits_pending=8) is TransferStatus.EXCEEDS_CREDITS
    assert status_of(5, (0, 4), credit_debits_posted=8, credit_credits_pending=3) is TransferStatus.CREATED
    assert status_of(6, (0, 4), credit_debits_posted=8, credit_credits_pending=3) is TransferStatus.EXCEEDS_DEBITS
    assert status_of(1, (0, 4), credit_debits_pending=8) is TransferStatus.EXCEEDS_DEBITS
