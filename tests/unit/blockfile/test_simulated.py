"""The simulated disk is hostile in each way it says, and the same again for the same seed."""

from pathlib import Path

import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable

FOLDER = Path("/data")
FILE = FOLDER / "file"
SEEDS = range(60)


def with_file(seed, data=b"a" * 4096):
    """A disk with one durable file."""
    disk = SimulatedDisk(seed)
    disk.make_folder(FOLDER)
    file = disk.create(FILE)
    file.write(0, [data])
    file.sync()
    disk.sync_folder(FOLDER)
    return disk, file


def after_cuts(change):
    """What a file holds after a change and a power cut, for many seeds; None where it is gone."""
    found = []
    for seed in SEEDS:
        disk, file = with_file(seed)
        change(disk, file)
        file = disk.cut().open(FILE)
        found.append(file and file.read(0, 1 << 20))
    return found


def test_what_was_synced_survives_every_cut():
    assert set(after_cuts(lambda disk, file: None)) == {b"a" * 4096}


def test_any_subset_of_unsynced_sectors_may_be_kept_whole_or_not():
    found = after_cuts(lambda disk, file: file.write(0, [b"b" * 4096]))
    assert all(data[at : at + 512] in (b"a" * 512, b"b" * 512) for data in found for at in range(0, 4096, 512))
    assert {b"a" * 4096, b"b" * 4096} < set(found)
    assert any(data[0] > data[-1] for data in found)
    assert any(data[0] < data[-1] for data in found)


def test_an_older_version_of_an_unsynced_sector_may_be_the_one_kept():
    def change(disk, file):
        file.write(0, [b"b" * 512])
        file.write(0, [b"c" * 512])

    assert {data[0] for data in after_cuts(change)} == set(b"abc")


def test_unsynced_sizes_may_be_lost():
    found = after_cuts(lambda disk, file: file.write(4096, [b"b" * 2048]))
    assert {4096, 6144} < {len(data) for data in found}
    assert all(data.startswith(b"a" * 4096) for data in found)


def test_unsynced_names_may_be_lost_or_come_back():
    assert {data is None for data in after_cuts(lambda disk, file: disk.remove(FILE))} == {True, False}
    created = set()
    for seed in SEEDS:
        disk, _ = with_file(seed)
        disk.create(FOLDER / "new").sync()
        created.add(disk.cut().open(FOLDER / "new") is None)
    assert created == {True, False}


def test_a_synced_folder_keeps_its_names():
    def change(disk, file):
        disk.remove(FILE)
        disk.sync_folder(FOLDER)

    assert set(after_cuts(change)) == {None}


def test_after_a_failed_sync_all_reads_well_the_next_sync_is_good_and_the_cut_loses_it():
    lost = 0
    for seed in SEEDS:
        disk, file = with_file(seed)
        file.write(0, [b"b" * 4096])
        disk.inject(Fault.SYNC_ERROR)
        with pytest.raises(OutcomeUnknown):
            file.sync()
        assert file.read(0, 4096) == b"b" * 4096
        file.sync()
        assert disk.kill().open(FILE).read(0, 4096) == b"b" * 4096
        lost += disk.cut().open(FILE).read(0, 4096) != b"b" * 4096
    assert lost > len(SEEDS) // 2


def test_what_is_written_again_after_a_failed_sync_can_be_synced():
    for seed in SEEDS:
        disk, file = with_file(seed)
        file.write(0, [b"b" * 4096])
        disk.inject(Fault.SYNC_ERROR)
        with pytest.raises(OutcomeUnknown):
            file.sync()
        file.write(0, [b"b" * 4096])
        file.sync()
        assert disk.cut().open(FILE).read(0, 4096) == b"b" * 4096


def test_every_process_sees_what_is_not_synced():
    disk, file = with_file(1)
    file.write(0, [b"b"])
    assert disk.another_process().open(FILE).read(0, 1) == b"b"


def test_a_kill_keeps_bytes_and_frees_locks():
    disk, file = with_file(1)
    file.write(0, [b"b"])
    disk.lock(FOLDER / "lock")
    other = disk.another_process()
    with pytest.raises(Fenced):
        other.lock(FOLDER / "lock")
    disk.kill()
    other.lock(FOLDER / "lock")
    assert other.open(FILE).read(0, 1) == b"b"
    with pytest.raises(PowerCut):
        file.read(0, 1)


