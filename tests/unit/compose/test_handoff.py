"""The two threads behind the loop: one block at a time to the writer, chores in slices, failures told."""

import contextlib
import threading

import pytest

from tallystick.compose import handoff
from tallystick.compose.handoff import Housekeeper, WriterThread
from tallystick.engine.drafts import Draft
from tallystick.engine.writer import Writer
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.journal.memory import MemoryJournal
from tallystick.ledger.batches import outcome

LANE = bytes(range(16))
ENTRIES = 600
"""A block so large is written by the thread."""


class Gate:
    """Notes what it is told is durable."""

    def __init__(self):
        self.durable_up_to = []

    def decided(self, answers, position):
        assert answers == []

    def durable(self, positions):
        self.durable_up_to.append(positions[LANE])


class GuardedJournal(MemoryJournal):
    """Appends when it is let; fails when it is told to."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on, self.error = threading.Event(), threading.Event(), None
        self.go_on.set()

    def append(self, block, expected_seq, epoch):
        self.begun.set()
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        super().append(block, expected_seq, epoch)


@pytest.fixture
def journal():
    return GuardedJournal()


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def thread(journal, gate, failures):
    thread = WriterThread(Writer(journal, gate, bytes), failures.append)
    yield thread
    thread.stop()


def draft(number, entries=ENTRIES):
    """The `number`th block; all of them as large."""
    return Draft(outcome(entries), number * (entries + 1), {LANE: number}, [])


@pytest.mark.parametrize("entries", [1, ENTRIES])
def test_what_is_put_is_written_in_order_and_stop_finishes_it(thread, journal, gate, failures, entries):
    looked_up = []
    for number in range(20):
        thread.put(draft(number, entries))
        thread.put(lambda: looked_up.append(journal.end()))
    thread.stop()
    assert gate.durable_up_to == list(range(20))
    assert looked_up == [number * (entries + 1) for number in range(1, 21)]
    assert failures == []


def test_one_block_may_be_on_its_way_while_the_next_is_decided_and_no_more(thread, journal, gate):
    journal.go_on.clear()
    thread.put(draft(0))  # does not wait for the disk
    assert journal.begun.wait(10)
    assert gate.durable_up_to == []
    second = threading.Thread(target=thread.put, args=(draft(1),))
    second.start()
    journal.go_on.set()
    second.join(10)
    thread.stop()
    assert gate.durable_up_to == [0, 1]


@pytest.mark.parametrize("entries", [1, ENTRIES])
def test_a_failure_is_final_told_once_and_raised_from_every_later_put(thread, journal, gate, failures, entries):
    journal.error = OutcomeUnknown("the disk is gone")
    with contextlib.suppress(OutcomeUnknown):
        thread.put(draft(0, entries))
    thread.stop()  # its thread has come to an end
    journal.error = None
    for _ in range(3):
        with pytest.raises(OutcomeUnknown, match="the disk is gone"):
            thread.put(draft(0, entries))
    assert len(failures) == 1
    assert gate.durable_up_to == []


def test_chores_are_done_until_none_is_left_and_again_when_there_is_more():
    left, done = [3, 5], threading.Event()

    def chore(which):
        def do():
            if left[which]:
                left[which] -= 1
            if not any(left):
                done.set()
            return left[which] > 0

        return do

    keeper = Housekeeper([chore(0), chore(1)], lambda error: None)
    assert done.wait(10)
    done.clear()
    left[1] = 4
    assert done.wait(10)
    keeper.stop()
    assert left == [0, 0]


def test_who_keeps_house_rests_longer_while_there_is_nothing_to_do(monkeypatch):
    rests, work, rested = [], [False] * 9 + [True], threading.Event()

    class Stop(threading.Event):
        def wait(self, timeout=None):
            if timeout is None:  # the thread's own, that it has started
                return super().wait()
            rests.append(timeout)
            if len(rests) == 11:
                rested.set()
            return super().wait(0.001)

    monkeypatch.setattr(handoff.threading, "Event", Stop)
    keeper = Housekeeper([lambda: bool(work) and work.pop(0)], lambda error: None)
    assert rested.wait(10)
    keeper.stop()
    assert rests[0] == rests[9] == handoff.IDLE_S  # the tenth found work, and after that it begins anew
    assert rests[:9] == sorted(rests[:9])
    assert rests[8] == handoff.IDLE_S_MAX


def test_a_full_disk_is_tried_again_and_another_failure_is_told():
    tried, told, errors = [], threading.Event(), []

    def chore():
        tried.append(1)
        if len(tried) < 3:
            raise Unavailable("full")
        raise OutcomeUnknown("cannot sync")

    def failed(error):
        errors.append(error)
        told.set()

    keeper = Housekeeper([chore], failed)
    assert told.wait(10)
    keeper.stop()
    assert [type(error) for error in errors] == [OutcomeUnknown]
    assert len(tried) == 3
