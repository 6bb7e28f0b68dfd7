from pathlib import Path

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.simulated import PowerCut, SimulatedDisk
from tallystick.clock import system_entropy
from tallystick.engine import idkey

PATH = Path("/data/ids/key")


def test_a_key_is_made_once_and_kept():
    disk = SimulatedDisk(1)
    key = idkey.load_or_make(disk, PATH, system_entropy)
    assert key.shape == (4,)
    assert key.dtype == "<u8"
    assert (idkey.load_or_make(disk.cut(), PATH, system_entropy) == key).all()


def test_two_folders_have_different_keys():
    disk = SimulatedDisk(1)
    key = idkey.load_or_make(disk, PATH, system_entropy)
    assert (idkey.load_or_make(disk, Path("/other/key"), system_entropy) != key).all()


def test_only_its_owner_can_read_the_key(tmp_path):
    idkey.load_or_make(SystemDisk(), tmp_path / "ids" / "key", system_entropy)
    assert (tmp_path / "ids" / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("bit", [0, 8 * 31 + 7, 8 * 32, 8 * 63 + 7])
def test_a_damaged_key_is_replaced_by_a_new_one(bit):
    disk = SimulatedDisk(1)
    key = idkey.load_or_make(disk, PATH, system_entropy)
    disk.flip_bit(PATH, bit)
    other = idkey.load_or_make(disk, PATH, system_entropy)
    assert (other != key).all()
    assert (idkey.load_or_make(disk, PATH, system_entropy) == other).all()


def test_a_key_file_that_is_too_long_is_replaced():
    disk = SimulatedDisk(1)
    key = idkey.load_or_make(disk, PATH, system_entropy)
    disk.open(PATH, writable=True).write(64, [b"\0"])
    assert (idkey.load_or_make(disk, PATH, system_entropy) != key).all()


def test_a_power_cut_while_the_key_is_made_does_no_harm():
    for after in range(20):
        disk = SimulatedDisk(after)
        disk.cut_after(after)
        try:
            key = idkey.load_or_make(disk, PATH, system_entropy)
        except PowerCut:
            key = idkey.load_or_make(disk.cut(), PATH, system_entropy)
        else:
            disk = disk.cut()
            assert (idkey.load_or_make(disk, PATH, system_entropy) == key).all()
            return
    pytest.fail("making a key takes more operations than that")
