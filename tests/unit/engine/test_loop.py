"""When the engine's loop may wait for the next bell."""

import pytest

from tallystick.engine.loop import all_decided

A, B = b"a" * 16, b"b" * 16


@pytest.mark.parametrize(
    ("bells", "positions", "waits"),
    [
        ({A: 7}, {A: 7}, True),
        ({A: 7, B: 2}, {A: 7, B: 2}, True),
        ({A: 7}, {A: 6}, False),  # a batch was full before all was in
        ({A: 7, B: 2}, {A: 7, B: 1}, False),
        ({A: 7}, {A: 8}, False),  # one more was there without a bell: perhaps another
        ({A: 1}, {}, False),
        ({}, {A: 7}, False),  # a backlog rings no bells
    ],
)
def test_the_loop_waits_only_if_bells_told_of_all_that_was_decided_and_nothing_of_it_is_left(bells, positions, waits):
    assert all_decided(bells, positions) is waits
