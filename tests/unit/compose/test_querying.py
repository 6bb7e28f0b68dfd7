"""Queries of a `Ledger`: current at once, in files and in memory, from threads and coroutines, lazily opened."""

import asyncio
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.compose import projecting, rebuild
from tallystick.compose.library import Ledger
from tallystick.errors import Invalid, Unavailable
from tallystick.records.commands import AccountFlag
from tallystick.records.filters import AccountFilter, ChangeEventsFilter, QueryFilter, QueryFilterFlag
from tallystick.records.objects import Account, Transfer
from tallystick.settings import Settings

SMALL = {"accounts_max": 1_000, "window_ids": 4096, "segment_bytes": 6_291_456}


def transfer(number, amount=1, **fields):
    return Transfer(id=number, debit_account_id=1, credit_account_id=2, amount=amount, ledger=1, code=1, **fields)


def opened(ledger):
    ledger.create_accounts(
        [Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1, flags=AccountFlag.HISTORY)]
    )
    return ledger


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "books"


@pytest.fixture(params=["files", "memory"])
def ledger(request, folder):
    with Ledger.open(folder, **SMALL) if request.param == "files" else Ledger.in_memory() as ledger:
        yield opened(ledger)


def test_what_a_call_has_returned_is_in_the_next_answer(ledger):
    for number in range(10, 15):
        [made] = ledger.create_transfers([transfer(number, number)])
        [newest] = ledger.query_transfers(QueryFilter(limit=1, flags=QueryFilterFlag.REVERSED))
        assert (newest.id, newest.amount, newest.timestamp) == (number, number, made.timestamp)
    assert ledger.get_account_transfers(AccountFilter(account_id=1)) == ledger.lookup_transfers(range(10, 15))
    assert ledger.query_accounts(QueryFilter()) == ledger.lookup_accounts([1, 2])
    history = ledger.get_account_balances(AccountFilter(account_id=2))
    assert [each.credits_posted for each in history] == [10, 21, 33, 46, 60]
    assert ledger.get_account_balances(AccountFilter(account_id=1)) == []
    changes = ledger.get_change_events(ChangeEventsFilter())
    assert [(each.transfer_id, each.debit_account_debits_posted) for each in changes] == [
        (10, 10),
        (11, 21),
        (12, 33),
        (13, 46),
        (14, 60),
    ]


def test_coroutines_get_the_same_answers(ledger):
    ledger.create_transfers([transfer(10), transfer(11)])

    async def ask():
        aio = ledger.aio
        await aio.create_transfers([transfer(12)])
        return await asyncio.gather(
            aio.get_account_transfers(AccountFilter(account_id=1)),
            aio.get_account_balances(AccountFilter(account_id=2)),
            aio.query_accounts(QueryFilter()),
            aio.query_transfers(QueryFilter()),
            aio.get_change_events(ChangeEventsFilter()),
        )

    assert asyncio.run(ask()) == [
        ledger.get_account_transfers(AccountFilter(account_id=1)),
        ledger.get_account_balances(AccountFilter(account_id=2)),
        ledger.query_accounts(QueryFilter()),
        ledger.query_transfers(QueryFilter()),
        ledger.get_change_events(ChangeEventsFilter()),
    ]


def test_every_thread_finds_its_own_transfer_at_once_while_others_pay_and_ask(ledger):
    def pay_and_ask(first):
        for number in range(first, first + 20):
            ledger.create_transfers([transfer(number, user_data_64=number)])
            assert [each.id for each in ledger.query_transfers(QueryFilter(user_data_64=number))] == [number]
            changes = ledger.get_change_events(ChangeEventsFilter())
            totals = [each.debit_account_debits_posted for each in changes]
            assert totals == list(range(1, len(changes) + 1))  # each saw whole blocks, in order

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(pay_and_ask, (1000, 2000, 3000, 4000)))
    assert len(ledger.query_transfers(QueryFilter())) == 80


