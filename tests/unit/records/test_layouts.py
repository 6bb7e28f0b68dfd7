"""docs/records.md is what the world is told; these tests read that page and compare the code with it."""

import re
from pathlib import Path

import numpy as np
import pytest

from tallystick.records import blocks, commands, details, entries, layouts, results

PAGE = Path(__file__).parents[3] / "docs" / "records.md"
ROW = re.compile(r"\| (\d+) \| (\d+) \| (\w+) \| `(\w+)` \| (.+) \|")
DTYPES = {
    "Transfer event": commands.TRANSFER_EVENT,
    "Account event": commands.ACCOUNT_EVENT,
    "Control event": commands.CONTROL_EVENT,
    "Seal event": entries.SEAL_EVENT,
    "Command": commands.COMMAND,
    "Entry": entries.ENTRY,
    "Details": details.DETAILS,
    "Result": results.RESULT,
}
HEADER = ("Block header", "Lane position")


def sections():
    text = PAGE.read_text(encoding="utf-8")
    return {
        part.split("\n", 1)[0]: [
            (int(offset), int(size), kind, field) for offset, size, kind, field, _ in ROW.findall(part)
        ]
        for part in text.split("\n## ")[1:]
    }


def spread(rows):
    """The rows as a dtype has them: a 128-bit field is two."""
    for offset, size, kind, field in rows:
        if kind == "u128":
            yield f"{field}_lo", offset, 8
            yield f"{field}_hi", offset + 8, 8
        else:
            yield field, offset, size


def test_every_record_has_its_section():
    assert {title for title, rows in sections().items() if rows} == {*DTYPES, *HEADER}


@pytest.mark.parametrize("title", DTYPES)
def test_the_page_gives_each_field_s_offset_and_size(title):
    dtype = DTYPES[title]
    fields = [(name, offset, field.itemsize) for name, (field, offset, *_) in dtype.fields.items()]
    assert list(spread(sections()[title])) == fields


@pytest.mark.parametrize("title", [*DTYPES, *HEADER])
def test_fields_follow_each_other_without_a_gap(title):
    end = 0
    for offset, size, kind, _ in sections()[title]:
        assert offset == end
        assert kind == "bytes" or size * 8 == int(kind[1:])
        end += size
    assert f"{end} bytes." in PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n|")[0]


@pytest.mark.parametrize(("kind", "dtype"), sorted(commands.EVENTS.items()))
def test_an_event_stands_at_the_start_of_its_command_and_inside_its_entry(kind, dtype):
    whole = {commands.Kind.TRANSFER: commands.TRANSFER, commands.Kind.ACCOUNT: commands.ACCOUNT}
    command = whole.get(kind, commands.CONTROL)
    work = {commands.Kind.TRANSFER: entries.TRANSFER_WORK, commands.Kind.ACCOUNT: entries.ACCOUNT_WORK}
    entry = work.get(kind, entries.CONTROL_WORK)
    for name, (field, offset, *_) in dtype.fields.items():
        assert command.fields[name][:2] == (field, offset)
        assert entry.fields["event_timestamp" if name == "timestamp" else name][:2] == (field, offset + 32)
    for name, (field, offset, *_) in commands.COMMAND.fields.items():
        if name != "event":
            assert command.fields[name][:2] == (field, offset)
    for name, (field, offset, *_) in entries.WORK.fields.items():
        if name != "event":
            assert entry.fields[name][:2] == (field, offset)


@pytest.mark.parametrize(
    "dtype", [*DTYPES.values(), entries.WORK, commands.TRANSFER, commands.ACCOUNT, commands.CONTROL]
)
def test_no_field_has_the_name_of_an_array_s_attribute(dtype):
    assert [name for name in dtype.names if hasattr(np.ndarray, name)] == []


@pytest.mark.parametrize("dtype", [*DTYPES.values(), entries.WORK])
def test_every_number_is_little_endian_but_the_entry_s_length(dtype):
    big = [name for name, (field, *_) in dtype.fields.items() if field.base.byteorder == ">"]
    assert big == (["length"] if dtype is entries.ENTRY else [])


def test_the_header_is_parsed_where_the_page_says_it_stands():
    rows = {field: (offset, size) for offset, size, _, field in sections()["Block header"]}
    lane, number, shard = b"0123456789abcdef", 0x1122334455667788, 0x99AA
    block = b"".join(blocks.command_block(lane, number, commands.frame(bytes(256), 1, 7, 8, 9).tobytes(), shard))

    def at(field):
        offset, size = rows[field]
        return block[offset : offset + size]

    header = blocks.parse_header(block)
    assert at("magic") == blocks.MAGIC
    assert int.from_bytes(at("version"), "little") == blocks.VERSION
    for field in ("kind", "shard", "size", "epoch", "first", "count", "lanes"):
        assert int.from_bytes(at(field), "little") == getattr(header, field), field
    assert (header.shard, header.size, header.first, header.count) == (shard, len(block), number, 2)
    assert (at("lane"), at("previous"), at("hash")) == (lane, bytes(32), header.hash)
    assert at("reserved") == bytes(2)


def test_the_page_is_the_one_that_the_code_renders():
    assert PAGE.read_text(encoding="utf-8") == layouts.page()
