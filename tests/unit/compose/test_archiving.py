"""What the engine and the gateway do with an archive, on real folders."""

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import archives, archiving
from tallystick.conformance import samples
from tallystick.errors import Corrupt, Unavailable
from tallystick.journal.files import FileJournal
from tallystick.settings import SEGMENT_BYTES_MIN, Settings
from tallystick.tlog.checkpoints import Checkpoint

DISK, LANE, OTHER = SystemDisk(), b"l" * 16, b"o" * 16


def settings(folder, archive=None):
    return Settings(data=folder / "data", archive=archive, segment_bytes=SEGMENT_BYTES_MIN)


def journal_with(chosen, *positions):
    journal = FileJournal.open(chosen.path("journal"), DISK, SEGMENT_BYTES_MIN)
    for position in positions:
        samples.append(journal, 2, {LANE: position})
    blocks = list(journal.read(0))
    journal.close()
    return blocks


def prepare(chosen):
    return archiving.prepare(chosen, DISK, SystemClock(), system_entropy)


def test_the_intake_is_trimmed_only_below_what_is_archived(tmp_path):
    assert archiving.Trimming(settings(tmp_path), DISK).below({LANE: 9}) == {LANE: 9}
    chosen = settings(tmp_path, tmp_path / "archive")
    trimming = archiving.Trimming(chosen, DISK)
    assert trimming.below({LANE: 9}) == {LANE: 0}
    trimming.close()
    archive = archives.writer(chosen, DISK)
    archive.add(journal_with(chosen, 3, 7))
    trimming = archiving.Trimming(chosen, DISK)
    for _ in range(1000):
        if (found := trimming.below({LANE: 9, OTHER: 4}))[LANE]:
            break
        DISK.sync_folder(tmp_path)  # the thread that looks has its turn
    trimming.close()
    assert found == {LANE: 7, OTHER: 0}


def test_a_gateway_waits_while_the_journal_is_behind_its_archive(tmp_path):
    chosen = settings(tmp_path, tmp_path / "archive")
    archiving.refuse_behind(chosen, DISK)
    archive = archives.writer(chosen, DISK)
    archive.add(journal_with(chosen, 1, 2))
    archiving.refuse_behind(chosen, DISK)
    restored = settings(tmp_path / "restored", tmp_path / "archive")
    with pytest.raises(Unavailable, match="it forward"):
        archiving.refuse_behind(restored, DISK)
    assert prepare(restored) == 4
    archiving.refuse_behind(restored, DISK)


def test_a_journal_shorter_than_what_was_signed_is_not_decided_on(tmp_path):
    chosen = settings(tmp_path)
    journal_with(chosen, 1, 2)
    DISK.make_folder(chosen.path("signer"))
    signed = Slots(chosen.path("signer", "signed"), DISK)
    signed.store(Checkpoint("bank.example/0", 4, bytes(32)).body.encode())
    assert prepare(chosen) == 0
    signed.store(Checkpoint("bank.example/0", 5, bytes(32)).body.encode())
    with pytest.raises(Corrupt, match="would fork it"):
        prepare(chosen)
