"""Start-up, the one recovery path: a snapshot of the books, then the journal's tail, applied and never decided again.

What comes out is a `Decider` whose books are exactly those that the last durable block left. Without a snapshot the
tail is the whole journal.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tallystick.engine.deciding import Decider, Judge, are_imports
from tallystick.engine.fetch import Fetcher
from tallystick.engine.homes import homes_of, let_expire
from tallystick.engine.idindex import IdIndex
from tallystick.engine.idtail import enter_ids
from tallystick.engine.snapshots import Keeper
from tallystick.errors import Corrupt, Invalid
from tallystick.journal.port import JournalReader
from tallystick.ledger import kernel
from tallystick.ledger.books import Bookkeeper
from tallystick.ledger.compiled import U64, records
from tallystick.ledger.imports import ID_HI
from tallystick.records.blocks import EntryBlock
from tallystick.records.commands import Kind
from tallystick.records.entries import ACCOUNT_WORK, CARRIED, CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK

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
    keeper: Keeper | None = None,
) -> Decider:
    """Books as the journal left them. `keeper` has the snapshots to start from, and takes new ones from then on.

    Raises `Corrupt` where the journal contradicts itself, `Invalid` if the books are too small.
    """
    decider = Decider(bookkeeper, transfer_index, request_index, Fetcher(journal), shard, judge=judge)
    rows_from = keeper.restore(decider) if keeper is not None else 0
    end = journal.end()
    ids_from = min(transfer_index.covered, request_index.covered)
    begin = min(ids_from, rows_from)
    for block in journal.read(begin) if end > begin else ():
        if block.header.next <= rows_from:
            _enter_ids(decider, block, ids_from)
        else:
            apply_block(decider, block, ids_from)
        if progress is not None:
            progress(decider.next_seq - begin, end - begin)
    decider.next_seq = end
    decider.homes = homes_of(bookkeeper, shard)
    if decider.homes.known:
        let_expire(bookkeeper, decider.homes)
    if keeper is not None:
        keeper.follow(decider)
    return decider


def apply_block(decider: Decider, block: EntryBlock, ids_from: int) -> None:
    """Apply one block to the books of `decider`; ids at positions from `ids_from` on go into the window. Raises as
    `recover`.
    """
    entries = block.entries.view(np.uint8).copy()  # kernels are warmed for writable memory
    apply_rows(decider, entries, records(block.details.copy()), ids_from)
    decider.next_seq = block.header.next
    decider.positions = dict(block.positions)


def apply_rows(decider: Decider, entries: npt.NDArray[np.uint8], details: npt.NDArray[np.void], ids_from: int) -> None:
    """Apply entries (n × 256 bytes, writable) that continue the books, a block's at most. Raises as `recover`."""
    decider.make_room()
    misfit = kernel.apply(
        records(entries.view(WORK)),
        records(entries.view(TRANSFER_WORK)),
        records(entries.view(ACCOUNT_WORK)),
        records(entries.view(CONTROL_WORK)),
        details,
        decider.bookkeeper.books,
        U64(ids_from),
    )
    work = entries.view(WORK)
    if misfit != kernel.APPLIED_ALL:
        if decider.bookkeeper.count() >= decider.bookkeeper.accounts_max:
            raise Invalid(
                "accounts_max",
                f"the journal has more accounts than {decider.bookkeeper.accounts_max}: raise TALLY_ACCOUNTS_MAX",
            )
        raise Corrupt(
            f"entry {int(work['seq'][int(misfit)])} does not continue the books; "
            "the journal was written by another version, or this program is wrong"
        )
    decider.note_endings()
    _note_ids(decider, entries, ids_from)
    times = np.ascontiguousarray(work["timestamp"])
    decider.last_timestamp = max(decider.last_timestamp, int(times.max()))  # a seal has none: 0


def _enter_ids(decider: Decider, block: EntryBlock, ids_from: int) -> None:
    """A block whose rows a snapshot has, and whose ids perhaps no run."""
    if block.header.next <= ids_from:
        return
    decider.make_room()
    entries = block.entries.view(np.uint8).copy()
    work, transfers = records(entries.view(WORK)), records(entries.view(TRANSFER_WORK))
    enter_ids(work, transfers, decider.bookkeeper.books, U64(ids_from), U64(block.header.next))
    _note_ids(decider, entries, ids_from)
    decider.next_seq = block.header.next


def _note_ids(decider: Decider, entries: npt.NDArray[np.uint8], ids_from: int) -> None:
    """Let the id indexes know the range of what was entered."""
    work, transfers = entries.view(WORK), entries.view(TRANSFER_WORK)
    kinds = work["kind"].copy()
    transferred = kinds == Kind.TRANSFER
    entered = (kinds != Kind.SEAL) & (kinds != Kind.EXPIRY) & (work["seq"] >= ids_from)
    decider.transfer_index.note(
        np.ascontiguousarray(transfers["id_lo"]),
        np.ascontiguousarray(transfers["id_hi"]),
        entered & transferred,
    )
    decider.request_index.note(
        np.ascontiguousarray(work["request_id_lo"]),
        np.ascontiguousarray(work["request_id_hi"]),
        entered & (work["index"] == 0),
    )
    imports = are_imports(transfers)
    copies = (work["version"] == CARRIED) & (transferred | (kinds == Kind.ACCOUNT))
    by_time = entered & (imports | copies) & (work["status"] == STORED_MASK)
    if by_time.any():  # each is entered by its timestamp, too (`ledger.imports`)
        times = np.where(imports, transfers["event_timestamp"], transfers["timestamp"])
        decider.transfer_index.note(times, np.full(len(times), ID_HI, "<u8"), by_time)
