"""The same request from many callers of one `Ledger` at once, and again after a freeze, a thaw and a reopening."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick.compose.library import Ledger
from tallystick.errors import Invalid
from tallystick.records.commands import Side
from tallystick.records.objects import Account, Transfer
from tallystick.statuses import TransferStatus

SMALL = {"accounts_max": 1000, "window_ids": 64, "segment_bytes": 6_291_456}
CALLERS = 60
CONTENTS = 3


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "books", **SMALL) as made:
        made.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2)])
        yield made


def pay(amount, number=10):
    return [Transfer(id=number, debit_account_id=1, credit_account_id=2, amount=amount, ledger=1, code=1)]


def moved(ledger):
    return ledger.lookup_accounts([1])[0].debits_posted


def one_wins(ledger, outcomes):
    """Of several contents under one key one was decided; its callers got the one result, all others were told."""
    decided = {amount for amount, result in outcomes if not isinstance(result, Invalid)}
    assert len(decided) == 1
    (amount,) = decided
    results = [result for asked, result in outcomes if asked == amount]
    assert len(results) == CALLERS // CONTENTS
    assert all(result == results[0] for result in results)
    assert results[0][0].status is TransferStatus.CREATED
    assert all(isinstance(result, Invalid) for asked, result in outcomes if asked != amount)
    assert moved(ledger) == amount


def test_one_of_many_contents_under_one_key_is_decided_whatever_the_coroutines_do(ledger):
    async def ask(amount):
        try:
            return amount, await ledger.aio.create_transfers(pay(amount), request_id=77)
        except Invalid as refused:
            return amount, refused

    async def all_at_once():
        return await asyncio.gather(*(ask(5 + at % CONTENTS) for at in range(CALLERS)))

    one_wins(ledger, asyncio.run(all_at_once()))


def test_one_of_many_contents_under_one_key_is_decided_whatever_the_threads_do(ledger):
    def ask(at):
        amount = 5 + at % CONTENTS
        try:
            return amount, ledger.create_transfers(pay(amount), request_id=77)
        except Invalid as refused:
            return amount, refused

    with ThreadPoolExecutor(16) as pool:
        one_wins(ledger, list(pool.map(ask, range(CALLERS))))


def test_one_transfer_in_many_requests_at_once_moves_money_once(ledger):
    async def all_at_once():
        return await asyncio.gather(*(ledger.aio.create_transfers(pay(5)) for _ in range(CALLERS)))

    results = [result for (result,) in asyncio.run(all_at_once())]
    statuses = [result.status for result in results]
    assert statuses.count(TransferStatus.CREATED) == 1
    assert statuses.count(TransferStatus.EXISTS) == CALLERS - 1
    assert len({result.timestamp for result in results}) == 1  # exists tells when the one was created
    assert moved(ledger) == 5


def test_a_payment_refused_for_a_freeze_stays_refused_after_the_thaw_and_after_reopening(tmp_path):
    with Ledger.open(tmp_path / "books", **SMALL) as ledger:
        ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2)])
        ledger.freeze(1, Side.DEBITS)
        refused = ledger.create_transfers(pay(5), request_id=77)
        assert refused[0].status is TransferStatus.DEBIT_ACCOUNT_FROZEN
        ledger.unfreeze(1)
        assert ledger.create_transfers(pay(5), request_id=77) == refused
    with Ledger.open(tmp_path / "books", **SMALL) as ledger:
        assert ledger.create_transfers(pay(5), request_id=77) == refused
        assert ledger.create_transfers(pay(5), request_id=78)[0].status is TransferStatus.ID_ALREADY_FAILED
        assert moved(ledger) == 0
        assert ledger.create_transfers(pay(5, 11), request_id=79)[0].status is TransferStatus.CREATED
        assert moved(ledger) == 5
