"""Archive and restore through power cuts, kills and I/O errors, at every write. Each seed is a life story.

A journal grows, is archived, and its checkpoints are signed. Again and again it is lost and comes back from yesterday,
rolls forward and goes on. Whatever fails, wherever: no signed checkpoint contradicts another, and none covers an entry
that did not come back.
"""

from pathlib import Path
from random import Random

import pytest

from tallystick.archive.files import FileArchive, FileArchiveReader
from tallystick.archive.rolling import roll_forward
from tallystick.auditor.archiving import ArchivedFirst
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.blockfile.slots import Slots
from tallystick.conformance import samples
from tallystick.errors import Unavailable
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import catch_up
from tallystick.records.blocks import buffers_of
from tallystick.signer.signing import Signing
from tallystick.tlog import merkle
from tallystick.tlog.checkpoints import parse_checkpoint
from tests.faults.lives import Time, lived, trouble
from tests.unit.tlog.trees import key, naive_root

ARCHIVE, SIGNER = Path("/archive"), Path("/signer")
SEGMENT_BYTES = 131_072
ORIGIN = key().name
STORIES = 200


class Story:
    def __init__(self, seed):
        self.seed, self.random, self.disk, self.clock = seed, Random(seed), SimulatedDisk(seed), Time()
        self.generation = self.rolled = self.forgotten = 0
        self.signed = []  # every checkpoint that left the signer
        self.disk.make_folder(SIGNER)

    @property
    def data(self):
        return Path(f"/data-{self.generation}")

    def restore_yesterday(self):
        """The data folder is lost; a new one has the first blocks of its journal, and no tree."""
        old = FileJournalReader(self.data / "journal", self.disk)
        blocks = list(old.read(0)) if old.end() else []
        kept = self.random.randint(0, len(blocks))
        self.generation += 1
        self.disk.make_folder(self.data)
        journal = FileJournal.open(self.data / "journal", self.disk, SEGMENT_BYTES)
        for block in blocks[:kept]:
            journal.adopt(buffers_of(block), block.header.first)
        journal.close()
        self.forgotten += len(blocks) - kept

    def live(self):
        """As an engine and an auditor start, and work for a while."""
        journal = FileJournal.open(self.data / "journal", self.disk, SEGMENT_BYTES)
        if added := roll_forward(journal, FileArchiveReader(ARCHIVE, self.disk, newest=True)):
            self.rolled += added
            journal.close()
            journal = FileJournal.open(self.data / "journal", self.disk, SEGMENT_BYTES)
        self.check(journal)
        self.disk.make_folder(self.data / "audit")
        signing = Signing(ORIGIN, lambda: [key()], Slots(SIGNER / "signed", self.disk), self.clock)
        levels = LevelFiles(self.data / "audit" / "tree", self.disk)
        sequencer = Sequencer(levels, Slots(self.data / "audit" / "state", self.disk))
        reader = FileJournalReader(self.data / "journal", self.disk)
        archive = FileArchive(ARCHIVE, self.disk, 20_000)
        effects = ArchivedFirst(archive, reader, sequencer)
        publisher = Publisher(
            ORIGIN, levels, self.recording(signing), Slots(self.data / "audit" / "checkpoint", self.disk), self.clock
        )
        for _ in range(self.random.randint(1, 6)):
            samples.append(journal, self.random.choice((1, 3, 40, 90)), mark=self.random.randrange(1 << 32))
            if self.random.random() < 0.8:
                try:
                    catch_up(reader, effects)
                except Unavailable:
                    catch_up(reader, effects)  # as a follower does, which asks for the cursor first
                publisher.publish()
        self.check(journal)

    def recording(self, signing):
        story = self

        class Recording:
            def sign(self, old, proof, checkpoint):
                note = signing.sign(old, proof, checkpoint)
                story.signed.append(parse_checkpoint(note.text))
                return note

        return Recording()

    def check(self, journal):
        """Before a command is taken, and after: the journal holds all that was signed, as it was signed."""
        leaves = [merkle.leaf_hash(row.tobytes()[2:]) for block in journal.read(0) for row in block.entries]
        for checkpoint in self.signed:
            assert checkpoint.size <= len(leaves), f"seed {self.seed}: signed entries did not come back"
            assert checkpoint.root == naive_root(leaves[: checkpoint.size]), f"seed {self.seed}: a fork"


@pytest.mark.parametrize("first_seed", range(0, STORIES, 50))
def test_a_journal_from_yesterday_never_forks_what_was_signed(first_seed):
    good = rolled = 0
    for seed in range(first_seed, first_seed + 50):
        story = Story(seed)
        for life in range(7):
            if life < 6:
                trouble(story.disk, story.random, 80)
            story.disk, well = lived(story.disk, story.random, story.live)
            good += well
            if story.random.random() < 0.5:
                story.restore_yesterday()
                story.disk = story.disk.kill()
        rolled += story.rolled
    assert good >= 50
    assert rolled > 500
