"""The archive of acts through power cuts, kills and I/O errors at every write. Each seed is a life story."""

from pathlib import Path
from random import Random

import pytest

from tallystick.archive.actfiles import FileActArchive, FileActArchiveReader
from tallystick.auditor.archiving import archive_acts
from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.tlog import merkle
from tests.faults.lives import lived, trouble
from tests.unit.archive.test_act_archive import ARCHIVE, Acts

STORIES = 200


class Story:
    def __init__(self, seed):
        self.seed, self.random, self.disk, self.acts = seed, Random(seed), SimulatedDisk(seed), Acts()
        self.lives = 0
        self.told = 0
        """So many are archived, by the archive's word: a checkpoint may cover them."""

    def live(self):
        self.lives += 1
        levels = LevelFiles(Path(f"/tree-{self.lives}"), self.disk)  # made again, as a restored auditor's is
        levels.append(b"".join(map(merkle.leaf_hash, self.acts.entries)))
        archive = FileActArchive(ARCHIVE, self.disk)
        for _ in range(self.random.randint(1, 5)):
            new = [self.random.randbytes(self.random.choice((1, 40, 900))) for _ in range(self.random.randint(1, 30))]
            self.acts.entries += new
            levels.append(b"".join(map(merkle.leaf_hash, new)))
            levels.flush()
            archive_acts(archive, self.acts, levels)
            self.told = levels.size

    def check(self):
        reader = FileActArchiveReader(ARCHIVE, self.disk)
        found = [entry for some in reader.read(0) for entry in some]
        assert self.told <= len(found) == reader.end().count, f"seed {self.seed}: an act was lost"
        assert found == self.acts.entries[: len(found)], f"seed {self.seed}: an act is another"


@pytest.mark.parametrize("first_seed", range(0, STORIES, 50))
def test_no_act_that_was_archived_is_lost_doubled_or_changed(first_seed):
    good = lives = archived = 0
    for seed in range(first_seed, first_seed + 50):
        story = Story(seed)
        for life in range(8):
            if life < 7:
                trouble(story.disk, story.random, 40, 10)
            story.disk, well = lived(story.disk, story.random, story.live)
            good, lives = good + well, lives + 1
            story.check()
        archived += story.told
    assert 50 <= good < lives - 50, "each story ends with a life without trouble, and has some with it"
    assert archived > 1_000
