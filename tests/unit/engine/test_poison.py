"""A request that crashes `decide`: told from its neighbours, refused alone; a kill or a full disk blames nobody."""

import pytest

from tallystick.blockfile.simulated import Fault
from tallystick.engine.poison import HOUR_NS, Poison, Registers, mark
from tallystick.errors import Corrupt, Unavailable, Violated
from tallystick.lab.simulated_processes import Killed
from tallystick.ledger import kernel
from tallystick.statuses import CREATED, STORED_MASK, TransferStatus
from tests.unit.engine.shard import Shard, accounts, transfers

QUARANTINED = int(TransferStatus.QUARANTINED)
POISON = 666
"""Transfer id of the request that crashes."""


class Crash(Exception):
    """What a fault of the kernel looks like from outside."""


def crashing(*poisons, error=Crash):
    """A `judge` that crashes on these transfers, unless they are refused unread."""

    def judge(work, *rest):
        for k in range(len(work.commands)):
            if not work.quarantined[k] and int(work.transfers["id_lo"][k]) in poisons:
                raise error
        kernel.decide(work, *rest)

    return judge


def statuses(rows):
    return [status for _, status, _ in rows]


@pytest.fixture
def shard():
    shard = Shard()
    shard.start()
    shard.decide(accounts(1, 1, 2))
    return shard


def restart(shard, *poisons):
    """Start after a crash, and decide until the next; whether there was one."""
    shard.start(crash_noted=True, judge=crashing(*poisons))
    try:
        shard.settle()
    except Crash:
        return True
    return False


def test_the_one_that_crashes_is_refused_and_its_neighbours_are_decided_as_ever(shard):
    shard.submit(transfers(10, 100), transfers(11, 101, POISON, 102), transfers(12, 103))
    shard.start(judge=crashing(POISON))
    with pytest.raises(Crash):
        shard.settle()
    assert restart(shard, POISON)  # once more together
    assert restart(shard, POISON)  # alone: now it is known
    assert not restart(shard, POISON)
    assert statuses(shard.answer(2)) == [CREATED, QUARANTINED, QUARANTINED, QUARANTINED, CREATED]
    assert shard.recorded()[1, 11] == [QUARANTINED] * 3  # one entry a command
    assert statuses(shard.decide(transfers(13, 104))) == [CREATED]


def test_a_kill_in_the_middle_of_a_start_makes_no_two_crashes_of_one():
    class Word:
        def __init__(self, value=0):
            self.value = value
            self.dies = False

        def load(self):
            return self.value

        def store(self, value):
            self.value = value
            if self.dies:
                raise Killed

    names = ("deciding", "alone", "crashed_at", "crashes", "suspect", "quarantined_at")
    for dying in ("deciding", "crashes", "crashed_at"):
        words = {name: Word() for name in names}
        words["deciding"].value = 1
        words[dying].dies = True
        registers = Registers(**words)
        with pytest.raises(Killed):
            Poison(registers, True, 0)
        words[dying].dies = False
        assert Poison(registers, True, 0).crashes <= 1, dying


def test_a_quarantined_request_stays_so_and_its_transfer_ids_stay_free(shard):
    shard.submit(transfers(11, POISON))
    for _ in range(4):
        restart(shard, POISON)
    first = shard.results(1, 11).results.tolist()
    assert statuses(first) == [QUARANTINED]
    shard.start()  # the fault is mended
    assert shard.decide(transfers(11, POISON)) == first
    assert statuses(shard.decide(transfers(12, POISON))) == [CREATED]


@pytest.mark.parametrize("waiting", ["before", "control"])
def test_what_arrives_between_two_crashes_is_not_taken_for_the_suspect(shard, waiting):
    shard.submit(transfers(10, 100), transfers(11, POISON))
    assert [restart(shard, POISON) for _ in range(3)] == [True] * 3
    # The next start takes this block first, and the suspect after it.
    shard.submit(transfers(20, 200), lane=waiting, control=waiting == "control")
    assert not restart(shard, POISON)
    assert statuses(shard.answer(1, lane=waiting)) == [CREATED]
    assert statuses(shard.answer(2)) == [CREATED, QUARANTINED]


