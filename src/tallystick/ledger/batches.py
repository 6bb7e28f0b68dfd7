"""What `kernel.decide` is given and what it fills: columns and records of one block, allocated before it runs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.ledger.compiled import records
from tallystick.records.commands import ACCOUNT, COMMAND, COMMAND_SIZE, COMMANDS_MAX, CONTROL, TRANSFER
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY_SIZE, TRANSFER_WORK, WORK
from tallystick.records.results import RESULT


class Batch(NamedTuple):
    """The commands of one block. The first four are views of the same `n × 256` bytes, each reading another event."""

    commands: npt.NDArray[np.void]
    transfers: npt.NDArray[np.void]
    accounts: npt.NDArray[np.void]
    controls: npt.NDArray[np.void]
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


def batch(commands: npt.NDArray[np.uint8]) -> Batch:
    """A batch over `n × 256` writable, contiguous bytes; what is looked up is filled by `lookup.look_up`."""
    count = len(commands) // COMMAND_SIZE
    return Batch(
        records(commands.view(COMMAND)),
        records(commands.view(TRANSFER)),
        records(commands.view(ACCOUNT)),
        records(commands.view(CONTROL)),
        np.empty(count, "<u8"),
        np.empty((count, 2), "<i8"),
        np.full(count, -1, "<i8"),
        records(np.empty(0, TRANSFER_WORK)),
        np.zeros(count, np.uint8),
    )


def outcome(count: int) -> Outcome:
    """Room for the outcomes of `count` commands, at most 8,190, and a seal."""
    if count > COMMANDS_MAX:
        raise ValueError(f"a block holds at most {COMMANDS_MAX} commands, not {count}")
    memory = np.zeros((count + 1) * ENTRY_SIZE, np.uint8)
    return Outcome(
        records(memory.view(WORK)),
        records(memory.view(TRANSFER_WORK)),
        records(np.zeros(count + 1, DETAILS)),
        records(np.zeros(count, RESULT)),
        np.full((count, 2), -1, "<i8"),
    )
