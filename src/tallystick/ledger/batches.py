"""What `kernel.decide` is given and what it fills: columns and records of one block, allocated before it runs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.ledger.compiled import ROWS, records
from tallystick.records.commands import ACCOUNT, COMMANDS_MAX, CONTROL, TRANSFER
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.entries import ENTRY_SIZE, TRANSFER_WORK, WORK
from tallystick.records.results import RESULT

# A dtype that is there costs less than its name, and the smallest block makes a dozen arrays.
_U8, _U32, _U64, _I64, _BOOL = (np.dtype(name) for name in ("u1", "<u4", "<u8", "<i8", "?"))
_NOTHING_FETCHED = records(np.empty(0, TRANSFER_WORK))
REVIEW_TIMEOUT_S = 86_400


class Batch(NamedTuple):
    """The commands of one block. The first four are views of the same `n × 256` bytes, each reading another event."""

    commands: npt.NDArray[np.void]
    transfers: npt.NDArray[np.void]
    accounts: npt.NDArray[np.void]
    controls: npt.NDArray[np.void]
    ids_lo: npt.NDArray[np.uint64]  # of transfers, zero for others; filled by `kernel.look_up`, as the next three
    ids_hi: npt.NDArray[np.uint64]
    is_transfer: npt.NDArray[np.bool_]
    hashes: npt.NDArray[np.uint64]  # of (tenant, id), transfers only
    rows: npt.NDArray[np.int64]  # (n, 3): debit and credit account, pending transfer as found before the block; NO_ROW
    pending_ids_lo: npt.NDArray[np.uint64]  # of what a post, void, approval or rejection is about; by `look_up` too
    pending_ids_hi: npt.NDArray[np.uint64]
    pending_hashes: npt.NDArray[np.uint64]  # zero where the command is about no pending transfer
    import_hashes: npt.NDArray[np.uint64]  # `imports.hash_import`; zero where nothing is imported
    fetched_at: npt.NDArray[np.int64]  # place in `fetched` of the entry that has this transfer's id already, or -1
    pending_at: npt.NDArray[np.int64]  # place in `fetched` of the pending transfer's entry, if it is no longer open
    pending_endings: npt.NDArray[np.uint8]  # how that one ended
    clashes: npt.NDArray[np.uint8]  # 1: before this block an event of the other kind had this import's timestamp
    fetched: npt.NDArray[np.void]  # TRANSFER_WORK rows
    quarantined: npt.NDArray[np.uint8]  # 1: refuse without deciding
    verdicts: npt.NDArray[np.uint8]  # `records.details.Verdict`, filled by screening
    review_timeout: npt.NDArray[np.uint32]  # one: seconds that people have for a payment in review


class Outcome(NamedTuple):
    """What was decided: an entry, its details and the client's result for each command, and room for the seal.

    Expiries come first: the entry of command k stands at `expiries + k`.
    """

    entries: npt.NDArray[np.void]  # expiries + n + 1, WORK
    transfers: npt.NDArray[np.void]  # the same memory, TRANSFER_WORK
    details: npt.NDArray[np.void]  # expiries + n + 1
    results: npt.NDArray[np.void]  # n, RESULT
    rows: npt.NDArray[np.int64]  # (expiries + n, 3): changed rows of debit and credit account and pending transfer


def batch(commands: npt.NDArray[np.void], review_timeout_s: int = REVIEW_TIMEOUT_S) -> Batch:
    """A batch over writable, contiguous `COMMAND` rows; what is looked up is filled by `kernel.look_up`."""
    count = len(commands)
    words = np.empty((7, count), _U64)
    places = np.empty((2, count), _I64)
    places.fill(-1)
    marks = np.zeros((4, count), _U8)
    ids_lo, ids_hi, hashes, pending_ids_lo, pending_ids_hi, pending_hashes, import_hashes = words
    fetched_at, pending_at = places
    pending_endings, clashes, quarantined, verdicts = marks
    return Batch(
        commands,
        ROWS(count, TRANSFER, commands),  # `view` would do, at five times the cost for a small batch
        ROWS(count, ACCOUNT, commands),
        ROWS(count, CONTROL, commands),
        ids_lo,
        ids_hi,
        np.empty(count, _BOOL),
        hashes,
        np.empty((count, 3), _I64),
        pending_ids_lo,
        pending_ids_hi,
        pending_hashes,
        import_hashes,
        fetched_at,
        pending_at,
        pending_endings,
        clashes,
        _NOTHING_FETCHED,
        quarantined,
        verdicts,
        np.array([review_timeout_s], _U32),
    )


def outcome(count: int, expiries: int = 0) -> Outcome:
    """Room for the outcomes of `count` commands, at most 8,190, after `expiries`, and a seal."""
    if count > COMMANDS_MAX or expiries > COMMANDS_MAX:
        raise ValueError(f"a block holds at most {COMMANDS_MAX} commands, not {count}, and as many expiries")
    entries = expiries + count
    memory = np.zeros((entries + 1) * ENTRY_SIZE, _U8)
    rows = np.empty((entries, 3), _I64)
    rows.fill(-1)
    return Outcome(
        ROWS(entries + 1, WORK, memory),
        ROWS(entries + 1, TRANSFER_WORK, memory),
        ROWS(entries + 1, DETAILS, np.zeros((entries + 1) * DETAILS_SIZE, _U8)),
        ROWS(count, RESULT, np.zeros(count * RESULT.itemsize, _U8)),
        rows,
    )
