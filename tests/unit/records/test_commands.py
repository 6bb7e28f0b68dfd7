import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.records import commands
from tallystick.records.commands import Kind

u64 = st.integers(0, 2**64 - 1)
u128 = st.integers(0, 2**128 - 1)


@given(st.binary(min_size=256, max_size=256), u64, u128, u64, u64)
def test_a_framed_request_says_what_it_was_given(events, tenant, request_id, submitted_at, expires_at):
    metadata = hashlib.sha256(events).digest() * 2
    rows = commands.frame(events, Kind.ACCOUNT, tenant, request_id, submitted_at, expires_at, metadata)
    assert rows["event"].tobytes() == events
    assert rows["metadata"].tobytes() == metadata
    assert rows["index"].tolist() == [0, 1]
    for row in rows:
        assert int(row["request_id_lo"]) | int(row["request_id_hi"]) << 64 == request_id
        assert (row["tenant"], row["submitted_at"], row["expires_at"]) == (tenant, submitted_at, expires_at)
        assert (row["count"], row["kind"], row["version"]) == (2, Kind.ACCOUNT, 1)
        assert row["fingerprint"].tobytes() == commands.fingerprint(Kind.ACCOUNT, 2, events, metadata)


def test_the_fingerprint_is_sha256_of_kind_count_events_and_metadata():
    events, metadata = bytes(range(128)), b"m" * 32
    written_out = struct.pack("<BH", 1, 1) + events + metadata
    assert commands.fingerprint(1, 1, events, metadata) == hashlib.sha256(written_out).digest()


def test_what_the_gateway_made_is_not_in_the_fingerprint():
    first = commands.frame(bytes(128), Kind.TRANSFER, 1, 2, submitted_at=3, expires_at=4)
    again = commands.frame(bytes(128), Kind.TRANSFER, 9, 8, submitted_at=7, expires_at=6)
    assert first["fingerprint"].tobytes() == again["fingerprint"].tobytes()


def test_whatever_the_client_changes_changes_the_fingerprint():
    event = bytes(128)
    asked = [(Kind.TRANSFER, 1, event, b""), (Kind.ACCOUNT, 1, event, b""), (Kind.TRANSFER, 2, event * 2, b"")]
    asked += [(Kind.TRANSFER, 1, event, bytes(32)), (Kind.TRANSFER, 1, event, b"\1" * 32)]
    asked += [(Kind.TRANSFER, 1, event[:at] + b"\1" + event[at + 1 :], b"") for at in range(128)]
    assert len({commands.fingerprint(*each) for each in asked}) == len(asked)


@pytest.mark.parametrize("count", [1, commands.COMMANDS_MAX])
def test_every_command_of_a_request_carries_its_count_and_its_own_index(count):
    rows = commands.frame(bytes(128 * count), Kind.TRANSFER, 1, 2, 3)
    assert (rows["count"] == count).all()
    assert (rows["index"] == np.arange(count)).all()


def test_flags_have_tigerbeetle_s_numbers():
    account = "linked debits_must_not_exceed_credits credits_must_not_exceed_debits history imported closed"
    transfer = (
        "linked pending post_pending_transfer void_pending_transfer balancing_debit balancing_credit "
        "closing_debit closing_credit imported"
    )
    assert [(flag.name.lower(), flag.value) for flag in commands.AccountFlag] == [
        (name, 1 << bit) for bit, name in enumerate(account.split())
    ]
    assert [(flag.name.lower(), flag.value) for flag in commands.TransferFlag] == [
        (name, 1 << bit) for bit, name in enumerate(transfer.split())
    ]
