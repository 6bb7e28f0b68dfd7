"""Torn or damaged: what a writer makes of the bytes after the last whole block. Each case is set up by hand."""

from pathlib import Path

import pytest

from tallystick.blockfile.segments import SECTOR
from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.blockfile.writer import BlockWriter
from tallystick.conformance.samples import command_bytes
from tallystick.errors import Corrupt
from tallystick.records.blocks import command_block, parse_header

FOLDER = Path("/lane")
SEGMENT = FOLDER / f"{0:020d}"
NEXT_SEGMENT = FOLDER / f"{8192:020d}"
SEGMENT_BYTES = 8192
BLOCK_BYTES_MAX = 2688  # 10 commands
LANE = b"one lane of them"


def buffers(number, commands=1, request_id=1):
    return command_block(LANE, number, command_bytes(commands, request_id))


def opened(disk):
    return BlockWriter(FOLDER, disk, SEGMENT_BYTES, origin=1, block_bytes_max=BLOCK_BYTES_MAX)


def append(writer, commands=1):
    block = buffers(writer.next, commands)
    return writer.append(parse_header(block[0]), block)


def with_blocks(*commands):
    """A disk after a kill, whose one block file holds blocks of so many commands."""
    disk = SimulatedDisk(1)
    writer = opened(disk)
    for count in commands:
        append(writer, count)
    return disk.kill(), writer.end


def put(disk, at, data, path=SEGMENT):
    file = disk.open(path, writable=True)
    file.write(at, [data])
    file.sync()


def sectors(number, commands=5):
    """A block of 1,408 bytes as its three sectors."""
    data = b"".join(buffers(number, commands)).ljust(3 * SECTOR, b"\xff")
    return [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]


ZEROS = bytes(SECTOR)


def test_a_block_file_may_be_new():
    writer = opened(SimulatedDisk(1))
    assert (writer.end, writer.next, writer.last) == (0, 1, None)


def test_whole_blocks_beyond_a_stale_durable_end_are_found():
    disk, end = with_blocks(1, 2, 3)
    for stale in (0, 512, 512 + 1024, end):
        disk.register(FOLDER / "durable-end", writable=True).store(stale)
        writer = opened(disk)
        assert (writer.end, writer.next) == (end, 4)
        assert disk.register(FOLDER / "durable-end").load() == end
        disk = disk.kill()