def test_a_register_survives_a_kill_and_has_any_of_its_values_after_a_cut():
    found = set()
    for seed in SEEDS:
        disk, _ = with_file(seed)
        register = disk.register(FOLDER / "register", writable=True)
        disk.sync_folder(FOLDER)
        for value in (1, 2, 3):
            register.store(value)
        disk = disk.kill()
        assert disk.register(FOLDER / "register").load() == 3
        found.add(disk.cut().register(FOLDER / "register").load())
    assert found == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.WRITE_FULL, Unavailable),
        (Fault.WRITE_SHORT, OutcomeUnknown),
        (Fault.WRITE_ERROR, OutcomeUnknown),
    ],
)
def test_a_write_fails_as_injected_after_those_it_spares(fault, error):
    disk, file = with_file(1)
    disk.inject(fault, after=2)
    file.write(0, [b"b"])
    file.write(0, [b"c"])
    with pytest.raises(error):
        file.write(0, [b"d" * 4096])
    file.write(0, [b"e"])


def test_a_full_write_leaves_nothing_and_others_may_leave_a_part():
    left = {fault: set() for fault in (Fault.WRITE_FULL, Fault.WRITE_SHORT, Fault.WRITE_ERROR)}
    for seed in SEEDS:
        for fault, found in left.items():
            disk, file = with_file(seed)
            disk.inject(fault)
            with pytest.raises((Unavailable, OutcomeUnknown)):
                file.write(0, [b"b" * 4096])
            found.add(file.read(0, 4096))
    assert left[Fault.WRITE_FULL] == {b"a" * 4096}
    assert len(left[Fault.WRITE_SHORT]) > 3
    assert len(left[Fault.WRITE_ERROR]) > 20


def test_reads_fail_or_give_zeros_as_injected():
    disk, file = with_file(1)
    disk.inject(Fault.READ_ERROR)
    with pytest.raises(Corrupt):
        file.read(0, 1)
    disk.inject(Fault.READ_ZEROS)
    data = file.read(0, 4096)
    assert data.count(0) == 512
    assert len(data) == 4096
    assert file.read(0, 4096) == b"a" * 4096


def test_folders_and_creations_fail_as_injected():
    disk, _ = with_file(1)
    disk.inject(Fault.FOLDER_SYNC_ERROR)
    with pytest.raises(OutcomeUnknown):
        disk.sync_folder(FOLDER)
    disk.inject(Fault.CREATE_FULL)
    with pytest.raises(Unavailable):
        disk.create(FOLDER / "new")
    assert disk.open(FOLDER / "new") is None


def test_a_disk_with_a_capacity_fills_up():
    disk, file = with_file(1)
    disk.machine.capacity_bytes = 8192
    assert disk.free_share(FOLDER) == 0.5
    file.write(4096, [bytes(4096)])
    with pytest.raises(Unavailable):
        file.write(8192, [b"a"])
    file.write(0, [b"b"])


def test_damage_at_rest_stays():
    disk, _ = with_file(1)
    disk.flip_bit(FILE, 8 * 700 + 3)
    disk.wipe(FILE, 1024, 512)
    for restart in (disk.kill, disk.cut):
        data = restart().open(FILE).read(0, 4096)
        assert data[700] == ord("a") ^ 8
        assert data[1024:1536] == bytes(512)
        assert data[:700] + data[701:1024] + data[1536:] == b"a" * (4096 - 513)


def test_the_power_fails_in_the_operation_asked_for_and_in_all_after_it():
    disk, file = with_file(1)
    disk.cut_after(1)
    file.write(0, [b"b"])
    with pytest.raises(PowerCut):
        file.sync()
    with pytest.raises(PowerCut):
        file.write(0, [b"b"])
    assert disk.cut().open(FILE) is not None
    with pytest.raises(PowerCut):
        disk.list(FOLDER)


def test_the_same_seed_fails_the_same_way():
    def story(seed):
        disk = SimulatedDisk(seed, chances={Fault.SYNC_ERROR: 0.3, Fault.WRITE_ERROR: 0.3})
        disk.make_folder(FOLDER)
        file, log = disk.create(FILE), []
        for number in range(30):
            try:
                file.write(number * 512, [bytes([number + 1]) * 512])
                file.sync()
            except OutcomeUnknown as error:
                log.append(str(error))
        return log, file.read(0, 1 << 20)

    assert story(5) == story(5)
    assert story(5) != story(6)


def test_chances_end_when_calmed():
    disk, file = with_file(1)
    disk.machine.chances[Fault.SYNC_ERROR] = 1.0
    with pytest.raises(OutcomeUnknown):
        file.sync()
    disk.calm()
    file.sync()
