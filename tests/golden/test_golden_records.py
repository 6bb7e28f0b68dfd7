"""Bytes that never change. records.json was packed field by field by another program (Python's struct and hashlib,
from the table in docs/records.md); what fails here would make journals that exist unreadable."""

import json
from pathlib import Path

import numpy as np
import pytest

from tallystick.records import blocks
from tallystick.records.commands import ACCOUNT, COMMAND, CONTROL, TRANSFER
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY, SEAL_EVENT, WORK
from tallystick.records.results import RESULT

GOLDEN = json.loads((Path(__file__).parent / "records.json").read_text(encoding="utf-8"))
DTYPES = {
    "transfer command": TRANSFER,
    "account command": ACCOUNT,
    "control command": CONTROL,
    "seal event": SEAL_EVENT,
    "entry": ENTRY,
    "seal": ENTRY,
    "details": DETAILS,
    "seal details": DETAILS,
    "result": RESULT,
}


def golden_bytes(name):
    return bytes.fromhex(GOLDEN[name]["hex"])


def rows(*names, dtype):
    return np.frombuffer(b"".join(golden_bytes(name) for name in names), dtype)


def number(text):
    assert text.startswith("0x")
    return int(text, 16)


@pytest.mark.parametrize("name", DTYPES)
def test_a_record_filled_by_field_has_the_golden_bytes(name):
    row = np.zeros(1, DTYPES[name])
    for field, value in GOLDEN[name]["fields"].items():
        if not value.startswith("0x"):
            row[field] = np.frombuffer(bytes.fromhex(value), "<u8")
        elif f"{field}_lo" in row.dtype.names:
            row[f"{field}_lo"] = number(value) & 0xFFFFFFFFFFFFFFFF
            row[f"{field}_hi"] = number(value) >> 64
        else:
            row[field] = number(value)
    assert row.tobytes() == golden_bytes(name)


@pytest.mark.parametrize("name", DTYPES)
def test_golden_bytes_are_read_field_by_field(name):
    row = np.frombuffer(golden_bytes(name), DTYPES[name])[0]
    seen = set()
    for field, value in GOLDEN[name]["fields"].items():
        if not value.startswith("0x"):
            assert row[field].tobytes() == bytes.fromhex(value)
        elif f"{field}_lo" in row.dtype.names:
            assert int(row[f"{field}_lo"]) | int(row[f"{field}_hi"]) << 64 == number(value)
            seen |= {f"{field}_lo", f"{field}_hi"}
            continue
        else:
            assert int(row[field]) == number(value)
        seen.add(field)
    assert seen == set(row.dtype.names)


def test_compiled_code_writes_the_same_length_bytes():
    entry = np.frombuffer(golden_bytes("entry"), ENTRY)
    assert entry["length"][0] == 254
    assert entry.view(WORK)["length"][0] == 0xFE00
    assert golden_bytes("entry")[:2] == b"\x00\xfe"


def test_the_golden_command_block_is_made_and_read():
    wanted, fields = golden_bytes("command block"), GOLDEN["command block"]["fields"]
    commands = rows("transfer command", "account command", "control command", dtype=COMMAND)
    lane, first, shard = bytes.fromhex(fields["lane"]), number(fields["first"]), number(fields["shard"])
    assert b"".join(blocks.command_block(lane, first, commands.tobytes(), shard)) == wanted
    block = blocks.parse(wanted)
    assert isinstance(block, blocks.CommandBlock)
    assert block.commands.tobytes() == commands.tobytes()
    assert_header(block.header, fields)


def test_the_golden_journal_block_is_made_and_read():
    wanted, fields = golden_bytes("journal block"), GOLDEN["journal block"]["fields"]
    positions = {bytes.fromhex(lane): number(at) for lane, at in GOLDEN["journal block"]["positions"].items()}
    entries, details = rows("entry", "seal", dtype=ENTRY), rows("details", "seal details", dtype=DETAILS)
    unsorted = dict(sorted(positions.items(), reverse=True))
    digest, buffers = blocks.entry_block(
        entries,
        details,
        unsorted,
        number(fields["first"]),
        bytes.fromhex(fields["previous"]),
        number(fields["epoch"]),
        number(fields["shard"]),
    )
    assert b"".join(buffers) == wanted
    assert digest == bytes.fromhex(fields["hash"])
    block = blocks.parse(wanted)
    assert isinstance(block, blocks.EntryBlock)
    assert (block.entries.tobytes(), block.details.tobytes()) == (entries.tobytes(), details.tobytes())
    assert block.positions == positions
    assert_header(block.header, fields)


def assert_header(header, fields):
    for field in ("kind", "shard", "size", "epoch", "first", "count", "lanes"):
        assert getattr(header, field) == number(fields[field]), field
    for field in ("lane", "previous", "hash"):
        assert getattr(header, field) == bytes.fromhex(fields[field]), field
