"""The writing end: where blocks come to lie, what is prepared, and what a failure leaves."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.simulated import Fault, SimulatedDisk
from tallystick.blockfile.writer import BlockWriter
from tallystick.conformance.samples import command_bytes
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown
from tallystick.records.blocks import command_block, parse_header

FOLDER = Path("/lane")
SEGMENT_BYTES = 4096
LANE = b"one lane of them"


def opened(disk, folder=FOLDER, segment_bytes=SEGMENT_BYTES):
    return BlockWriter(folder, disk, segment_bytes, origin=1)


def append(writer, commands=1, number=None):
    block = command_block(LANE, number or writer.next, command_bytes(commands))
    return writer.append(parse_header(block[0]), block)


def numbers(disk, folder=FOLDER):
    reader = BlockReader(folder, disk)
    cursor, end, found = reader.cursor(0, 1), reader.end(), []
    while block := cursor.next(end):
        found.append((block[0], block[1].header.first))
    return found


def test_blocks_begin_at_multiples_of_512_and_never_straddle_segments():
    disk = SimulatedDisk(1)
    writer = opened(disk)
    places = [append(writer, commands) for commands in (1, 3, 9, 1, 15, 15, 1)]
    assert places == [0, 512, 1536, 4096, 8192, 12288, 16384]
    assert numbers(disk) == list(zip(places, range(1, 8), strict=True))


def test_a_block_may_fill_a_segment_to_its_end():
    disk = SimulatedDisk(1)
    writer = opened(disk)
    assert [append(writer, 15) for _ in range(3)] == [0, 4096, 8192]
    assert writer.end == 12288
    disk = disk.kill()
    writer = opened(disk)
    assert append(writer) == 12288
    assert [number for _, number in numbers(disk)] == [1, 2, 3, 4]


@contextmanager
def files_end_at(limit_bytes):
    """No file of this process may grow, or be written, past that byte: `ulimit -f`, to the byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("last_byte", [1024 + 1, 1024 + 511, 1024 + 512, 1024 + 513, 1024 + 700, 1024 + 1023])
def test_a_write_that_is_stopped_at_any_byte_leaves_nothing_that_looks_like_damage(tmp_path, last_byte):
    writer = opened(SystemDisk(), tmp_path)
    append(writer, 3)
    with files_end_at(last_byte), pytest.raises(OutcomeUnknown):
        append(writer, 3)
    writer.close()
    writer = opened(SystemDisk(), tmp_path)
    assert (writer.end, writer.next) == (1024, 2)
    assert append(writer, 3) == 1024
    writer.close()


@pytest.mark.parametrize("commands", range(1, 16))
def test_no_sector_of_a_block_is_all_zero(commands):
    disk = SimulatedDisk(1)
    writer = opened(disk)
    events = bytearray(command_bytes(commands))
    for at in range(0, len(events), 256):  # what a client sets and the gateway makes may all be zero
        events[at : at + 250] = bytes(250)
    block = command_block(bytes(16), 1, events)
    writer.append(parse_header(block[0]), block)
    data = disk.open(FOLDER / f"{0:020d}").read(0, writer.end)
    assert all(any(data[at : at + 512]) for at in range(0, len(data), 512))
    assert len(data) - sum(len(buffer) for buffer in block) < 512


def test_what_fills_a_last_sector_has_no_zero_in_it():
    disk = SimulatedDisk(1)
    writer = opened(disk)
    block = command_block(LANE, 1, command_bytes(1))
    writer.append(parse_header(block[0]), block)
    size = sum(len(buffer) for buffer in block)
    padding = disk.open(FOLDER / f"{0:020d}").read(0, writer.end)[size:]
    assert len(padding) == 128
    assert 0 not in padding


def test_a_block_that_does_not_fit_a_segment_is_refused_and_the_writer_goes_on():
    writer = opened(SimulatedDisk(1))
    with pytest.raises(ValueError, match="does not fit a segment of 4096"):
        append(writer, 16)
    assert append(writer, 15) == 0


