import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Corrupt
from tallystick.records import blocks
from tallystick.records.commands import COMMAND, COMMANDS_MAX, Kind
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY
from tests.unit.records.examples import LANE, changed, command_block, entry_block, patched

COMMANDS = command_block(2)
ENTRIES = entry_block(2, lanes=2)
BOTH = pytest.mark.parametrize("block", [COMMANDS, ENTRIES], ids=["commands", "entries"])
U64_MAX = 2**64 - 1


def refused(block, match=None):
    with pytest.raises(Corrupt, match=match):
        blocks.parse(block)


@BOTH
def test_the_examples_are_valid_and_stay_so_when_hashed_again(block):
    blocks.parse(block)
    assert changed(block) == block


@BOTH
def test_every_flipped_bit_of_every_byte_is_refused(block):
    for at in range(len(block)):
        damaged = bytearray(block)
        for bit in range(8):
            damaged[at] = block[at] ^ 1 << bit
            refused(damaged)


@BOTH
def test_every_truncation_and_every_surplus_is_refused(block):
    for size in range(len(block)):
        refused(block[:size])
    refused(block + b"\0")
    refused(block + block)


@BOTH
def test_a_hash_that_fits_does_not_save_a_block_of_another_size(block):
    for size in [*range(blocks.HEADER_SIZE, len(block)), len(block) + 1, 2 * len(block)]:
        refused(changed(block, resize=size))
        refused(changed(block, resize=size, size=size))


@given(st.binary(max_size=600))
def test_no_random_bytes_are_a_block(data):
    refused(data)
    refused(blocks.MAGIC + data)


@pytest.mark.parametrize("data", [b"", b"\0" * 127, b"\0" * 128, b"\0" * 4096])
def test_nothing_and_zeros_are_no_block(data):
    refused(data)


@BOTH
@pytest.mark.parametrize("version", [0, 1, 3, 65_535])
def test_another_version_of_the_block_is_refused_with_the_advice_to_upgrade(block, version):
    refused(changed(block, version=version), f"version {version} .* upgrade")


@BOTH
@pytest.mark.parametrize(
    "fields",
    [
        {"magic": b"tallyblk"},
        {"kind": 0},
        {"kind": 3},
        {"kind": 65_535},
        {"reserved": 1},
        {"reserved": 0x8000},
        {"size": 0},
        {"size": 127},
        {"size": 128},
        {"size": U64_MAX},
        {"count": 0},
        {"count": 1},
        {"count": 3},
        {"count": COMMANDS_MAX},
        {"count": blocks.ENTRIES_MAX},
        {"count": 2**32 - 1},
        {"lanes": 1},
        {"lanes": 3},
        {"lanes": blocks.LANES_MAX},
        {"lanes": 2**32 - 1},
        {"count": 0, "size": 128, "resize": 128},
        {"count": 0, "lanes": 0, "size": 128, "resize": 128},
    ],
    ids=str,
)
def test_header_fields_that_disagree_are_refused_though_the_hash_fits(block, fields):
    refused(changed(block, **fields))


def test_the_other_kind_is_refused():
    refused(changed(COMMANDS, kind=2))
    refused(changed(ENTRIES, kind=1))


@pytest.mark.parametrize("fields", [{"epoch": 1}, {"previous": b"\0" * 31 + b"\1"}, {"first": 0}], ids=str)
def test_a_command_block_uses_no_field_of_the_journal_and_counts_from_one(fields):
    refused(changed(COMMANDS, **fields))


def test_a_journal_block_names_no_lane_of_its_own():
    refused(changed(ENTRIES, lane=b"\0" * 15 + b"\1"), "leaves zero")


@pytest.mark.parametrize("fields", [{"first": U64_MAX}, {"shard": 65_535}], ids=str)
@BOTH
def test_header_fields_at_their_bounds_are_read(block, fields):
    header = blocks.parse(changed(block, **fields)).header
    assert {name: getattr(header, name) for name in fields} == fields


