"""Real logs for the judges: a journal in files, sequenced, signed and exported by the code that `tally up` runs."""

import os
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
__all__ = ["LOG_KEYS", "ORIGIN", "VKEY", "Log", "link_tree", "make_log"]


@dataclass(frozen=True)
class Log:
    """An exported log, and what it was made of."""

    folder: Path
    audit: Path  # the auditor's folder
    reader: LogReader
    size: int
    entries: np.ndarray  # 256 bytes each

    @property
    def checkpoint(self) -> bytes:
        return (self.folder / "checkpoint").read_bytes()


def make_log(data: Path, size: int, history: int = 0, common: int = 0) -> Log:
    """A log of `size` entries; those from `common` on are another `history`'s."""
    disk, clock = SystemDisk(), SystemClock()
    journal = FileJournal.open(data / "journal", disk, 8_388_608)
    left, first = size, 0
    while left:
        count = min(BLOCK, left, common - first if first < common else left)
        samples.append(journal, count, mark=history if first >= common else 0)
        left, first = left - count, first + count
    disk.make_folder(data / "audit")
    levels = LevelFiles(data / "audit" / TREE, disk)
    reader = FileJournalReader(data / "journal", disk)
    catch_up(reader, Sequencer(levels, Slots(data / "audit" / STATE, disk)))
    signing = Signing(ORIGIN, lambda: LOG_KEYS, Slots(data / "audit" / "signed", disk), clock)
    Publisher(ORIGIN, levels, signing, Slots(data / "audit" / PUBLISHED, disk), clock).publish()
    log = LogReader(data / "audit", disk, reader)
    export(log, Folder(data / "export"))
    entries = (
        np.concatenate([block.entries.view(np.uint8) for block in reader.read(0)]) if size else np.empty(0, np.uint8)
    )
    return Log(data / "export", data / "audit", log, size, entries.reshape(-1, 256))


def link_tree(source: Path, to: Path) -> Path:
    """A copy whose files are the same until they are replaced."""
    for folder, _, names in os.walk(source):
        target = to / Path(folder).relative_to(source)
        target.mkdir(parents=True)
        for name in names:
            os.link(Path(folder) / name, target / name)
    return to