def test_a_block_out_of_turn_is_refused_and_the_writer_goes_on():
    writer = opened(SimulatedDisk(1))
    with pytest.raises(ValueError, match="1 is next"):
        append(writer, number=2)
    assert append(writer) == 0


@pytest.mark.parametrize("segment_bytes", [0, 2048, 4097, 5000])
def test_segments_are_whole_sectors(segment_bytes):
    with pytest.raises(ValueError, match="multiple of 512"):
        opened(SimulatedDisk(1), segment_bytes=segment_bytes)


def test_another_size_of_segments_is_for_new_block_files_only():
    disk = SimulatedDisk(1)
    append(opened(disk))
    disk = disk.kill()
    writer = opened(disk, segment_bytes=8192)
    assert [append(writer, 15), append(writer, 15)] == [4096, 8192]


def test_preparing_fills_the_next_segment_slice_by_slice():
    disk = SimulatedDisk(1)
    writer = opened(disk, segment_bytes=3 << 20)
    sizes = []
    while writer.prepare():
        sizes.append(disk.open(FOLDER / f"{3 << 20:020d}").size())
    assert sizes == [1 << 20, 2 << 20]
    assert not writer.prepare()
    operations = disk.machine.operations
    append(writer, 8190)
    assert append(writer, 8190) == 3 << 20
    assert disk.machine.operations - operations == 6  # write, sync and durable end of each, and nothing else


def test_a_writer_keeps_others_out_until_it_closes(tmp_path):
    first = opened(SystemDisk(), tmp_path)
    with pytest.raises(Fenced):
        opened(SystemDisk(), tmp_path)
    first.close()
    opened(SystemDisk(), tmp_path).close()


def test_a_closed_writer_appends_nothing():
    disk = SimulatedDisk(1)
    writer = opened(disk)
    writer.close()
    with pytest.raises(OutcomeUnknown, match="closed"):
        append(writer)
    assert opened(disk).next == 1


@pytest.mark.parametrize("fault", [Fault.SYNC_ERROR, Fault.WRITE_ERROR, Fault.WRITE_SHORT])
def test_after_a_failure_the_writer_refuses_everything(fault):
    disk = SimulatedDisk(1)
    writer = opened(disk)
    append(writer)
    disk.inject(fault)
    with pytest.raises(OutcomeUnknown):
        append(writer)
    operations = disk.machine.operations
    for attempt in (lambda: append(writer), writer.prepare):
        with pytest.raises(OutcomeUnknown, match="spent"):
            attempt()
    assert disk.machine.operations == operations  # above all, no second sync
    assert [number for _, number in numbers(disk)] == [1]


def test_a_block_left_by_a_failed_sync_is_made_durable_before_it_is_shown():
    for seed in range(50):
        disk = SimulatedDisk(seed)
        writer = opened(disk)
        append(writer, 9)
        disk.inject(Fault.SYNC_ERROR)
        with pytest.raises(OutcomeUnknown):
            append(writer, 3)
        assert [number for _, number in numbers(disk)] == [1]
        disk = disk.kill()
        assert opened(disk).next == 3  # all of it can still be read
        assert [number for _, number in numbers(disk)] == [1, 2]
        disk = disk.cut()
        opened(disk)
        assert [number for _, number in numbers(disk)] == [1, 2]


def test_deleted_segments_leave_the_rest_readable(tmp_path):
    disk = SystemDisk()
    writer = opened(disk, tmp_path)
    for _ in range(4):
        append(writer, 15)
    reader = BlockReader(tmp_path, disk)
    end = reader.end()
    reader.trim([0, 4096])
    assert sorted(int(name) for name in os.listdir(tmp_path) if name.isdigit()) == [8192, 12288]
    cursor = reader.cursor(8192, 3)
    assert [cursor.next(end)[1].header.first for _ in range(2)] == [3, 4]
    with pytest.raises(Corrupt, match="missing"):
        reader.cursor(0, 1).next(end)
    writer.close()
    assert opened(disk, tmp_path).next == 5
