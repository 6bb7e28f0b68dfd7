"""Look-ups: what is there, for whom it is there, and not before it is durable."""

import pytest

from tallystick.blockfile.simulated import Fault
from tallystick.engine import lookups
from tallystick.errors import Unavailable
from tallystick.records.commands import Opcode
from tests.unit.engine.shard import Shard, accounts, control, transfers

BIG = 1 << 64


@pytest.fixture
def shard():
    shard = Shard()
    shard.start()
    shard.decide(accounts(1, 1, 2, 3))
    return shard


def found(shard, *ids, tenant=1):
    return [(int(row["id_lo"]), int(row["amount_lo"])) for row in lookups.transfers(shard.engine.decider, tenant, ids)]


def balances(shard, *ids, tenant=1):
    shown, _ = lookups.accounts(shard.engine.decider, tenant, ids)
    return {int(row["id_lo"]): (int(row["debits_posted_lo"]), int(row["credits_posted_lo"])) for row in shown}


def test_accounts_show_their_balances_limits_and_freezes(shard):
    shard.decide(transfers(10, 100, 101))
    shard.decide(control(11, Opcode.CREDIT_LIMIT, account=2, value=77), control(12, Opcode.FREEZE, account=2, value=1))
    assert balances(shard, 2, 9, 1) == {2: (0, 20), 1: (20, 0)}
    shown, extra = lookups.accounts(shard.engine.decider, 1, [2, 9, 1, 2])
    assert shown["id_lo"].tolist() == [2, 1, 2]  # in the order asked, those that exist
    assert extra["credit_limit_lo"].tolist() == [77, 0, 77]
    assert extra["frozen"].tolist() == [1, 0, 1]


def test_transfers_are_shown_in_order_once_for_each_time_asked(shard):
    shard.decide(transfers(10, 100, 101, BIG + 100))
    assert found(shard, 101, 100, 5, 101) == [(101, 10), (100, 10), (101, 10)]
    assert [int(row["id_hi"]) for row in lookups.transfers(shard.engine.decider, 1, [BIG + 100])] == [1]
    assert found(shard) == []


def test_what_moved_and_when_is_shown_not_what_was_asked(shard):
    [(timestamp, _, _)] = shard.decide(transfers(10, 100))
    [row] = lookups.transfers(shard.engine.decider, 1, [100])
    assert (int(row["timestamp"]), int(row["amount_lo"]), int(row["ledger"])) == (timestamp, 10, 1)


def test_a_refused_transfer_is_not_there(shard):
    shard.decide(transfers(10, 100, debit_account_id_lo=9), transfers(11, 101, code=0))
    assert found(shard, 100, 101) == []


def test_other_tenants_ids_look_unknown(shard):
    shard.decide(transfers(10, 100))
    assert found(shard, 100, tenant=2) == []
    assert balances(shard, 1, 2, tenant=2) == {}


def test_old_transfers_are_found_when_the_window_has_passed_and_after_restarts(shard):
    for number in range(60):
        shard.decide(transfers(number + 10, 1000 + number, 5000 - number))
        shard.engine.keep_house()
    asked = [*range(1000, 1060), *range(4941, 5001)]
    for _ in range(2):
        assert [number for number, _ in found(shard, *asked)] == asked
        shard.start()


def test_a_look_up_is_answered_only_when_all_that_it_saw_is_durable(shard):
    engine, told = shard.engine, []
    shard.submit(transfers(10, 100))
    engine.loop()
    durable = engine.parts.journal.end()
    seen = balances(shard, 1)
    engine.put(lambda: told.append((seen, engine.parts.journal.end())))
    assert told == []  # the gate keeps the order: the block first
    assert engine.parts.journal.end() == durable + 2
    shard.submit(transfers(11, 101))
    engine.loop()
    assert told == [({1: (10, 0)}, durable + 2)]  # and nothing decided later was durable yet


def test_a_look_up_that_saw_what_was_lost_is_never_answered(shard):
    told = []
    shard.submit(transfers(10, 100))
    shard.engine.loop()
    shard.world.disk.inject(Fault.WRITE_FULL)
    with pytest.raises(Unavailable):
        shard.engine.put(lambda: told.append(1))
    assert not told
    shard.start()
    assert found(shard, 100) == []


def test_results_are_found_once_wherever_their_id_stands(shard):
    rows = {number: shard.decide(transfers(number, number, number + 1000)) for number in range(10, 30)}
    for number in range(30, 60):  # the ids move on from table to run meanwhile, and are in both for a while
        shard.decide(transfers(number, number))
        shard.engine.parts.chores[2]()
        for asked, results in rows.items():
            found_rows = shard.results(1, asked).results.tolist()
            assert found_rows == [(timestamp, status, 1) for timestamp, status, _ in results], asked
