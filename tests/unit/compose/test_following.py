"""Who keeps a pace: followers on few processors, and whoever is told to. And how a follower is told to end."""

import os
import signal
from types import SimpleNamespace

import pytest

from tallystick.clock import SystemClock
from tallystick.compose import following
from tallystick.journal import progress
from tallystick.journal.follow import Progress
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


@pytest.fixture
def handlers():
    """Those of the test run are back at the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_told_to_end_before_its_first_step_takes_none_and_says_how_far_it_is(tmp_path, handlers, number):
    follower = SimpleNamespace(step=lambda: pytest.fail("a step"), progress=lambda: Progress(7, 9, 0, ""))
    walk = following.Walk("notary", follower, tmp_path, SystemClock())
    signal.raise_signal(number)
    walk.run()
    assert progress.read(tmp_path)["notary"].next_seq == 7


def test_what_a_helper_died_of_ends_it(tmp_path, handlers):
    follower = SimpleNamespace(step=lambda: pytest.fail("a step"), progress=lambda: Progress(7, 9, 0, ""))
    walk = following.Walk("notary", follower, tmp_path, SystemClock())
    walk.fail(RuntimeError("the helper"))
    with pytest.raises(RuntimeError, match="the helper"):
        walk.run()
