"""What is said of machines that are ill."""

import pytest

from tallystick.doctor import machine
from tallystick.doctor.finding import Level

GB = 1 << 30
HOUR = 3600 * 1_000_000_000


def levels(findings):
    return {finding.check: finding.level for finding in findings}


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (machine.versions((3, 10, 2), {}), Level.FIX),
        (machine.versions((3, 11, 0), {"numpy": "2.0"}), Level.FINE),
        (machine.processors(1), Level.LOOK),
        (machine.processors(2), Level.FINE),
        (machine.open_files(256), Level.FIX),
        (machine.open_files(1_024), Level.LOOK),
        (machine.open_files(65_536), Level.FINE),
        (machine.file_system("tmpfs", "/tmp"), Level.FIX),
        (machine.file_system("nfs4", "/mnt"), Level.LOOK),
        (machine.file_system("ext4", "/"), Level.FINE),
        (machine.free_space(0.05, 0.10, GB), Level.FIX),
        (machine.free_space(0.15, 0.10, GB), Level.LOOK),
        (machine.free_space(0.50, 0.10, GB), Level.FINE),
        (machine.syncs([1.0] * 40), Level.FINE),
        (machine.syncs([1.0] * 38 + [50.0] * 2), Level.LOOK),
        (machine.syncs([150.0] * 40), Level.FIX),
    ],
)
def test_each_check_knows_what_is_fine(finding, level):
    assert finding.level is level
    assert bool(finding.fix) == (level is not Level.FINE), "what is not fine says what to do, and nothing else does"


def test_little_memory_is_told_and_a_kernel_that_reserves_nothing():
    assert levels(machine.memory(8 * GB, 16 * GB, 0, 100 * GB)) == {"memory": Level.FINE}
    found = levels(machine.memory(GB // 2, 16 * GB, 2, 5 * GB))
    assert found == {"memory": Level.LOOK, "overcommit": Level.FIX}


@pytest.mark.parametrize(
    ("now", "last", "level"),
    [
        (1_000 * HOUR, 0, Level.FINE),
        (1_000 * HOUR, 999 * HOUR, Level.FINE),
        (1_000 * HOUR, 1_001 * HOUR, Level.FIX),
        (1_000 * HOUR, 900 * HOUR, Level.LOOK),
    ],
)
def test_the_clock_is_held_against_the_journal(now, last, level):
    assert levels(machine.clock(now, last, True)) == {"clock": level, "time service": Level.FINE}


def test_a_clock_that_nothing_keeps_is_told():
    assert levels(machine.clock(0, 0, False))["time service"] is Level.LOOK
    assert machine.clock_is_kept() in (True, False, None)


def test_the_file_system_is_that_of_the_closest_mount(tmp_path):
    mounts = f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\nnfs {tmp_path}/da nfs rw 0 0\n\n"
    assert machine.mounted(tmp_path / "data", mounts) == ("tmpfs", str(tmp_path))
    assert machine.mounted(tmp_path.parent, mounts) == ("ext4", "/")


def test_timing_the_disk_leaves_nothing_behind(tmp_path):
    ticks = iter(range(0, 10**12, 1_000_000))
    assert machine.time_syncs(tmp_path, lambda: next(ticks)) == [1.0] * machine.SYNCS
    assert list(tmp_path.iterdir()) == []
