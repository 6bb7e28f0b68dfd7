"""Time as the engine keeps it: never back, no jump followed, drawn gently to the wall clock."""

from itertools import pairwise

import pytest

from tallystick.engine.timekeeping import AHEAD_NS_MAX, JUMP_NS, SLEW_DIVISOR, Timekeeper
from tallystick.errors import Unavailable
from tallystick.lab.simulated_clock import START_NS, SimulatedClock
from tallystick.statuses import CREATED
from tests.unit.engine.shard import Shard, accounts, transfers

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def clock():
    return SimulatedClock()


def test_it_starts_at_the_wall_clock_and_runs_with_the_monotonic_one(clock):
    keeper = Timekeeper(clock, 0)
    assert keeper.now() == START_NS
    clock.advance(5 * SECOND)
    assert keeper.now() == START_NS + 5 * SECOND
    assert not keeper.jumped


def test_each_batch_has_a_time_past_every_timestamp_before(clock):
    keeper = Timekeeper(clock, 0)
    last = 0
    for passed in (0, 0, 1, 0, 50, 0):
        clock.advance(passed)
        now = keeper.after(last)
        assert now > last
        last = now + 20  # a batch of 21 events
    assert keeper.after(last) == last + 1  # the clock has not caught up


@pytest.mark.parametrize("jump", [2 * SECOND, -2 * SECOND, 400 * HOUR, -400 * HOUR, JUMP_NS + 1, -JUMP_NS - 1])
def test_a_jump_of_the_wall_clock_is_told_and_not_followed(clock, jump):
    keeper = Timekeeper(clock, 0)
    clock.jump(jump)
    clock.advance(SECOND)
    assert keeper.now() == START_NS + SECOND
    assert keeper.jumped
    clock.jump(-jump)
    assert keeper.now() == START_NS + SECOND
    assert not keeper.jumped


@pytest.mark.parametrize("away", [JUMP_NS // 2, -JUMP_NS // 2])
def test_it_is_drawn_to_the_wall_clock_by_one_part_in_two_thousand(clock, away):
    keeper = Timekeeper(clock, 0)
    clock.jump(away)
    clock.advance(2 * SECOND)
    sign = 1 if away > 0 else -1
    assert keeper.now() == START_NS + 2 * SECOND + sign * 2 * SECOND // SLEW_DIVISOR
    for _ in range(2_000):
        clock.advance(SECOND)
        keeper.now()
    assert keeper.now() == clock.wall_ns()
    assert not keeper.jumped


def test_it_never_goes_back_however_the_wall_clock_behaves(clock):
    keeper = Timekeeper(clock, 0)
    seen = [keeper.now()]
    for jump in (-SECOND // 2, SECOND // 3, -9 * HOUR, 9 * HOUR, -SECOND // 4):
        clock.jump(jump)
        for passed in (0, 1, 1_000, SECOND):
            clock.advance(passed)
            seen.append(keeper.now())
    assert all(before <= after for before, after in pairwise(seen))


def test_a_clock_more_than_a_day_ahead_of_the_journal_is_refused_unless_accepted(clock):
    last = START_NS - AHEAD_NS_MAX - 1
    with pytest.raises(Unavailable, match="--accept-clock"):
        Timekeeper(clock, last)
    assert Timekeeper(clock, last, accept_clock=True).now() == START_NS
    assert Timekeeper(clock, last + 1).now() == START_NS
    assert Timekeeper(clock, 0).now() == START_NS  # an empty journal


def test_a_clock_behind_the_journal_counts_on_from_the_journal(clock):
    keeper = Timekeeper(clock, START_NS + 9 * HOUR)
    assert keeper.after(START_NS + 9 * HOUR) == START_NS + 9 * HOUR + 1


def test_timestamps_strictly_increase_across_a_restart_with_a_clock_set_back():
    shard = Shard()
    shard.start()
    shard.decide(accounts(1, 1, 2))
    shard.clock.advance(HOUR)
    before = shard.decide(transfers(10, 100, 101))
    shard.clock.jump(-40 * HOUR)
    shard.start()
    after = shard.decide(transfers(11, 102, 103))
    assert [status for _, status, _ in after] == [CREATED, CREATED]
    times = [timestamp for timestamp, _, _ in (*before, *after)]
    assert times == sorted(set(times))
    assert after[0][0] == before[-1][0] + 1