def test_the_journal_s_own_fields_are_read_at_their_bounds():
    header = blocks.parse(changed(ENTRIES, epoch=U64_MAX, previous=b"\xff" * 32, first=0)).header
    assert (header.epoch, header.previous, header.first) == (U64_MAX, b"\xff" * 32, 0)


@pytest.mark.parametrize("count", [1, COMMANDS_MAX])
def test_a_command_block_of_the_fewest_and_of_the_most_commands_is_read(count):
    block = blocks.parse(command_block(count))
    assert len(block.commands) == block.header.count == count


@pytest.mark.parametrize(("count", "lanes"), [(1, 0), (1, blocks.LANES_MAX), (blocks.ENTRIES_MAX, blocks.LANES_MAX)])
def test_a_journal_block_of_the_fewest_and_of_the_most_entries_is_read(count, lanes):
    data = entry_block(count, lanes)
    block = blocks.parse(data)
    assert (len(block.entries), len(block.details), len(block.positions)) == (count, count, lanes)
    assert len(data) <= blocks.BLOCK_SIZE_MAX


def test_one_command_entry_or_lane_too_many_is_refused_by_reader_and_writer():
    rows = command_block(COMMANDS_MAX)[128:] + command_block()[128:]
    with pytest.raises(ValueError, match="8190"):
        blocks.command_block(LANE, 1, rows)
    whole = command_block(COMMANDS_MAX)[:128] + rows
    refused(changed(whole, size=len(whole), count=COMMANDS_MAX + 1))
    with pytest.raises(ValueError, match="16381"):
        entry_block(blocks.ENTRIES_MAX + 1)
    with pytest.raises(ValueError, match="1024 lanes"):
        entry_block(1, blocks.LANES_MAX + 1)


@pytest.mark.parametrize("size", [0, 1, 255, 257, 511])
def test_a_command_block_is_made_of_whole_commands_only(size):
    with pytest.raises(ValueError, match="256 bytes"):
        blocks.command_block(LANE, 1, bytes(size))


def test_a_journal_block_is_made_of_as_many_details_as_entries_and_of_one_at_least():
    for entries, details in ((0, 0), (1, 2), (2, 1)):
        with pytest.raises(ValueError, match="as many details"):
            blocks.entry_block(np.zeros(entries, ENTRY), np.zeros(details, DETAILS), {}, 0, bytes(32), 1)


def test_lane_positions_out_of_order_or_twice_are_refused():
    one, two = ENTRIES[128:152], ENTRIES[152:176]
    refused(patched(ENTRIES, 128, two + one), "sorted")
    refused(patched(ENTRIES, 128, one + one), "sorted")
    refused(patched(ENTRIES, 128, two + two), "sorted")


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (128 + 252, b"\0", "kind .* upgrade"),
        (128 + 252, bytes([Kind.SEAL]), "kind .* upgrade"),
        (128 + 252, b"\xff", "kind .* upgrade"),
        (128 + 253, b"\0", "version .* upgrade"),
        (128 + 253, b"\2", "version .* upgrade"),
        (128 + 256 + 253, b"\2", "version .* upgrade"),
    ],
)
def test_a_command_of_unknown_kind_or_version_is_refused_with_the_advice_to_upgrade(offset, data, message):
    refused(patched(COMMANDS, offset, data), message)


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (176, b"\xfe\x00", "length"),
        (176, b"\x00\xfd", "length"),
        (176 + 256, b"\x00\x00", "length"),
        (176 + 2, b"\0", "kind .* upgrade"),
        (176 + 2, b"{", "kind .* upgrade"),
        (176 + 3, b"\0", "version .* upgrade"),
        (176 + 256 + 3, b"\3", "version .* upgrade"),
        (176 + 512 + 103, b"\0", "version .* upgrade"),
        (176 + 512 + 104 + 103, b"\1", "version .* upgrade"),
    ],
)
def test_an_entry_or_details_of_unknown_kind_or_version_are_refused_with_the_advice_to_upgrade(offset, data, message):
    refused(patched(ENTRIES, offset, data), message)


