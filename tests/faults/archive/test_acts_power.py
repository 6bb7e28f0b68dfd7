"""The archive of acts through power cuts, kills and I/O errors at every write. Each seed is a life story."""

from pathlib import Path
from random import Random

import pytest

from tallystick.archive.actfiles import FileActArchive, FileActArchiveReader
from tallystick.auditor.archiving import archive_acts
from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.tlog import merkle
from tests.unit.archive.test_act_archive import ARCHIVE, Acts

STORIES = 200
FAULTS = [fault for fault in Fault if not fault.name.startswith("READ")]


@pytest.mark.parametrize("first_seed", range(0, STORIES, 50))
def test_no_act_that_was_archived_is_lost_doubled_or_changed(first_seed):
    troubles = archived = 0
    for seed in range(first_seed, first_seed + 50):
        random, disk, acts, told = Random(seed), SimulatedDisk(seed), Acts(), 0
        for life in range(8):
            if life < 7 and random.random() < 0.6:
                disk.cut_after(random.randint(0, 40))
            elif life < 7:
                disk.inject(random.choice(FAULTS), random.randint(0, 10))
            try:
                levels = LevelFiles(Path(f"/tree-{life}"), disk)  # made again, as a restored auditor's is
                levels.append(b"".join(map(merkle.leaf_hash, acts.entries)))
                archive = FileActArchive(ARCHIVE, disk)
                for _ in range(random.randint(1, 5)):
                    new = [random.randbytes(random.choice((1, 40, 900))) for _ in range(random.randint(1, 30))]
                    acts.entries += new
                    levels.append(b"".join(map(merkle.leaf_hash, new)))
                    levels.flush()
                    archive_acts(archive, acts, levels)
                    told = levels.size  # from here on a checkpoint may cover them
                disk = disk.kill()
            except (OutcomeUnknown, Unavailable):
                troubles += 1
                disk = disk.kill() if random.random() < 0.5 else disk.cut()
            except PowerCut:
                troubles += 1
                disk = disk.cut()
            disk.calm()
            disk.machine.cut_at = None
            reader = FileActArchiveReader(ARCHIVE, disk)
            found = [entry for some in reader.read(0) for entry in some]
            assert told <= len(found) == reader.end().count, f"seed {seed}: an act was lost"
            assert found == acts.entries[: len(found)], f"seed {seed}: an act is another"
        archived += told
    assert troubles > 50
    assert archived > 1_000