@pytest.mark.parametrize("lost", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_a_block_that_misses_a_sector_is_torn_and_goes(lost):
    disk, end = with_blocks(1, 2)
    put(disk, end, b"".join(ZEROS if number in lost else data for number, data in enumerate(sectors(3))))
    writer = opened(disk)
    assert (writer.end, writer.next) == (end, 3)
    assert disk.open(SEGMENT).read(end, 3 * SECTOR) == bytes(3 * SECTOR)
    append(writer, 5)
    assert opened(disk.cut()).next == 4


def test_a_torn_block_may_be_the_first_of_all():
    disk, _ = with_blocks()
    put(disk, 0, ZEROS + sectors(1)[1])
    assert opened(disk).next == 1


def test_a_torn_block_may_begin_the_next_segment():
    disk, end = with_blocks(10, 10)
    disk.create(NEXT_SEGMENT).write(0, [ZEROS + sectors(3)[1] + ZEROS])
    writer = opened(disk)
    assert (writer.end, writer.next) == (end, 3)
    assert append(writer, 10) == SEGMENT_BYTES


def test_what_was_prepared_of_the_next_segment_is_made_anew():
    disk, _ = with_blocks(10, 10)
    disk.create(NEXT_SEGMENT).write(0, [bytes(1000)])
    writer = opened(disk)
    assert NEXT_SEGMENT.name not in disk.list(FOLDER)
    assert append(writer, 10) == SEGMENT_BYTES
    assert disk.open(NEXT_SEGMENT).size() == SEGMENT_BYTES


def test_a_block_without_a_missing_sector_whose_hash_fails_is_damaged():
    disk, end = with_blocks(1, 2)
    data = bytearray(b"".join(sectors(3)))
    data[700] ^= 1
    put(disk, end, data)
    with pytest.raises(Corrupt, match="no sector is missing"):
        opened(disk)


def test_a_torn_block_with_bytes_after_it_is_damaged():
    disk, end = with_blocks(1, 2)
    first, _, third = sectors(3)
    put(disk, end, first + ZEROS + third + ZEROS + b"\1")
    with pytest.raises(Corrupt, match="follow a block"):
        opened(disk)


def test_more_than_a_block_of_bytes_without_a_header_is_damaged():
    disk, end = with_blocks(1, 2)
    put(disk, end, ZEROS + b"\1" * BLOCK_BYTES_MAX)
    with pytest.raises(Corrupt, match="follow a block"):
        opened(disk)


def test_a_wiped_block_with_a_whole_one_after_it_is_damaged():
    disk, end = with_blocks(1, 2)
    put(disk, end, ZEROS + b"".join(buffers(4)))
    with pytest.raises(Corrupt, match="a whole block follows"):
        opened(disk)


def test_a_torn_block_that_holds_the_start_of_an_older_one_is_still_torn():
    disk, end = with_blocks(1, 2)
    put(disk, end, ZEROS + b"".join(buffers(2)))
    assert opened(disk).next == 3


@pytest.mark.parametrize("number", [2, 4])
def test_a_whole_block_of_another_number_is_damage(number):
    disk, end = with_blocks(1, 2)
    put(disk, end, b"".join(sectors(number)))
    with pytest.raises(Corrupt, match="3 was due"):
        opened(disk)


def test_bytes_that_are_no_header_are_damage():
    disk, end = with_blocks(1, 2)
    put(disk, end, b"something else")
    with pytest.raises(Corrupt, match="wrong magic"):
        opened(disk)


def test_bytes_in_two_segments_after_the_last_block_are_damage():
    disk, end = with_blocks(10, 10)
    put(disk, end, ZEROS + b"\1")
    disk.create(NEXT_SEGMENT).write(0, [ZEROS + b"\1"])
    with pytest.raises(Corrupt, match="the last whole block ends at"):
        opened(disk)


def test_bytes_two_segments_after_the_last_block_are_damage():
    disk, _ = with_blocks(10, 10)
    disk.create(NEXT_SEGMENT).write(0, [bytes(SEGMENT_BYTES)])
    disk.create(FOLDER / f"{2 * SEGMENT_BYTES:020d}").write(0, [b"\0\1"])
    with pytest.raises(Corrupt):
        opened(disk)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_sector_below_the_durable_end_is_damage_and_no_tear(lost):
    disk, end = with_blocks(1, 2, 5)
    disk.wipe(SEGMENT, end - 3 * SECTOR + lost * SECTOR, SECTOR)
    with pytest.raises(Corrupt):
        opened(disk)


@pytest.mark.parametrize("durable_end", [100, 513, 1024, SEGMENT_BYTES, 5 * SEGMENT_BYTES])
def test_a_durable_end_that_is_no_end_of_a_block_is_corrupt(durable_end):
    disk, _ = with_blocks(1, 2, 5)
    disk.register(FOLDER / "durable-end", writable=True).store(durable_end)
    with pytest.raises(Corrupt):
        opened(disk)


def test_lost_segments_are_corrupt():
    disk, _ = with_blocks(1)
    disk.remove(SEGMENT)
    with pytest.raises(Corrupt, match="gone"):
        opened(disk)


def test_segments_without_their_size_are_corrupt():
    disk, _ = with_blocks(1)
    disk.remove(FOLDER / "segment-bytes")
    with pytest.raises(Corrupt, match="segment-bytes"):
        opened(disk)


def test_a_trimmed_block_file_without_a_block_is_corrupt():
    disk = SimulatedDisk(1)
    opened(disk)
    disk.remove(SEGMENT)
    disk.create(NEXT_SEGMENT).write(0, [bytes(SEGMENT_BYTES)])
    with pytest.raises(Corrupt, match="no block in the segment"):
        opened(disk.kill())


def test_a_stale_durable_end_below_what_was_trimmed_is_no_damage():
    disk = SimulatedDisk(1)
    writer = opened(disk)
    for _ in range(7):
        append(writer, 10)
    disk.remove(SEGMENT)
    disk = disk.kill()
    disk.register(FOLDER / "durable-end", writable=True).store(512)
    assert opened(disk).next == 8
