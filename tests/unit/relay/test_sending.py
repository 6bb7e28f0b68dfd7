"""From the journal to an outlet: every event at least once, in order, and the cursor never before the broker's word."""

import json

import numpy as np
import pytest

from tallystick import telling
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.journal.follow import Follower
from tallystick.records.entries import WORK
from tallystick.relay.sending import Sending
from tests.unit.projector.engine_histories import EngineHistory

SOURCE = "https://tallystick.example/ledger/0"


class Killed(BaseException):
    """What ends a process in the middle."""


class Topic:
    """Keeps what it is sent, as a broker does; `fails` says after how many events of a call which error comes."""

    def __init__(self):
        self.kept = []
        self.fails = None

    def connect(self):
        """Always."""

    def send(self, events):
        if self.fails is None:
            self.kept += events
            return 0
        count, error = self.fails
        self.fails = None
        self.kept += events[:count]
        raise error

    def tend(self):
        pass

    def close(self):
        pass


class Relay:
    """A relay that may be killed and started again."""

    def __init__(self, path, journal, outlet, at_once=300):
        self.slots = Slots(path, SystemDisk())
        self.sending = Sending(outlet, lambda: self.slots, SOURCE, 0, SystemClock())
        self.follower = Follower(journal, self.sending, SystemClock(), at_once)

    def run(self):
        while not self.follower.step():
            pass


@pytest.fixture(scope="module")
def journal():
    return EngineHistory(seed=23, batches=200).journal


def positions(events):
    return [int(json.loads(event.body)["sequence"]) for event in events]


def wanted(journal):
    blocks = list(journal.read(0))
    work = np.concatenate([block.entries.view(np.uint8) for block in blocks]).view(WORK)
    return [int(seq) for seq in work["seq"][telling.types_of(work) != telling.NONE]]


def once(events):
    """As a receiver takes them: what is not beyond the last of its tenant is a repeat."""
    last, taken = {}, []
    for event, position in zip(events, positions(events), strict=True):
        if position > last.get(event.tenant, -1):
            last[event.tenant] = position
            taken.append(position)
    return taken


def test_everything_that_is_told_of_is_sent_in_order_and_once_if_nothing_happens(tmp_path, journal):
    topic = Topic()
    Relay(tmp_path / "cursor", journal, topic).run()
    assert positions(topic.kept) == wanted(journal)
    Relay(tmp_path / "cursor", journal, topic).run()
    assert positions(topic.kept) == wanted(journal), "the cursor is there after a restart"


@pytest.mark.parametrize("error", [Unavailable("full"), OutcomeUnknown("silent"), Killed()])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_slice_that_was_not_confirmed_is_sent_again_whatever_of_it_arrived(tmp_path, journal, error, count):
    topic = Topic()
    relay = Relay(tmp_path / "cursor", journal, topic)
    relay.follower.step()
    sent, before = len(topic.kept), relay.sending.stored()
    topic.fails = (count, error)
    try:
        assert relay.follower.step() > 0
        assert relay.follower.progress().trouble == str(error)
        assert relay.sending.stored() == before
    except Killed:
        relay = Relay(tmp_path / "cursor", journal, topic)
        assert relay.sending.stored() == before
    relay.run()
    assert len(topic.kept) == len(wanted(journal)) + count, "one slice is repeated at most, as far as it arrived"
    assert positions(topic.kept[sent + count :])[0] == positions(topic.kept[sent:])[0]
    assert sorted(set(positions(topic.kept))) == wanted(journal)
    assert sorted(once(topic.kept)) == wanted(journal)


def test_killed_between_the_brokers_word_and_the_cursor_it_repeats_and_loses_nothing(tmp_path, journal):
    topic = Topic()
    relay = Relay(tmp_path / "cursor", journal, topic)

    def killed(value):
        raise Killed

    relay.slots.store = killed
    with pytest.raises(Killed):
        relay.follower.step()
    assert topic.kept
    Relay(tmp_path / "cursor", journal, topic).run()
    assert sorted(once(topic.kept)) == wanted(journal)


def test_a_cursor_that_cannot_be_written_is_opened_anew(tmp_path, journal):
    topic = Topic()
    opened = []

    def open_slots():
        opened.append(Slots(tmp_path / "cursor", SystemDisk()))
        return opened[-1]

    sending = Sending(topic, open_slots, SOURCE, 0, SystemClock())
    follower = Follower(journal, sending, SystemClock(), 300)
    follower.step()

    def full(value):
        raise Unavailable("no space left")

    opened[-1].store = full
    assert follower.step() > 0
    assert "no space" in follower.progress().trouble
    while not follower.step():
        pass
    assert len(opened) == 2
    assert sorted(once(topic.kept)) == wanted(journal)


def test_what_is_measured_is_what_was_confirmed(tmp_path, journal):
    topic, counted = Topic(), []
    slots = Slots(tmp_path / "cursor", SystemDisk())
    sending = Sending(topic, lambda: slots, SOURCE, 0, SystemClock(), lambda *told: counted.append(told))
    follower = Follower(journal, sending, SystemClock(), 300)
    topic.fails = (3, Unavailable("full"))
    assert follower.step() > 0
    assert counted == []
    while not follower.step():
        pass
    assert sum(events for events, _, _ in counted) == len(wanted(journal))