def test_the_second_quarantine_within_an_hour_stops_the_shard(shard):
    shard.submit(transfers(11, POISON))
    assert [restart(shard, POISON) for _ in range(4)] == [True, True, True, False]
    shard.submit(transfers(12, 667))
    assert [restart(shard, POISON, 667) for _ in range(3)] == [True] * 3
    with pytest.raises(Corrupt, match="two requests within an hour"):
        restart(shard, POISON, 667)
    shard.clock.advance(HOUR_NS)
    assert not restart(shard, POISON, 667)
    assert statuses(shard.answer(3)) == [QUARANTINED]


def test_kills_inside_decide_count_for_nothing(shard):
    number = shard.submit(transfers(11, POISON))
    for _ in range(10):
        shard.start(judge=crashing(POISON, error=Killed))
        with pytest.raises(Killed):
            shard.settle()
    shard.start()
    shard.settle()
    assert statuses(shard.answer(number)) == [CREATED]


def test_a_kill_while_requests_are_decided_alone_blames_none_of_them(shard):
    number = shard.submit(transfers(10, 100), transfers(11, POISON))
    assert [restart(shard, POISON) for _ in range(2)] == [True] * 2
    shard.start(judge=crashing(100, error=Killed))  # alone now, and killed in the first
    with pytest.raises(Killed):
        shard.settle()
    assert [restart(shard, POISON) for _ in range(2)] == [True, False]
    assert statuses(shard.answer(number)) == [CREATED, QUARANTINED]


def test_a_kill_after_the_quarantine_was_decided_does_not_make_it_a_second_one(shard):
    number = shard.submit(transfers(11, POISON))
    assert [restart(shard, POISON) for _ in range(3)] == [True] * 3
    engine = shard.start(crash_noted=True, judge=crashing(POISON))
    write = engine.write

    def killed_before_it_is_written():
        if engine.unwritten:
            raise Killed
        return write()

    engine.write = killed_before_it_is_written
    with pytest.raises(Killed):
        shard.settle()
    assert not restart(shard, POISON)
    assert statuses(shard.answer(number)) == [QUARANTINED]


def test_a_crash_beyond_a_block_that_is_not_durable_yet_counts(shard):
    for first in (100, 110):  # a full batch; the request that crashes is in the next
        shard.submit(*(transfers(2 * first + k, first + k) for k in range(10)))
    shard.submit(transfers(11, POISON))
    crashes = 0
    # The crash always comes before the block ahead of it is written, however often the engine starts.
    while restart_racing(shard):
        crashes += 1
        assert crashes < 10, "the shard crashes for ever"
    assert statuses(shard.answer(4)) == [QUARANTINED]
    decided = shard.recorded()
    assert [decided[1, number] for number in (*range(200, 210), *range(220, 230))] == [[STORED_MASK]] * 20


def restart_racing(shard):
    """Start after a crash; the loop is always faster than the writer."""
    engine = shard.start(crash_noted=True, judge=crashing(POISON))
    try:
        while engine.loop():
            pass
    except Crash:
        return True
    engine.put(lambda: None)
    return False


def test_what_the_disk_refuses_within_decide_is_no_request_s_fault(shard):
    shard.submit(transfers(11, 100))
    for error in (Unavailable("full"), Corrupt("cannot read")) * 3:
        shard.start(crash_noted=True, judge=crashing(100, error=error))
        with pytest.raises(type(error)):
            shard.settle()
    shard.start(crash_noted=True)
    shard.settle()
    assert statuses(shard.answer(2)) == [CREATED]


def test_an_invariant_that_breaks_is_a_crash(shard):
    shard.submit(transfers(11, POISON))
    for _ in range(3):
        shard.start(crash_noted=True, judge=crashing(POISON, error=Violated("broken")))
        with pytest.raises(Violated):
            shard.settle()
    assert not restart(shard, POISON)
    assert statuses(shard.answer(2)) == [QUARANTINED]


def test_a_crash_elsewhere_than_in_decide_counts_for_nothing(shard):
    number = shard.submit(transfers(11, 100))
    for _ in range(5):
        shard.start(crash_noted=True)
        shard.world.disk.inject(Fault.WRITE_FULL)
        with pytest.raises(Unavailable):
            shard.settle()
        shard.world.disk.calm()
    shard.start(crash_noted=True)
    shard.settle()
    assert statuses(shard.answer(number)) == [CREATED]


def test_marks_tell_requests_apart_by_tenant_and_id():
    requests = [transfers(1, 1), transfers(2, 1), transfers(1 << 64, 1), transfers(1, 1, tenant=2)]
    assert len({mark(request[0]) for request in requests}) == 4
    assert mark(transfers(1, 5)[0]) == mark(requests[0][0])
