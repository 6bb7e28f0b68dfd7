"""A platform gets the time to rise, but not for ever."""

import threading
from itertools import count

import pytest

from tallystick.clock import SystemClock
from tallystick.lab.torture import pulse
from tallystick.lab.torture.pulse import Pulse


def test_it_waits_for_some_outcomes_more() -> None:
    outcomes = count()
    Pulse(lambda: next(outcomes), SystemClock()).wait(threading.Event())
    assert next(outcomes) > pulse.OUTCOMES


def test_it_does_not_wait_for_one_that_decides_nothing_or_once_all_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Pulse(lambda: 7, SystemClock())
    stopped = threading.Event()
    stopped.set()
    dead.wait(stopped)
    monkeypatch.setattr(pulse, "AT_MOST_S", 0.01)
    dead.wait(threading.Event())
