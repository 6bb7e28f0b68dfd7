"""A follower that is far behind takes little at a time while payments come, gains on them, and else does not rest."""

import pytest

from tallystick.journal.follow import Follower
from tallystick.journal.memory import MemoryJournalReader
from tallystick.journal.pacing import GAIN, NEAR_S, PART_S, REST_S_MAX, Pace
from tallystick.lab.simulated_clock import SimulatedClock
from tests.unit.journal.test_follow import Store
from tests.unit.projector.histories import Writer

SPEED = 50_000
SHARE = 0.03
FAR = 10_000_000
SECOND = 1_000_000_000


def follow(arriving, behind=FAR, seconds=60, share=SHARE):
    """Follows for so long, `arriving` a second by the time. Returns entries taken in a second, and the largest part."""
    clock, at, came, largest = SimulatedClock(), 0, 0.0, 0
    pace = Pace(clock, SPEED, share)
    while clock.monotonic_ns() < seconds * SECOND:
        began_ns, end = clock.monotonic_ns(), behind + int(came)
        part = min(pace.part(end - at, end) or SPEED, end - at)
        at, largest = at + part, max(part, largest)
        clock.advance(round(part / SPEED * SECOND))
        pace.took(part)
        clock.advance(round(max(pace.rest_s(), 0.001) * SECOND))
        came += arriving(began_ns / SECOND) * (clock.monotonic_ns() - began_ns) / SECOND
    return at / seconds, largest


def test_while_payments_come_it_takes_a_small_share_in_short_parts():
    rate, largest = follow(lambda second: 400)
    assert rate == pytest.approx(SPEED * SHARE, rel=0.1)
    assert largest == SPEED * PART_S


def test_where_that_would_not_gain_on_what_comes_it_takes_more():
    rate, largest = follow(lambda second: 5_000)
    assert rate == pytest.approx(5_000 * GAIN, rel=0.25)
    assert largest == SPEED * PART_S


def test_when_none_come_it_does_not_rest():
    assert follow(lambda second: 0)[0] > 0.9 * SPEED


def test_when_they_come_again_it_rests_again():
    calm = follow(lambda second: 0, seconds=10)[0] * 10
    both = follow(lambda second: 400 if second > 10 else 0, seconds=20)[0] * 20
    assert both < calm + 3 * SPEED


def test_nearly_level_it_does_not_rest():
    pace = Pace(SimulatedClock(), SPEED, SHARE)
    assert pace.part(int(SPEED * NEAR_S), FAR) is None
    pace.took(SPEED)
    assert pace.rest_s() == 0
    assert pace.part(int(SPEED * NEAR_S) + 1, FAR) == SPEED * PART_S


def test_whoever_has_processors_to_spare_takes_all_there_is():
    assert follow(lambda second: 400, share=1.0)[0] > 0.9 * SPEED


def test_a_rest_ends_though_one_block_held_many():
    clock = SimulatedClock()
    pace = Pace(clock, SPEED, SHARE)
    assert pace.part(FAR, FAR)
    pace.took(8_190 * 1_000)
    assert pace.rest_s() == REST_S_MAX
    clock.advance(round(REST_S_MAX * SECOND))
    assert pace.rest_s() == 0


def test_a_follower_keeps_its_pace_however_often_it_is_stepped(tmp_path):
    writer = Writer()
    for block in range(100):
        for number in range(19):
            writer.account(1000 * block + number + 1)
        writer.seal()
    clock, store = SimulatedClock(), Store(tmp_path / "store.db")
    pace = Pace(clock, 1_000, 0.1)  # parts of 20 entries, a block here, and 100 entries a second
    follower = Follower(MemoryJournalReader(writer.journal.kept), store, clock, 500, pace)
    for step in range(1_000):
        if step % 100 == 0:
            writer.account(1_000_000 + step)
            writer.seal()
        assert follower.step() > 0
        clock.advance(round(0.005 * SECOND))
    assert len(store.seqs()) == pytest.approx(5 * 100, abs=40)
    assert store.seqs() == list(range(len(store.seqs())))
