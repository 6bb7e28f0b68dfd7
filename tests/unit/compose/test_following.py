"""Who keeps a pace: followers on few processors, and whoever is told to."""

import os

import pytest

from tallystick.clock import SystemClock
from tallystick.compose import following
from tallystick.settings import Settings

FAR = 10_000_000


@pytest.mark.parametrize(
    ("processors", "share", "paced"),
    [(1, 0.0, True), (3, 0.0, True), (4, 0.0, False), (64, 0.5, True), (2, 1.0, False)],
)
def test_payments_are_left_their_processor_where_there_are_few_or_where_it_is_asked(
    monkeypatch, processors, share, paced
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)))
    pace = following.pace(Settings(followers_share=share), SystemClock(), 50_000)
    assert (pace.part(FAR, FAR) is not None) == paced
