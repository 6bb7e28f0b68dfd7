"""Blocks for the suites: small, legal, and different from each other."""

from collections.abc import Mapping

import numpy as np

from tallystick.journal.port import Journal, Tail
from tallystick.records import commands, details, entries
from tallystick.records.blocks import Bytes, entry_block
from tallystick.records.commands import TRANSFER_EVENT, Kind, frame


def command_bytes(count: int, request_id: int = 1) -> bytes:
    """`count` commands of one request, their transfers numbered."""
    events = np.zeros(count, TRANSFER_EVENT)
    events["id_lo"] = np.arange(1, count + 1)
    events["user_data_64"] = request_id
    return frame(events.tobytes(), Kind.TRANSFER, tenant=1, request_id=request_id, submitted_at=1).tobytes()


def next_block(
    tail: Tail, epoch: int, count: int = 1, positions: Mapping[bytes, int] | None = None, mark: int = 0, shard: int = 0
) -> tuple[bytes, list[Bytes]]:
    """Hash and buffers of a block of `count` entries that follows `tail`; `mark` stands in each of them."""
    seqs = np.arange(tail.next_seq, tail.next_seq + count, dtype=np.uint64)
    rows = np.zeros(count, entries.ENTRY)
    rows["length"] = entries.LEAF_SIZE
    rows["version"] = entries.VERSION
    rows["kind"] = commands.Kind.TRANSFER
    rows["seq"] = seqs
    rows["timestamp"] = seqs + 1
    rows["tenant"] = mark
    beside = np.zeros(count, details.DETAILS)
    beside["version"] = details.VERSION
    beside["debit_sequence"] = seqs + 7
    beside["device_pseudonym"] = mark
    return entry_block(rows, beside, positions or {}, tail.next_seq, tail.hash, epoch, shard)


def append(
    journal: Journal, count: int = 1, positions: Mapping[bytes, int] | None = None, mark: int = 0
) -> tuple[int, bytes]:
    """Append a block of `count` entries; returns its first seq and its hash."""
    tail = journal.tail()
    digest, buffers = next_block(tail, journal.epoch, count, positions, mark)
    journal.append(buffers, tail.next_seq, journal.epoch)
    return tail.next_seq, digest