def test_a_ledger_that_is_not_queried_has_no_projection(folder):
    with Ledger.open(folder, **SMALL) as ledger:
        opened(ledger).create_transfers([transfer(10)])
        before = {each.name for each in threading.enumerate()}
        assert not (folder / "projector").exists()
        ledger.query_transfers(QueryFilter())
        assert (folder / "projector" / "projection.db").exists()
        assert {each.name for each in threading.enumerate()} == before


def test_a_projection_goes_on_after_reopening_and_is_made_again_after_deletion(folder):
    with Ledger.open(folder, **SMALL) as ledger:
        opened(ledger).create_transfers([transfer(10)])
        ledger.query_transfers(QueryFilter())
        ledger.create_transfers([transfer(11)])
    with Ledger.open(folder, **SMALL) as ledger:
        answers = ledger.query_transfers(QueryFilter()), ledger.get_change_events(ChangeEventsFilter())
    shutil.rmtree(folder / "projector")
    with Ledger.open(folder, **SMALL) as ledger:
        assert (ledger.query_transfers(QueryFilter()), ledger.get_change_events(ChangeEventsFilter())) == answers
    assert [each.id for each in answers[0]] == [10, 11]


def test_a_rebuild_takes_the_projection_away_and_verifying_finds_one_that_differs(folder):
    with Ledger.open(folder, **SMALL) as ledger:
        opened(ledger).create_transfers([transfer(10)])
        answer = ledger.query_transfers(QueryFilter())
    settings = Settings(data=folder, **SMALL)
    assert rebuild.verify(settings).difference is None
    connection = sqlite3.connect(folder / "projector" / "projection.db")
    connection.execute("UPDATE transfers SET amount = zeroblob(16)")
    connection.commit()
    connection.close()
    assert "transfers holds" in rebuild.verify(settings).difference
    rebuild.rebuild(settings)
    assert list((folder / "projector").iterdir()) == []
    assert rebuild.verify(settings).difference is None
    with Ledger.open(folder, **SMALL) as ledger:
        assert ledger.query_transfers(QueryFilter()) == answer


def test_tenants_are_asked_apart(ledger):
    opened_by_two = [Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1)]
    ledger.create_accounts(opened_by_two, tenant=2)
    ledger.create_transfers([transfer(10, 3)], tenant=2)
    assert [each.amount for each in ledger.query_transfers(QueryFilter(), tenant=2)] == [3]
    assert ledger.query_transfers(QueryFilter()) == []
    assert ledger.query_accounts(QueryFilter(), tenant=3) == []


def test_a_bad_filter_or_tenant_is_invalid_and_names_itself(ledger):
    with pytest.raises(Invalid, match="account_id"):
        ledger.get_account_transfers(AccountFilter(account_id=0))
    with pytest.raises(Invalid, match="tenant"):
        ledger.query_transfers(QueryFilter(), tenant=1 << 64)
    with pytest.raises(Invalid, match="limit"):
        asyncio.run(ledger.aio.query_accounts(QueryFilter(limit=0)))


def test_a_closed_ledger_answers_no_queries(ledger):
    ledger.query_transfers(QueryFilter())
    ledger.close()
    with pytest.raises(Unavailable, match="closed"):
        ledger.query_transfers(QueryFilter())
    with pytest.raises(Unavailable, match="closed"):
        asyncio.run(ledger.aio.query_transfers(QueryFilter()))
    ledger.close()


def test_a_projection_of_an_earlier_version_is_made_again_and_that_is_said(tmp_path):
    path = tmp_path / "projection.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE accounts (seq INTEGER)")
    connection.execute("PRAGMA application_id = 0x7A11571C")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    (tmp_path / "projection.db-wal").write_bytes(b"its log")
    said = []
    kept = projecting.Kept(tmp_path)
    with closing(kept.writer(SystemDisk(), said.append)) as tables:
        assert tables.execute("SELECT next_seq FROM cursor").fetchone() == (0,)
    assert "earlier version" in said[0]
    assert not (tmp_path / "projection.db-wal").exists()
    kept.writer(SystemDisk(), said.append).close()
    assert len(said) == 1
