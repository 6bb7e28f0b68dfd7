"""The books: accounts found while their table grows, and books that are full."""

import numpy as np
import pytest

from tallystick.lab.shard import Shard
from tallystick.ledger.books import MIGRATED_A_BLOCK, ROW, Bookkeeper
from tallystick.records.commands import ACCOUNT_EVENT, COMMANDS_MAX, Kind, frame
from tallystick.statuses import AccountStatus
from tests.properties.random_requests import NOW

TENANTS = (1, 2)


def opening(first, count, request_id, tenant):
    """A request that opens accounts `first`, `first + 1`, …; every third has an upper half."""
    events = np.zeros(count, ACCOUNT_EVENT)
    numbers = np.arange(first, first + count, dtype="<u8")
    events["id_lo"], events["id_hi"], events["ledger"], events["code"] = numbers, numbers % np.uint64(3), 1, 1
    return frame(events.tobytes(), Kind.ACCOUNT, tenant, request_id, NOW)


def whole(number):
    return number | number % 3 << 64


def test_accounts_are_found_at_every_moment_of_several_doublings():
    shard, rng = Shard(300_000, 1000), np.random.default_rng(1)
    doublings, migrating, opened, now = set(), 0, dict.fromkeys(TENANTS, 1), NOW
    for block in range(34):
        tenant = TENANTS[block % 2]
        results = shard.decide([opening(opened[tenant], COMMANDS_MAX, block + 1, tenant)], now)
        assert {status for _, status, _ in results} == {AccountStatus.CREATED}
        opened[tenant] += COMMANDS_MAX
        now += 10_000
        bookkeeper = shard.decider.bookkeeper
        doublings.add(len(bookkeeper.books.slots))
        migrating += len(bookkeeper.books.old_slots) > 1
        for tenant in TENANTS:
            for number in rng.integers(1, opened[tenant], 40).tolist() if opened[tenant] > 1 else ():
                row = bookkeeper.account(tenant, whole(number))
                assert row is not None
                assert (int(row["id_lo"][0]), int(row["tenant"][0])) == (number, tenant)
            assert bookkeeper.account(tenant, whole(opened[tenant])) is None
        assert bookkeeper.account(3, whole(1)) is None
        # Opened again in the middle of it, by whoever was opened first and last.
        again = [opening(first, 1, 1000 + 2 * block + at, 1) for at, first in enumerate((1, opened[1] - 1))]
        assert {status for _, status, _ in shard.decide(again, now)} == {AccountStatus.EXISTS}
        now += 10_000
    assert len(doublings) >= 4, "the table did not grow often enough to show anything"
    assert migrating >= 8, "no look-up met a table on the move"
    assert shard.decider.bookkeeper.count() == 34 * COMMANDS_MAX
    assert 2 * shard.decider.bookkeeper.count() <= len(shard.decider.bookkeeper.books.slots) + 2 * COMMANDS_MAX
    shard.restart()
    assert shard.decider.bookkeeper.count() == 34 * COMMANDS_MAX
    assert shard.decider.bookkeeper.account(2, whole(opened[2] - 1)) is not None


def test_a_table_moves_a_few_thousand_slots_a_block():
    shard = Shard(100_000, 1000)
    moved, now = [], NOW
    for block in range(12):
        shard.decide([opening(1 + block * COMMANDS_MAX, COMMANDS_MAX, block + 1, 1)], now)
        now += 10_000
        moved.append(len(shard.decider.bookkeeper.books.old_slots) > 1)
    assert moved == [False] * 4 + [True] * 5 + [False] + [True] * 2
    assert MIGRATED_A_BLOCK * 4 < 65_536 <= MIGRATED_A_BLOCK * 5


def test_full_books_refuse_and_stay_as_they_are():
    shard = Shard(COMMANDS_MAX + 5, 1000)
    shard.decide([opening(1, COMMANDS_MAX, 1, 1)], NOW)
    results = shard.decide([opening(COMMANDS_MAX + 1, 10, 2, 1)], NOW + 10_000)
    assert [status for _, status, _ in results] == [AccountStatus.CREATED] * 5 + [AccountStatus.TOO_MANY_ACCOUNTS] * 5
    bookkeeper = shard.decider.bookkeeper
    assert bookkeeper.count() == COMMANDS_MAX + 5
    assert bookkeeper.account(1, whole(COMMANDS_MAX + 5)) is not None
    assert bookkeeper.account(1, whole(COMMANDS_MAX + 6)) is None
    again = shard.decide([opening(COMMANDS_MAX + 5, 2, 3, 1)], NOW + 20_000)
    assert [status for _, status, _ in again] == [AccountStatus.EXISTS, AccountStatus.TOO_MANY_ACCOUNTS]
    shard.restart()
    assert shard.decider.bookkeeper.count() == COMMANDS_MAX + 5


@pytest.mark.parametrize("account_id", [0, 1, 2**64 - 1, 2**64, 2**128 - 1])
def test_empty_books_know_no_account(account_id):
    key, table = np.arange(4, dtype="<u8"), np.zeros((16, 2), "<u8")
    assert Bookkeeper(4, key, key, table, table).account(0, account_id) is None


def test_a_look_up_is_a_copy():
    shard = Shard()
    shard.decide([opening(1, 1, 1, 1)], NOW)
    row = shard.decider.bookkeeper.account(1, whole(1))
    row["debits_posted_lo"] = 5
    assert shard.decider.bookkeeper.account(1, whole(1))["debits_posted_lo"][0] == 0
    assert row.dtype == ROW
