"""Real logs for the judges: a journal in files, sequenced, signed and exported by the code that `tally up` runs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tallystick.auditor.export import export
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.places import Folder
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.auditor.serving import PUBLISHED, STATE, TREE, LogReader
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.conformance import samples
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import catch_up
from tallystick.signer.signing import Signing
from tallystick.tlog.keys import Kind
from tests.unit.tlog.trees import ORIGIN, key

LOG_KEYS = [key(), key(kind=Kind.MLDSA44, seed=2)]
VKEY = LOG_KEYS[0].verifier.vkey
BLOCK = 8_000
SIZES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 200_000)
__all__ = ["LOG_KEYS", "ORIGIN", "SIZES", "VKEY", "Log", "grown", "link_tree", "make_log"]


@dataclass(frozen=True)
class Log:
    """An exported log, and what it was made of."""

    folder: Path
    audit: Path  # the auditor's folder
    reader: LogReader
    size: int
    journal: FileJournalReader

    @property
    def checkpoint(self) -> bytes:
        return (self.folder / "checkpoint").read_bytes()

    @property
    def entries(self) -> np.ndarray:
        """256 bytes each."""
        blocks = [block.entries.view(np.uint8) for block in self.journal.read(0)]
        return np.concatenate(blocks).reshape(-1, 256)[: self.size]


def make_log(data: Path, size: int, history: int = 0, common: int = 0) -> Log:
    """A log of `size` entries; those from `common` on are another `history`'s."""
    return grown(data, [size], history, common)[size]


def grown(data: Path, sizes: Sequence[int], history: int = 0, common: int = 0) -> dict[int, Log]:
    """One log as it was at each of these sizes, ascending: signed and exported as it grew. `reader` is of the last."""
    disk, clock = SystemDisk(), SystemClock()
    journal = FileJournal.open(data / "journal", disk, 8_388_608)
    disk.make_folder(data / "audit")
    levels = LevelFiles(data / "audit" / TREE, disk)
    reader = FileJournalReader(data / "journal", disk)
    sequencer = Sequencer(levels, Slots(data / "audit" / STATE, disk))
    signing = Signing(ORIGIN, lambda: LOG_KEYS, Slots(data / "audit" / "signed", disk), clock)
    log = LogReader(data / "audit", disk, reader)
    made, first = {}, 0
    for size in sizes:
        while first < size:
            count = min(BLOCK, size - first, common - first if first < common else size)
            samples.append(journal, count, mark=history if first >= common else 0)
            first += count
        catch_up(reader, sequencer)
        # A publisher of its own each time: one publishes once a second.
        Publisher(ORIGIN, levels, signing, Slots(data / "audit" / PUBLISHED, disk), clock).publish()
        export(log, Folder(data / f"export-{size}"))
        made[size] = Log(data / f"export-{size}", data / "audit", log, size, reader)
    return made


def link_tree(source: Path, to: Path) -> Path:
    """A copy whose files are the same until they are replaced."""
    for folder, _, names in os.walk(source):
        target = to / Path(folder).relative_to(source)
        target.mkdir(parents=True)
        for name in names:
            os.link(Path(folder) / name, target / name)
    return to