def has_zero_window(data, window=512):
    """Whether `window` bytes in a row are all zero, at any offset."""
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    gaps = np.diff(np.concatenate(([-1], used, [len(data)]))) - 1
    return bool((gaps >= window).any())


def test_the_search_for_zero_windows_finds_one():
    assert has_zero_window(b"a" + bytes(512))
    assert has_zero_window(b"a" + bytes(512) + b"b")
    assert not has_zero_window(b"a" + bytes(511) + b"b" + bytes(511))


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 40), st.sampled_from([Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL]))
def test_no_512_bytes_in_a_row_are_zero_in_a_block_of_zero_amounts_ids_and_times(count, lanes, kind):
    """The emptiest blocks that parse: whatever else a block says can only add bytes that are not zero."""
    assert not has_zero_window(command_block(count, kind=kind))
    assert not has_zero_window(entry_block(count, lanes, epoch=0))


def test_no_512_bytes_in_a_row_are_zero_in_the_largest_blocks():
    assert not has_zero_window(command_block(COMMANDS_MAX))
    assert not has_zero_window(entry_block(blocks.ENTRIES_MAX, blocks.LANES_MAX))


@given(st.data())
def test_what_is_put_into_a_command_block_comes_out(data):
    count = data.draw(st.integers(1, 8))
    rows = np.frombuffer(data.draw(st.binary(min_size=256 * count, max_size=256 * count)), COMMAND).copy()
    rows["kind"], rows["version"] = data.draw(st.integers(1, 3)), 1
    lane, first = data.draw(st.binary(min_size=16, max_size=16)), data.draw(st.integers(1, U64_MAX))
    shard = data.draw(st.integers(0, 65_535))
    block = blocks.parse(b"".join(blocks.command_block(lane, first, rows.tobytes(), shard)))
    assert block.commands.tobytes() == rows.tobytes()
    assert (block.header.lane, block.header.first, block.header.shard) == (lane, first, shard)
    assert block.header.next == first + 1
    assert not block.commands.flags.writeable


@given(st.data())
def test_what_is_put_into_a_journal_block_comes_out(data):
    count = data.draw(st.integers(1, 8))
    entries = np.frombuffer(data.draw(st.binary(min_size=256 * count, max_size=256 * count)), ENTRY).copy()
    entries["length"], entries["kind"], entries["version"] = 254, data.draw(st.integers(1, 5)), 1
    details = np.frombuffer(data.draw(st.binary(min_size=104 * count, max_size=104 * count)), DETAILS).copy()
    details["version"] = 2
    u64 = st.integers(0, U64_MAX)
    positions = data.draw(st.dictionaries(st.binary(min_size=16, max_size=16), u64, max_size=9))
    first, epoch = data.draw(u64), data.draw(u64)
    previous = data.draw(st.binary(min_size=32, max_size=32))
    digest, buffers = blocks.entry_block(entries, details, positions, first, previous, epoch)
    block = blocks.parse(b"".join(buffers))
    assert (block.entries.tobytes(), block.details.tobytes()) == (entries.tobytes(), details.tobytes())
    assert block.positions == positions
    assert (block.header.first, block.header.epoch, block.header.previous) == (first, epoch, previous)
    assert block.header.hash == digest
    assert block.header.next == first + count


def test_rows_that_are_not_contiguous_are_written_as_they_read():
    entries = np.frombuffer(entry_block(4, 0)[128 : 128 + 4 * 256], ENTRY)
    details = np.frombuffer(entry_block(4, 0)[128 + 4 * 256 :], DETAILS)
    sparse = blocks.entry_block(entries[::2], details[::2], {}, 0, bytes(32), 1)
    dense = blocks.entry_block(entries[::2].copy(), details[::2].copy(), {}, 0, bytes(32), 1)
    assert b"".join(sparse[1]) == b"".join(dense[1])


@BOTH
@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, np.frombuffer], ids=lambda form: form.__name__)
def test_a_block_is_read_from_any_buffer(block, form):
    data = form(block, np.uint8).data if form is np.frombuffer else form(block)
    assert blocks.parse(data).header == blocks.parse(block).header
