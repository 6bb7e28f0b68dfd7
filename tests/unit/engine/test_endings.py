import contextlib
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.engine.endings import PAGE, Endings, FileEndings
from tallystick.errors import Damaged, OutcomeUnknown, Unavailable
from tallystick.records.endings import Ending

FOLDER = Path("/data/snapshots")
KEY = np.arange(1, 5, dtype="<u8")
FINAL = (Ending.POSTED, Ending.VOIDED, Ending.EXPIRED)


class Story:
    """Endings and a dictionary that knows better."""

    def __init__(self, seed, endings):
        self.random = Random(seed)
        self.endings = endings
        self.known = {}
        self.next_seq = 0

    def block(self):
        """Some entries, some of them pending transfers; some older ones end."""
        seqs, endings = [], []
        for _ in range(self.random.randint(1, 300)):
            if self.random.random() < 0.5:
                seqs.append(self.next_seq)
                endings.append(Ending.OPEN)
            self.next_seq += 1
        open_ones = [seq for seq, ending in self.known.items() if ending == Ending.OPEN]
        for seq in self.random.sample(open_ones, min(len(open_ones), 40)):
            seqs.append(seq)
            endings.append(self.random.choice(FINAL))
        self.known.update(zip(seqs, endings, strict=True))
        self.endings.note(np.array(seqs, "<u8"), np.array(endings, "u1"))

    def check(self):
        asked = np.array([self.random.randrange(self.next_seq + 9) for _ in range(200)], "<u8")
        assert self.endings.of(asked).tolist() == [self.known.get(seq, Ending.NONE) for seq in asked.tolist()]

    def check_all(self):
        asked = np.arange(self.next_seq, dtype="<u8")
        assert self.endings.of(asked).tolist() == [self.known.get(seq, Ending.NONE) for seq in range(self.next_seq)]


def write(story):
    story.endings.capture(story.next_seq)
    list(story.endings.write())


def test_in_memory_each_ending_is_the_last_one_noted():
    story = Story(1, Endings())
    for _ in range(30):
        story.block()
        story.check()
    story.check_all()


@pytest.mark.parametrize("seed", range(10))
def test_what_is_written_behind_is_told_before_while_and_after_it_is_written(seed):
    disk = SimulatedDisk(seed)
    story = Story(seed, FileEndings(disk, FOLDER, KEY))
    for _ in range(6):
        for _ in range(story.random.randint(0, 6)):
            story.block()
        story.endings.capture(story.next_seq)
        for _ in story.endings.write():
            story.block()
            story.check()
        story.check_all()
        again = FileEndings.load(disk.another_process(), FOLDER, KEY, story.endings._written)
        assert again is not None


def test_after_a_start_the_file_tells_of_all_before_the_snapshot():
    disk = SimulatedDisk(1)
    story = Story(2, FileEndings(disk, FOLDER, KEY))
    for _ in range(20):
        story.block()
    write(story)
    story.endings = FileEndings.load(disk.cut(), FOLDER, KEY, story.next_seq)
    story.check_all()
    story.block()
    story.check_all()


@pytest.mark.parametrize("at", [0, 15, 16, 200, PAGE - 1, 5 * PAGE + 40])
def test_a_file_with_a_changed_bit_is_not_loaded_and_not_read(at):
    disk = SimulatedDisk(1)
    story = Story(3, FileEndings(disk, FOLDER, KEY))
    while story.next_seq < 4_000:
        story.block()
    write(story)
    disk.flip_bit(FOLDER / "endings", at * 8 + 3)
    assert FileEndings.load(disk.another_process(), FOLDER, KEY, story.next_seq) is None
    with pytest.raises(Damaged):
        story.check_all()


def test_a_file_that_is_too_short_missing_or_made_under_another_key_is_not_loaded():
    disk = SimulatedDisk(1)
    story = Story(4, FileEndings(disk, FOLDER, KEY))
    story.block()
    write(story)
    assert FileEndings.load(disk, FOLDER, KEY, story.next_seq) is not None
    assert FileEndings.load(disk, FOLDER, KEY, story.next_seq + 496) is None
    assert FileEndings.load(disk, FOLDER, KEY + np.uint64(1), story.next_seq) is None
    assert FileEndings.load(disk, Path("/elsewhere"), KEY, 1) is None
    assert FileEndings.load(disk, Path("/elsewhere"), KEY, 0) is not None


def test_pages_wiped_at_rest_are_no_pages_without_pending_transfers():
    disk = SimulatedDisk(1)
    story = Story(5, FileEndings(disk, FOLDER, KEY))
    while story.next_seq < 3_000:
        story.block()
    write(story)
    disk.wipe(FOLDER / "endings", 2 * PAGE, PAGE)
    assert FileEndings.load(disk, FOLDER, KEY, story.next_seq) is None


@pytest.mark.parametrize("seed", range(60))
def test_a_power_cut_at_any_write_leaves_what_the_snapshot_before_promises(seed):
    disk = SimulatedDisk(seed)
    story = Story(seed, FileEndings(disk, FOLDER, KEY))
    for _ in range(8):
        story.block()
    write(story)
    promised, before = story.next_seq, dict(story.known)
    for _ in range(8):
        story.block()
    disk.cut_after(seed % 12)
    with contextlib.suppress(PowerCut):
        write(story)
    endings = FileEndings.load(disk.cut(), FOLDER, KEY, promised)
    assert endings is not None
    found = endings.of(np.arange(promised, dtype="<u8")).tolist()
    for seq, ending in enumerate(found):  # as then, or as it became since: replay says it again
        assert ending in (before.get(seq, Ending.NONE), story.known.get(seq, Ending.NONE))
    changed = [seq for seq in story.known if story.known[seq] != before.get(seq)]
    endings.note(np.array(changed, "<u8"), np.array([story.known[seq] for seq in changed], "u1"))
    story.endings = endings
    story.check_all()


@pytest.mark.parametrize("fault", [Fault.WRITE_FULL, Fault.WRITE_SHORT, Fault.WRITE_ERROR, Fault.SYNC_ERROR])
def test_what_could_not_be_written_is_still_told_and_written_at_the_next_attempt(fault):
    disk = SimulatedDisk(6)
    story = Story(6, FileEndings(disk, FOLDER, KEY))
    for _ in range(20):
        story.block()
    disk.inject(fault)
    with pytest.raises((Unavailable, OutcomeUnknown)):
        write(story)
    story.block()
    story.check_all()
    list(story.endings.write())
    write(story)
    story.check_all()
    story.endings = FileEndings.load(disk.cut(), FOLDER, KEY, story.next_seq)
    story.check_all()


def test_a_page_that_cannot_be_read_is_damage_of_a_derived_file_and_not_of_the_journal():
    disk = SimulatedDisk(7)
    story = Story(7, FileEndings(disk, FOLDER, KEY))
    story.block()
    write(story)
    disk.inject(Fault.READ_ERROR)
    with pytest.raises(Damaged):
        story.check_all()
