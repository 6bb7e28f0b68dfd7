"""Slots through power cuts and I/O errors: what was stored stays, and a reader sees nothing that may be lost."""

from pathlib import Path
from random import Random

import pytest

from tallystick.blockfile import slots
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.blockfile.slots import SLOT_SIZE, Slots
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable

FOLDER = Path("/data")
PATH = FOLDER / "state"


@pytest.mark.parametrize("first_seed", range(0, 400, 40))
def test_what_was_stored_or_shown_is_never_lost(first_seed):
    for seed in range(first_seed, first_seed + 40):
        random, disk = Random(seed), SimulatedDisk(seed)
        disk.make_folder(FOLDER)
        stored, shown, tried = None, None, [None]
        for life in range(6):
            try:
                if random.random() < 0.6:
                    disk.cut_after(random.randint(0, 14))
                else:
                    faults = [fault for fault in Fault if not fault.name.startswith("READ")]
                    disk.inject(random.choice(faults), random.randint(0, 8))
                writer, reader = Slots(PATH, disk), slots.Reader(PATH, disk.another_process())
                assert writer.value in tried, (seed, life)
                assert stored is None or int(writer.value) >= int(stored)
                assert shown is None or int(writer.value) >= int(shown)
                stored = writer.value or stored
                for _ in range(random.randint(0, 5)):
                    tried.append(b"%d" % (len(tried)))
                    writer.store(tried[-1])
                    stored = tried[-1]
                    shown = slots.read(PATH, disk.another_process())
                    assert shown == stored == reader.read() == reader.read()
            except (OutcomeUnknown, Unavailable):
                shown = slots.read(PATH, disk.another_process()) or shown
                disk = disk.kill() if random.random() < 0.5 else disk.cut()
                disk.calm()
            except PowerCut:
                disk = disk.cut()
            else:
                disk = disk.kill()
            found = slots.read(PATH, disk.another_process())
            assert found in (None, *tried)
            if stored is not None:
                assert found is not None


def test_a_reader_sees_nothing_before_it_is_durable():
    for seed in range(60):
        disk = SimulatedDisk(seed)
        disk.make_folder(FOLDER)
        writer = Slots(PATH, disk)
        writer.store(b"one")
        reader = slots.Reader(PATH, disk.another_process())
        assert reader.read() == b"one"
        disk.cut_after(seed % 4)
        with pytest.raises(PowerCut):
            writer.store(b"two")
        # Another process looked just before the lights went out.
        other = SimulatedDisk(machine=disk.machine)
        other.machine.cut_at = None
        shown = slots.read(PATH, other)
        assert reader.read() == shown
        disk = disk.cut()
        found = slots.read(PATH, disk)
        assert shown != b"two" or Slots(PATH, disk).value == b"two", seed
        assert found in (b"one", b"two")


@pytest.mark.parametrize("at", [0, SLOT_SIZE])
def test_one_damaged_copy_loses_nothing_and_is_repaired(at):
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    writer = Slots(PATH, disk)
    for value in (b"one", b"two"):
        writer.store(value)
    disk.flip_bit(PATH, (at + 53) * 8)
    assert slots.read(PATH, disk) == b"two"
    assert Slots(PATH, disk.kill()).value == b"two"
    disk = disk.another_process()
    disk.flip_bit(PATH, (SLOT_SIZE - at + 53) * 8)
    assert slots.read(PATH, disk) == b"two"


def test_two_damaged_copies_need_a_person():
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    Slots(PATH, disk).store(b"one")
    for at in (0, SLOT_SIZE):
        disk.flip_bit(PATH, (at + 53) * 8)
    with pytest.raises(Corrupt, match="neither"):
        slots.read(PATH, disk)
    with pytest.raises(Corrupt, match="neither"):
        Slots(PATH, disk.kill())


def test_a_reader_who_meets_both_copies_half_written_looks_again():
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    Slots(PATH, disk).store(b"one")
    whole = bytes(disk.another_process().open(PATH).read(0, 2 * SLOT_SIZE))
    for at in (0, SLOT_SIZE):
        disk.flip_bit(PATH, (at + 53) * 8)

    class Moving(SimulatedDisk):
        """The writer is done by the time of the third read."""

        reads = 0

        def read(self, inode, path, at, size):
            Moving.reads += 1
            if Moving.reads == 3:
                inode.seen[:] = whole
            return super().read(inode, path, at, size)

    assert slots.read(PATH, Moving(machine=disk.machine)) == b"one"


def test_a_value_has_room_or_is_refused():
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    writer = Slots(PATH, disk)
    writer.store(bytes(slots.VALUE_BYTES_MAX))
    with pytest.raises(ValueError, match="has room for"):
        writer.store(bytes(slots.VALUE_BYTES_MAX + 1))


def test_a_reader_sees_a_file_that_was_removed_and_made_again():
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    reader = slots.Reader(PATH, disk)
    assert reader.read() is None
    for value in (b"one", b"two"):
        Slots(PATH, disk).store(value)
        assert reader.read() == value
        disk.remove(PATH)
        assert reader.read() is None
