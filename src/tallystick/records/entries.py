"""The entry: what was decided about one command, 254 bytes behind a big-endian length, so 256 in all (docs/records.md).

The framing is that of a C2SP entry bundle (c2sp.org/tlog-tiles), so *entry n is leaf n*: what the engine commits
is byte for byte what a regulator verifies. The leaf is public; what must stay private is in `details`.

`WORK` is the same memory for compiled code, which knows no big-endian field: there the length is a little-endian
number whose bytes come out as 00 FE.
"""

from typing import Any

import numpy as np

from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, u128

ENTRY_SIZE = 256
LEAF_SIZE = 254
LENGTH_BYTESWAPPED = 0xFE00
"""254 as compiled code writes it: little-endian FE00 is big-endian 00FE."""
VERSION = 1
CARRIED = 2
"""The version of an entry that was decided in another shard and came along with its tenant (`records.carrying`): it
tells when it was decided there, so its timestamp is not above those before it here."""


def _layout(length: str, event: list[Any] | None) -> np.dtype[np.void]:
    fields: list[Any] = [
        ("length", length),
        ("kind", "u1"),
        ("version", "u1"),
        ("shard", "<u2"),
        ("status", "<u2"),  # low 16 bits of the status (`statuses.stored`)
        ("flag_bits_effective", "<u2"),  # what the ledger acted on; the event keeps what was asked
        ("index", "<u2"),  # of the command in its request
        ("timeout_effective", "<u4"),  # seconds
        ("seq", "<u8"),  # position in the journal, from 0, dense
        ("timestamp", "<u8"),  # ns; 0 for a seal
        ("event", "<u8", (16,)),  # the 128 bytes as asked
        *u128("moved"),  # minor units that moved
        ("tenant", "<u8"),
        *u128("request_id"),
        ("submitted_at", "<u8"),
        ("metadata", "<u8", (4,)),
        ("nonce", "<u8", (2,)),
    ]
    if event is None:
        return np.dtype(fields)
    at = [field[0] for field in fields].index("event")
    return np.dtype(fields[:at] + event + fields[at + 1 :])


def _event_fields(event: np.dtype[np.void]) -> list[Any]:
    """The event's fields under names that do not clash with the entry's own."""
    renamed = {"timestamp": "event_timestamp"}
    return [(renamed.get(field[0], field[0]), *field[1:]) for field in event.descr]


SEAL_EVENT = np.dtype(
    [
        ("count", "<u8"),  # entries before the seal in its block
        ("details_hash", "<u8", (4,)),  # SHA-256 of all the block's details, the seal's row with its salt included
        ("positions_hash", "<u8", (4,)),  # SHA-256 of the block's lane positions (`blocks.pack_positions`)
        ("reserved", "<u8", (7,)),
    ]
)
"""What a seal, the last entry of each block, says of its block."""

ENTRY = _layout(">u2", None)
WORK = _layout("<u2", None)
TRANSFER_WORK = _layout("<u2", _event_fields(TRANSFER_EVENT))
ACCOUNT_WORK = _layout("<u2", _event_fields(ACCOUNT_EVENT))
CONTROL_WORK = _layout("<u2", _event_fields(CONTROL_EVENT))

assert {d.itemsize for d in (ENTRY, WORK, TRANSFER_WORK, ACCOUNT_WORK, CONTROL_WORK)} == {ENTRY_SIZE}
