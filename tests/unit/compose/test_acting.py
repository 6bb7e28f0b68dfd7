"""A log of acts that comes back from yesterday, on real folders."""

import pytest

from tallystick.acts.port import CONTROL
from tallystick.auditor.acts import ActSequencer
from tallystick.auditor.archiving import archive_acts
from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.compose import archives
from tallystick.compose.acting import open_acts
from tallystick.compose.auditor import ActTree
from tallystick.errors import Corrupt, Unavailable
from tallystick.settings import Settings
from tallystick.signer.sockets import SignerClient

DISK = SystemDisk()


def settings(folder, archive):
    return Settings(data=folder, archive=archive)


def archived(chosen):
    """As the auditor archives what is there."""
    folder = chosen.path("audit")
    DISK.make_folder(folder)
    acts, levels = open_acts(chosen, CONTROL), LevelFiles(folder / "tree", DISK)
    ActSequencer(acts, levels, Slots(folder / "state", DISK)).step()
    archive = archives.act_writer(chosen, CONTROL, DISK)
    archive_acts(archive, acts, levels)
    for each in (acts, levels, archive):
        each.close()


@pytest.fixture
def original(tmp_path):
    chosen = settings(tmp_path / "data", tmp_path / "archive")
    acts = open_acts(chosen, CONTROL)
    acts.append([b"one", b"two", b"three"])
    acts.close()
    archived(chosen)
    return chosen


@pytest.mark.parametrize("kept", [[], [b"one"], [b"one", b"two"], [b"one", b"two", b"three"]])
def test_a_log_of_acts_that_is_restored_rolls_forward_before_anything_is_noted(original, tmp_path, kept):
    before = open_acts(settings(tmp_path / "restored", None), CONTROL)
    if kept:
        before.append(kept)
    before.close()
    acts = open_acts(settings(tmp_path / "restored", original.archive), CONTROL)
    assert acts.append([b"four"]) == 3
    assert acts.read(0, 9) == [b"one", b"two", b"three", b"four"]


def test_a_log_of_acts_that_went_another_way_is_refused(original, tmp_path):
    before = open_acts(settings(tmp_path / "restored", None), CONTROL)
    before.append([b"one", b"another"])
    before.close()
    with pytest.raises(Corrupt, match="another history"):
        open_acts(settings(tmp_path / "restored", original.archive), CONTROL)


def test_who_rolls_forward_beside_another_adds_nothing_twice(original):
    acts = open_acts(original, CONTROL)
    with pytest.raises(Unavailable, match="another process"):
        acts.append([b"two"], expected=1)
    assert acts.end() == 3


def test_a_log_of_acts_that_cannot_be_opened_is_told_of_and_tried_again(original, tmp_path):
    """The auditor goes on: the ledger's log is signed meanwhile."""
    chosen = settings(tmp_path / "restored", original.archive)
    before = open_acts(settings(tmp_path / "restored", None), CONTROL)
    before.append([b"one", b"another"])
    before.close()
    tree = ActTree(chosen, CONTROL, SignerClient(tmp_path / "no signer"), DISK, SystemClock())
    assert "another history" in tree.step()
    chosen.path("acts", CONTROL + ".db").unlink()
    assert "signer" in tree.step()  # what came from the archive is in the tree, and waits to be signed
    assert open_acts(chosen, CONTROL).end() == 3
    tree.close()
