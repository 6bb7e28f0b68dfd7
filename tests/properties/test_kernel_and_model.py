"""The compiled kernel decides what the model decides, command by command, to the nanosecond.

Statuses, times, amounts that moved, effective flags, numbering of accounts, balances, expiries: all of it, on random
commands with all flags, whose batches are cut anywhere.
"""

from collections import Counter

import pytest

from tallystick.records.commands import Kind
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus
from tests.properties import agreeing
from tests.properties.random_requests import LATE, NOW, RandomRequests

NOT_RANDOM = {
    "quarantined": "tests/unit/engine/test_poison.py",
    "not_decided": "an answer of look-ups: tests/unit/engine",
}
TABLES = {Kind.TRANSFER: TransferStatus, Kind.ACCOUNT: AccountStatus, Kind.CONTROL: ControlStatus}


def agree(seed, commands, now=NOW, size_max=8190, **options):
    """How often each (kind, status) was met in random commands on which both agree."""
    return agreeing.run(RandomRequests(seed, now=now).batches(commands, size_max), **options)


def unmet(met):
    """By kind, names of the statuses that were never given."""
    return {
        kind.name: {
            status.name.lower()
            for status in table
            if not met[kind, int(status)] and status.name.lower() not in NOT_RANDOM
        }
        for kind, table in TABLES.items()
    }


def test_kernel_and_model_agree_on_random_commands():
    met = agree(1, 30_000, window_ids=20_000) + agree(2, 25_000, now=LATE, window_ids=20_000)
    assert met[Kind.TRANSFER, TransferStatus.CREATED] > 10_000
    assert met["entry", Kind.EXPIRY] > 500
    assert met[Kind.TRANSFER, RequestStatus.IDEMPOTENCY_KEY_REUSED] > 20


def test_kernel_and_model_agree_while_every_block_turns_the_window_over():
    agree(3, 3_000, size_max=100, window_ids=16)


def test_kernel_and_model_agree_where_the_books_are_full():
    met = agree(4, 8_000, window_ids=1000, accounts_max=40, pendings_max=40)
    assert met[Kind.ACCOUNT, AccountStatus.TOO_MANY_ACCOUNTS]
    assert met[Kind.TRANSFER, TransferStatus.TOO_MANY_PENDING_TRANSFERS]


def test_kernel_and_model_agree_while_the_engine_starts_again_and_again():
    agree(5, 6_000, size_max=300, window_ids=200, restart_every=3)


@pytest.mark.service
@pytest.mark.timeout(900)
def test_kernel_and_model_agree_on_a_million_random_commands_and_every_status_is_met():
    met = Counter()
    for seed, now in ((11, NOW), (12, LATE), (13, NOW), (14, LATE)):
        met += agree(seed, 250_000, now=now, window_ids=50_000)
    met += agree(15, 50_000, window_ids=5_000, accounts_max=60, pendings_max=100)
    met += agree(16, 50_000, size_max=2_000, window_ids=1_000, restart_every=10)
    commands = sum(count for (kind, _), count in met.items() if kind != "entry")
    assert commands >= 1_000_000
    assert unmet(met) == {kind.name: set() for kind in TABLES}
