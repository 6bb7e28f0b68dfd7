from pathlib import Path

import pytest

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.conformance.samples import next_block
from tallystick.engine.scrub import NAMES, ROUND_NS_MIN, Scrub, ScrubRegisters, seen
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.lab.simulated_clock import SimulatedClock

JOURNAL, ENGINE = Path("/data/journal"), Path("/data/engine")
SECOND = 1_000_000_000


class Shard:
    """A journal of some blocks, and a scrub of it."""

    def __init__(self, blocks=30):
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk(1, clock=self.clock)
        self.disk.make_folder(ENGINE)
        self.journal = FileJournal.open(JOURNAL, self.disk, 4096)
        self.alarms = []
        for _ in range(blocks):
            self.append()
        self.start()

    def append(self):
        tail = self.journal.tail()
        _, buffers = next_block(tail, self.journal.epoch, 3)
        self.journal.append(buffers, tail.next_seq, self.journal.epoch)

    def start(self, bytes_s=4096):
        registers = ScrubRegisters(*(self.disk.register(ENGINE / name, writable=True) for name in NAMES))
        reader = FileJournalReader(JOURNAL, self.disk, fresh=True)
        self.scrub = Scrub(reader, registers, self.clock, bytes_s, self.alarms.append)

    def go_on(self, seconds):
        """Steps for so many seconds; returns how many found their turn."""
        count = 0
        for _ in range(seconds):
            self.clock.advance(SECOND)
            while self.scrub.step():
                count += 1
        return count

    def seen(self):
        return seen(self.disk, ENGINE)


def test_it_reads_as_fast_as_it_may_and_no_faster():
    shard = Shard()
    shard.go_on(3)
    after_three = shard.seen().scrubbed
    size = 128 + 3 * (256 + 104)
    assert 3 * 4096 // size // 2 <= after_three // 3 <= 3 * 4096 // size + 3
    shard.clock.advance(3600 * SECOND)  # what was not read in an hour is not read at once
    read = 0
    while shard.scrub.step():
        read += 1
    assert read <= 4096 // size + 1


def test_until_a_round_is_due_the_journal_is_not_looked_at():
    """Each look walks over all blocks that came since the last one."""
    shard = Shard()
    shard.go_on(20)
    looked = []
    ends = shard.scrub._reader.end
    shard.scrub._reader.end = lambda: looked.append(1) or ends()
    shard.append()
    shard.go_on(60)
    assert not looked
    shard.clock.advance(ROUND_NS_MIN)
    assert shard.go_on(20)
    assert looked


def test_a_round_ends_at_the_end_and_is_known_to_others_and_after_a_start():
    shard = Shard()
    shard.go_on(4)
    begun = shard.seen().scrubbed
    assert 0 < begun < shard.journal.tail().next_seq
    shard.start()
    assert shard.seen().scrubbed == begun
    shard.go_on(20)
    told = shard.seen()
    assert (told.scrubbed, told.damaged) == (0, 0)
    assert 0 < told.completed_at_ns <= shard.clock.wall_ns()
    assert shard.alarms == []


def test_the_next_round_waits_an_hour_and_reads_what_came_since():
    shard = Shard(5)
    shard.go_on(10)
    first = shard.seen().completed_at_ns
    shard.append()
    shard.go_on(60)
    assert shard.seen().completed_at_ns == first
    shard.clock.advance(ROUND_NS_MIN)
    shard.go_on(10)
    assert shard.seen().completed_at_ns > first


@pytest.mark.parametrize("block", [0, 3, 12])
def test_damage_is_told_kept_and_gone_when_a_whole_round_passes(block):
    shard = Shard()
    position = 0
    for number, found in enumerate(shard.journal.read(0)):
        if number == block:
            position = found.header.first
    path, bit = JOURNAL / f"{block // 2 * 4096:020d}", ((block % 2) * 1536 + 200) * 8
    shard.disk.flip_bit(path, bit)
    shard.go_on(20)
    told = shard.seen()
    assert told.damaged == position + 1
    assert told.damaged_at_ns > 0
    assert len(shard.alarms) == 1
    assert str(position) in shard.alarms[0]
    shard.disk.flip_bit(path, bit)  # a person restored it
    shard.clock.advance(ROUND_NS_MIN)
    shard.go_on(20)
    assert shard.seen().damaged == 0
    assert len(shard.alarms) == 1


def test_switched_off_it_reads_nothing():
    shard = Shard()
    shard.start(bytes_s=0)
    assert shard.go_on(10) == 0
    assert shard.seen().scrubbed == 0


def test_an_empty_journal_is_no_round():
    shard = Shard(0)
    shard.go_on(5)
    assert shard.seen().completed_at_ns == 0
