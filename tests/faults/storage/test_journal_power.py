"""A journal through power cuts, kills, full disks and I/O errors, on the simulated disk. Each seed is a life story."""

import contextlib
from pathlib import Path
from random import Random

import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.conformance.samples import next_block
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.journal.files import FileJournal, FileJournalReader

FOLDER = Path("/data/journal")
SEGMENT_BYTES = 4096
STORIES = range(600)  # about four cuts, kills or errors in each


class Story:
    """What clients were told, what readers were shown, and whether the journal stands by it."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.disk = SimulatedDisk(seed)
        self.acknowledged = []
        self.in_doubt = []
        self.shown = []
        self.mark = 0

    def open(self):
        """The journal opened by a new process, however often that takes."""
        for _ in range(50):
            try:
                journal = FileJournal.open(FOLDER, self.disk, SEGMENT_BYTES)
            except (OutcomeUnknown, Unavailable):
                self.disk = self.disk.kill() if self.random.random() < 0.7 else self.disk.cut()
            except PowerCut:
                self.disk = self.disk.cut()
            else:
                self.compare([block.header.hash for block in journal.read(0)])
                return journal
            self.disk.machine.injected.clear()
            if self.random.random() < 0.3:
                self.plan_trouble()
        raise AssertionError("the journal does not open")

    def compare(self, found):
        """All that was acknowledged or shown is there, in order; nothing else, but perhaps what was in doubt."""
        known = self.acknowledged
        assert found[: len(known)] == known, "an acknowledged block was lost"
        assert found[len(known) :] in ([], self.in_doubt), "a block nobody appended"
        assert found[: len(self.shown)] == self.shown, "a block that a reader was shown was lost"
        self.acknowledged, self.in_doubt = found, []

    def plan_trouble(self):
        """Let something go wrong soon."""
        if self.random.random() < 0.6:
            self.disk.cut_after(self.random.randint(0, 40))
        else:
            faults = [fault for fault in Fault if not fault.name.startswith("READ")]
            self.disk.inject(self.random.choice(faults), self.random.randint(0, 12))

    def live(self, journal):
        """Append until something goes wrong, or all goes well."""
        reader = FileJournalReader(FOLDER, self.disk.another_process())
        try:
            for _ in range(self.random.randint(0, 12)):
                self.append(journal)
                if self.random.random() < 0.3:
                    journal.prepare()
                if self.random.random() < 0.5:
                    self.look(reader)
        except OutcomeUnknown:
            self.look(reader)
            with pytest.raises(OutcomeUnknown):
                self.append(journal)
            self.look(reader)
        except Unavailable:
            self.in_doubt = []
            self.disk.machine.injected.clear()
            self.append(journal)  # nothing was written, and the writer goes on
            self.look(reader)

    def append(self, journal):
        self.mark += 1
        tail = journal.tail()
        digest, buffers = next_block(tail, journal.epoch, self.random.choice((1, 1, 2, 3, 9)), mark=self.mark)
        if not self.in_doubt:
            self.in_doubt = [digest]
        journal.append(buffers, tail.next_seq, journal.epoch)
        self.acknowledged.append(digest)
        self.in_doubt = []

    def look(self, reader):
        shown = [block.header.hash for block in reader.read(0)]
        assert shown[: len(self.shown)] == self.shown
        self.shown = shown


@pytest.mark.parametrize("seed", STORIES)
def test_what_was_acknowledged_or_shown_survives_and_what_was_torn_goes(seed):
    story = Story(seed)
    for _ in range(5):
        try:
            journal = story.open()
            story.plan_trouble()
            story.live(journal)
        except PowerCut:
            story.disk = story.disk.cut()
        else:
            story.disk = story.disk.cut() if story.random.random() < 0.6 else story.disk.kill()
    story.disk.machine.injected.clear()
    story.disk.machine.cut_at = None
    story.open()


def filled(seed):
    """A machine with a journal of 20 blocks, and where each block lies: file, first byte, size."""
    disk = SimulatedDisk(seed)
    random = Random(seed)
    journal = FileJournal.open(FOLDER, disk, SEGMENT_BYTES)
    places, at = [], 0
    for _ in range(20):
        digest, buffers = next_block(journal.tail(), journal.epoch, random.choice((1, 2, 3, 8)))
        journal.append(buffers, journal.tail().next_seq, journal.epoch)
        size = sum(len(buffer) for buffer in buffers)
        room = -(-size // 512) * 512
        if at % SEGMENT_BYTES + room > SEGMENT_BYTES:
            at = at - at % SEGMENT_BYTES + SEGMENT_BYTES
        places.append((FOLDER / f"{at - at % SEGMENT_BYTES:020d}", at % SEGMENT_BYTES, size, digest))
        at += room
    return disk, random, places


def test_a_block_of_another_history_is_corrupt():
    disk, _, places = filled(1)
    other, _, _ = filled(1)
    path, at, size, _ = next(place for place in places if place[1])  # in the middle of a segment
    fork = SimulatedDisk(2)
    journal = FileJournal.open(FOLDER, fork, SEGMENT_BYTES)
    before = list(FileJournalReader(FOLDER, other).read(0))
    for block in before:
        _, buffers = next_block(journal.tail(), journal.epoch, block.header.count, mark=7)
        journal.append(buffers, block.header.first, journal.epoch)
    disk.open(path, writable=True).write(at, [fork.open(path).read(at, size)])
    with pytest.raises(Corrupt, match="does not continue"):
        list(FileJournalReader(FOLDER, disk).read(0))
    number = [place[:2] for place in places].index((path, at))
    with pytest.raises(Corrupt, match="does not continue"):
        list(FileJournalReader(FOLDER, disk).read(before[number].header.first))


def read_all(disk):
    journal = FileJournal.open(FOLDER, disk, SEGMENT_BYTES)
    return [block.header.hash for block in journal.read(0)]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_a_flipped_bit_is_corrupt_and_never_taken_for_a_tear(seed, cut):
    disk, random, places = filled(seed)
    disk = disk.cut() if cut else disk.kill()
    path, at, size, _ = places[-1] if random.random() < 0.5 else random.choice(places)
    disk.flip_bit(path, (at + random.randrange(size)) * 8 + random.randrange(8))
    with pytest.raises(Corrupt):
        read_all(disk)


@pytest.mark.parametrize("seed", range(100))
def test_a_wiped_sector_before_the_last_block_is_corrupt(seed):
    disk, random, places = filled(seed)
    disk = disk.cut()
    path, at, size, _ = random.choice(places[:-1])
    disk.wipe(path, at + random.randrange(0, size, 512), 512)
    with pytest.raises(Corrupt):
        read_all(disk)


@pytest.mark.parametrize("seed", range(50))
def test_a_wiped_block_below_the_durable_end_is_corrupt(seed):
    disk, random, places = filled(seed)
    disk = disk.kill()
    path, at, size, _ = random.choice((places[-1], random.choice(places)))
    disk.wipe(path, at, size)
    with pytest.raises(Corrupt):
        read_all(disk)


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_missing_segment_is_corrupt(which):
    disk, _, places = filled(1)
    disk = disk.kill()
    disk.remove(sorted({path for path, *_ in places})[which])
    with pytest.raises(Corrupt):
        read_all(disk)


@pytest.mark.parametrize("seed", range(60))
def test_damage_below_the_durable_end_is_corrupt_to_a_reader_too(seed):
    disk, random, places = filled(seed)
    path, at, size, _ = random.choice(places)
    disk.flip_bit(path, (at + random.randrange(size)) * 8 + random.randrange(8))
    reader = FileJournalReader(FOLDER, disk.another_process())
    with pytest.raises(Corrupt):
        list(reader.read(0))


@pytest.mark.parametrize("after", range(12))
def test_a_read_error_is_corrupt(after):
    disk, _, _ = filled(after)
    disk.inject(Fault.READ_ERROR, after)
    reader = FileJournalReader(FOLDER, disk.another_process())
    with pytest.raises(Corrupt):
        [list(reader.read(seq)) for seq in range(reader.end())]


@pytest.mark.parametrize("after", range(60))
def test_zeros_read_by_mistake_show_nothing_false(after):
    disk, random, places = filled(after)
    disk.inject(Fault.READ_ZEROS, random.randrange(20))
    reader = FileJournalReader(FOLDER, disk.another_process())
    shown = []
    with contextlib.suppress(Corrupt):
        shown.extend(block.header.hash for block in reader.read(0))
    assert shown == [digest for *_, digest in places][: len(shown)]


def test_a_full_disk_is_unavailable_and_the_journal_goes_on_when_there_is_room():
    disk = SimulatedDisk(1, capacity_bytes=3 * SEGMENT_BYTES)
    journal = FileJournal.open(FOLDER, disk, SEGMENT_BYTES)

    def append():
        _, buffers = next_block(journal.tail(), journal.epoch, 9)
        journal.append(buffers, journal.tail().next_seq, journal.epoch)

    append()
    append()
    with pytest.raises(Unavailable):
        append()
    disk.machine.capacity_bytes = None
    append()
    assert len(read_all(disk.cut())) == 3
