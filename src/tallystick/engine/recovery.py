"""Start-up, the one recovery path: the journal read from entry 0 and applied, never decided again.

What comes out is a `Decider` whose books are exactly those that the last durable block left.
"""

from collections.abc import Callable

import numpy as np

from tallystick.engine.deciding import Decider, Judge
from tallystick.engine.fetch import Fetcher
from tallystick.engine.idindex import IdIndex
from tallystick.errors import Corrupt, Invalid
from tallystick.journal.port import JournalReader
from tallystick.ledger import kernel
from tallystick.ledger.books import Bookkeeper
from tallystick.ledger.compiled import U64, records
from tallystick.records.blocks import EntryBlock
from tallystick.records.commands import Kind
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, TRANSFER_WORK, WORK

Progress = Callable[[int, int], None]
"""Called with entries applied and entries in all."""


def recover(
    journal: JournalReader,
    bookkeeper: Bookkeeper,
    transfer_index: IdIndex,
    request_index: IdIndex,
    shard: int = 0,
    judge: Judge = kernel.decide,
    progress: Progress | None = None,
) -> Decider:
    """Apply the whole journal. Raises `Corrupt` where it contradicts itself, `Invalid` if the books are too small."""
    decider = Decider(bookkeeper, transfer_index, request_index, Fetcher(journal), shard, judge=judge)
    end = journal.end()
    ids_from = min(transfer_index.covered, request_index.covered)
    for block in journal.read(0) if end else ():
        _apply(decider, block, ids_from)
        if progress is not None:
            progress(decider.next_seq, end)
    return decider


def _apply(decider: Decider, block: EntryBlock, ids_from: int) -> None:
    decider.make_room()
    entries = block.entries.view(np.uint8).copy()  # kernels are warmed for writable memory
    details = records(block.details.copy())
    misfit = kernel.apply(
        records(entries.view(WORK)),
        records(entries.view(TRANSFER_WORK)),
        records(entries.view(ACCOUNT_WORK)),
        records(entries.view(CONTROL_WORK)),
        details,
        decider.bookkeeper.books,
        U64(ids_from),
    )
    if misfit != kernel.APPLIED_ALL:
        if decider.bookkeeper.count() >= decider.bookkeeper.accounts_max:
            raise Invalid(
                "accounts_max",
                f"the journal has more accounts than {decider.bookkeeper.accounts_max}: raise TALLY_ACCOUNTS_MAX",
            )
        raise Corrupt(
            f"entry {block.header.first + int(misfit)} does not continue the books; "
            "the journal was written by another version, or this program is wrong"
        )
    work, transfers = entries.view(WORK), entries.view(TRANSFER_WORK)
    kinds = work["kind"].copy()
    entered = (kinds != Kind.SEAL) & (work["seq"] >= ids_from)
    decider.transfer_index.note(
        np.ascontiguousarray(transfers["id_lo"]),
        np.ascontiguousarray(transfers["id_hi"]),
        entered & (kinds == Kind.TRANSFER),
    )
    decider.request_index.note(
        np.ascontiguousarray(work["request_id_lo"]),
        np.ascontiguousarray(work["request_id_hi"]),
        entered & (work["index"] == 0),
    )
    decider.last_timestamp = max(decider.last_timestamp, int(work["timestamp"].max()))  # a seal has none: 0
    decider.next_seq = block.header.next
    decider.positions = dict(block.positions)
