"""Ids of entries whose rows a snapshot has already: entered into the window, and nothing else of them applied.

Id runs reach less far than snapshots do, since a generation becomes a run only when it is full.
"""

from typing import Any

from tallystick.ledger import hashing
from tallystick.ledger.books import note_id, note_request
from tallystick.ledger.compiled import ZERO, compiled
from tallystick.ledger.imports import hash_import, is_found_by_time, is_import
from tallystick.ledger.transfers import CREATED_STORED, is_transient
from tallystick.records.commands import Kind

TRANSFER = int(Kind.TRANSFER)
ACCOUNT = int(Kind.ACCOUNT)
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
            note_id(ids, counters, hashing.hash_id(keys, t.tenant, t.id_lo, t.id_hi), t.seq)
        flag_bits = transfers[k].flag_bits
        if entry.status == CREATED_STORED and is_found_by_time(entry, flag_bits, TRANSFER, ACCOUNT):
            when = entry.timestamp
            if is_import(entry.kind, flag_bits, TRANSFER, ACCOUNT):
                when = transfers[k].event_timestamp
            note_id(ids, counters, hash_import(keys, entry.tenant, when), entry.seq)
        if entry.index == 0 and (entry.request_id_lo != ZERO or entry.request_id_hi != ZERO):
            note_request(request_ids, counters, keys, entry, entry.seq)
