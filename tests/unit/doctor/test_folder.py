from pathlib import Path

import pytest

from tallystick.doctor import folder
from tallystick.doctor.finding import Level
from tallystick.journal.progress import Lag, ProgressFile

KEYS = Path("/data/keys.json")
SECOND = 1_000_000_000


def said(trouble="", written_s=100):
    return ProgressFile(
        name="projector", pid=1, next_seq=5, since_ns=0, written_at_ns=written_s * SECOND, trouble=trouble
    )


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (folder.journal(5, ""), Level.FINE),
        (folder.journal(0, "block 3: its hash does not match"), Level.FIX),
        (folder.scrub(None), Level.FINE),
        (folder.scrub(0), Level.FIX),
        (folder.archive(None, 0, 0, "", same_disk=False), Level.LOOK),
        (folder.archive("/a", 0, 0, "no record", same_disk=False), Level.FIX),
        (folder.archive("/a", 9, 10, "", same_disk=False), Level.FIX),
        (folder.archive("/a", 10, 10, "", same_disk=True), Level.LOOK),
        (folder.archive("/a", 11, 10, "", same_disk=False), Level.FINE),
        (folder.services("postgresql://db/bank", ["projector", "acts"], ""), Level.FINE),
        (folder.services("postgresql://db/bank", [], ""), Level.LOOK),
        (folder.services("", [], "cannot be reached"), Level.FIX),
        (folder.crashes(0), Level.FINE),
        (folder.crashes(1), Level.LOOK),
        (folder.lanes(4), Level.FINE),
        (folder.lanes(600), Level.LOOK),
        (folder.keys(KEYS, 0o100600, [["pay"]], ""), Level.FINE),
        (folder.keys(KEYS, 0o100644, [["pay"]], ""), Level.LOOK),
        (folder.keys(KEYS, None, [], ""), Level.LOOK),
        (folder.keys(KEYS, 0o100600, [], "malformed"), Level.FIX),
        (folder.port(7400, ours=False, free=True, ready=None), Level.FINE),
        (folder.port(7400, ours=False, free=False, ready=None), Level.FIX),
        (folder.port(7400, ours=True, free=False, ready=None), Level.FIX),
        (folder.port(7400, ours=True, free=False, ready="not ready: engine"), Level.LOOK),
        (folder.port(7400, ours=True, free=False, ready=""), Level.FINE),
        (folder.follower(said(), Lag(0, 0.0), True, 101 * SECOND), Level.FINE),
        (folder.follower(said("disk full"), Lag(0, 0.0), True, 101 * SECOND), Level.LOOK),
        (folder.follower(said(), Lag(9, 90.0), True, 101 * SECOND), Level.LOOK),
        (folder.follower(said(), Lag(0, 0.0), True, 200 * SECOND), Level.LOOK),
        (folder.follower(said(), Lag(9, 90.0), False, 500 * SECOND), Level.FINE),
        (folder.variables([]), Level.FINE),
        (folder.variables(["TALLY_DATE"]), Level.LOOK),
    ],
)
def test_each_check_knows_what_is_fine(finding, level):
    assert finding.level is level
    assert bool(finding.fix) == (level is not Level.FINE), "what is not fine says what to do, and nothing else does"


def test_processes_are_told_by_what_the_supervisor_knows():
    states = {
        "engine": ("running", True, 1, None),
        "gateway": ("running", False, 1, None),
        "projector": ("running", True, 9, -9),
        "notifier": ("ended", False, 1, 70),
    }
    found = {finding.check: finding.level for finding in folder.processes(states, True)}
    assert list(found.values()) == [Level.FINE, Level.LOOK, Level.LOOK, Level.FIX]
    assert [finding.level for finding in folder.processes(states, False)] == [Level.FINE]


def test_a_folder_that_moved_away_is_told():
    assert folder.moved(None, Path("/data/moved")) == []
    assert folder.moved("/mnt/usb", Path("/data/moved"))[0].level is Level.FIX
