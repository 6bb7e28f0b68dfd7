"""Ids of entries whose rows a snapshot has already: entered into the window, and nothing else of them applied.

Id runs reach less far than snapshots do, since a generation becomes a run only when it is full.
"""

from typing import Any

from tallystick.ledger import hashing, windows
from tallystick.ledger.books import Counter
from tallystick.ledger.compiled import ONE, ZERO, compiled
from tallystick.ledger.transfers import CREATED_STORED, is_transient
from tallystick.records.commands import Kind

TRANSFER = int(Kind.TRANSFER)
SEAL = int(Kind.SEAL)


@compiled
def enter_ids(entries: Any, transfers: Any, books: Any, ids_from: Any, rows_from: Any) -> Any:
    """Put the ids that entries at `ids_from` and beyond, but below `rows_from`, have spent into the window's tables.

    As `kernel.apply` does for entries that it applies. `entries` and `transfers` are views of the same bytes.
    """
    ids, request_ids, counters, keys = books.transfer_ids, books.request_ids, books.counters, books.id_keys
    for k in range(entries.shape[0]):
        entry = entries[k]
        if entry.seq < ids_from or entry.seq >= rows_from or entry.kind == SEAL:
            continue
        if entry.kind == TRANSFER and (entry.status == CREATED_STORED or is_transient(entry.status)):
            t = transfers[k]
            windows.put(ids, hashing.hash_id(keys, t.tenant, t.id_lo, t.id_hi), t.seq)
            counters[Counter.TRANSFER_IDS] = counters[Counter.TRANSFER_IDS] + ONE
        if entry.index == 0 and (entry.request_id_lo != ZERO or entry.request_id_hi != ZERO):
            hashed = hashing.hash_id(keys, entry.tenant, entry.request_id_lo, entry.request_id_hi)
            windows.put(request_ids, hashed, entry.seq)
            counters[Counter.REQUEST_IDS] = counters[Counter.REQUEST_IDS] + ONE
