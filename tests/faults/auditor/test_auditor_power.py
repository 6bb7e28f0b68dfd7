"""Auditor and signer through power cuts, kills and I/O errors on one simulated machine. Each seed is a life story.

Whatever dies, wherever: no leaf is skipped, repeated or changed, and no two signed checkpoints contradict each other.
"""

from pathlib import Path
from random import Random

import pytest

from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.blockfile import slots
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.blockfile.slots import Slots
from tallystick.conformance import samples
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import catch_up
from tallystick.signer.signing import Signing
from tallystick.tlog import merkle
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.notes import opened, parse_note
from tests.faults.lives import Time, lived, trouble
from tests.unit.tlog.trees import key, naive_root

DATA = Path("/data")
SEGMENT_BYTES = 131_072
ORIGIN = key().name
STORIES = 60


class Story:
    def __init__(self, seed):
        self.seed, self.random, self.disk, self.clock = seed, Random(seed), SimulatedDisk(seed), Time()
        self.leaves = []  # of the journal's durable entries
        self.signed = []  # every note that left the signer
        self.shown = 0  # size of the last checkpoint that a reader saw
        self.disk.make_folder(DATA / "audit")

    def sign(self, signing):
        story = self

        class Recording:
            def sign(self, old, proof, checkpoint):
                note = signing.sign(old, proof, checkpoint)
                story.signed.append(note)
                return note

        return Recording()

    def live(self):
        journal = FileJournal.open(DATA / "journal", self.disk, SEGMENT_BYTES)
        for block in journal.read(len(self.leaves)):
            rows = block.entries[len(self.leaves) - block.header.first :]
            self.leaves += [merkle.leaf_hash(row.tobytes()[2:]) for row in rows]
        signing = Signing(ORIGIN, lambda: [key()], Slots(DATA / "audit" / "signed", self.disk), self.clock)
        levels = LevelFiles(DATA / "audit" / "tree", self.disk)
        sequencer = Sequencer(levels, Slots(DATA / "audit" / "state", self.disk))
        published = Slots(DATA / "audit" / "checkpoint", self.disk)
        publisher = Publisher(ORIGIN, levels, self.sign(signing), published, self.clock)
        reader = FileJournalReader(DATA / "journal", self.disk)
        for _ in range(self.random.randint(1, 6)):
            count = self.random.choice((1, 3, 200, 256, 300))
            samples.append(journal, count, mark=self.random.randrange(1 << 32))
            catch_up(reader, sequencer)
            if self.random.random() < 0.7:
                assert publisher.publish() is not None
            self.look()
        self.check(levels)

    def look(self):
        data = slots.read(DATA / "audit" / "checkpoint", self.disk.another_process())
        if data is not None:
            size = parse_checkpoint(parse_note(data).text).size
            assert size >= self.shown, f"seed {self.seed}: a checkpoint that was shown was taken back"
            self.shown = size

    def check(self, levels):
        """After a good life: the tree is that of the journal, and every signature ever made is of this history."""
        leaves = [*self.leaves]
        reader = FileJournalReader(DATA / "journal", self.disk)
        for block in reader.read(0):
            leaves[block.header.first :] = [merkle.leaf_hash(row.tobytes()[2:]) for row in block.entries]
        assert leaves[: len(self.leaves)] == self.leaves
        assert levels.size == len(leaves)
        assert levels.root() == naive_root(leaves)
        for size in {1, len(leaves) // 2, len(leaves) - 1, len(leaves)} - {0}:
            assert merkle.root(size, levels.tree().node) == naive_root(leaves[:size])
        for note in self.signed:
            opened(note, [key().verifier])
            checkpoint = parse_checkpoint(note.text)
            assert checkpoint.root == naive_root(leaves[: checkpoint.size]), f"seed {self.seed}: a fork was signed"


@pytest.mark.parametrize("first_seed", range(0, STORIES, 10))
def test_nothing_is_skipped_repeated_or_forked(first_seed):
    good = 0
    for seed in range(first_seed, first_seed + 10):
        story = Story(seed)
        for life in range(6):
            if life < 5:
                trouble(story.disk, story.random, 60)
            story.disk, well = lived(story.disk, story.random, story.live)
            good += well
            story.look()
    assert good >= 10  # each story ends with a life without trouble
