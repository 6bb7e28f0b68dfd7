"""What `kernel.decide` is given and what it fills: columns and records of one block, allocated before it runs."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.ledger.compiled import records
from tallystick.records.commands import ACCOUNT, COMMANDS_MAX, CONTROL, TRANSFER
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY_SIZE, TRANSFER_WORK, WORK
from tallystick.records.results import RESULT

_NOTHING_FETCHED = records(np.empty(0, TRANSFER_WORK))


class Batch(NamedTuple):
    """The commands of one block. The first four are views of the same `n × 256` bytes, each reading another event."""

    commands: npt.NDArray[np.void]
    transfers: npt.NDArray[np.void]
    accounts: npt.NDArray[np.void]
    controls: npt.NDArray[np.void]
    ids_lo: npt.NDArray[np.uint64]  # of transfers, zero for others; filled by `kernel.look_up`, as the next four
    ids_hi: npt.NDArray[np.uint64]
    is_transfer: npt.NDArray[np.bool_]
    hashes: npt.NDArray[np.uint64]  # of (tenant, id), transfers only
    rows: npt.NDArray[np.int64]  # (n, 2): debit and credit account as found before the block, NO_ROW if not there
    fetched_at: npt.NDArray[np.int64]  # place in `fetched` of the entry that has this transfer's id already, or -1
    fetched: npt.NDArray[np.void]  # TRANSFER_WORK rows
    quarantined: npt.NDArray[np.uint8]  # 1: refuse without deciding


class Outcome(NamedTuple):
    """What was decided: an entry, its details and the client's result for each command, and room for the seal."""

    entries: npt.NDArray[np.void]  # n + 1, WORK
    transfers: npt.NDArray[np.void]  # the same memory, TRANSFER_WORK
    details: npt.NDArray[np.void]  # n + 1
    results: npt.NDArray[np.void]  # n, RESULT
    rows: npt.NDArray[np.int64]  # (n, 2): the rows that were moved, NO_ROW where none


def batch(commands: npt.NDArray[np.void]) -> Batch:
    """A batch over writable, contiguous `COMMAND` rows; what is looked up is filled by `kernel.look_up`."""
    count = len(commands)
    words = np.empty((3, count), "<u8")
    return Batch(
        commands,
        _reread(commands, count, TRANSFER),
        _reread(commands, count, ACCOUNT),
        _reread(commands, count, CONTROL),
        words[0],
        words[1],
        np.empty(count, np.bool_),
        words[2],
        np.empty((count, 2), "<i8"),
        np.full(count, -1, "<i8"),
        _NOTHING_FETCHED,
        np.zeros(count, np.uint8),
    )


def _reread(memory: npt.NDArray[Any], count: int, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """The same memory as other rows. `view` would do, at five times the cost for a small batch."""
    return records(np.ndarray(count, dtype, memory))


def outcome(count: int) -> Outcome:
    """Room for the outcomes of `count` commands, at most 8,190, and a seal."""
    if count > COMMANDS_MAX:
        raise ValueError(f"a block holds at most {COMMANDS_MAX} commands, not {count}")
    memory = np.zeros((count + 1) * ENTRY_SIZE, np.uint8)
    return Outcome(
        _reread(memory, count + 1, WORK),
        _reread(memory, count + 1, TRANSFER_WORK),
        records(np.zeros(count + 1, DETAILS)),
        records(np.zeros(count, RESULT)),
        np.full((count, 2), -1, "<i8"),
    )
