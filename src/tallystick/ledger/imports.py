"""Imported events carry their own past timestamps: what they must not collide with.

Within a tenant they pass the last of their kind (`books.TENANT`) and meet none of the other kind. Each import enters
its timestamp into the id window and the id runs as if it were one more id, so that "is there a transfer of that very
nanosecond" is asked like "is this id new". So does each copy that came with its tenant from another shard, since it
does not stand where its time says. What else was not imported is found by its place in the journal.
"""

from typing import Any

import numpy as np

from tallystick.ledger import hashing, windows
from tallystick.ledger.compiled import U64, ZERO, inlined, outlined
from tallystick.ledger.transfers import CREATED_STORED, IMPORTED
from tallystick.records.commands import AccountFlag
from tallystick.records.entries import CARRIED

ID_HI = U64(0xFFFFFFFFFFFFFFFE)
"""Upper half of the id that an import's timestamp is entered under. A client's id that is the same does no harm:
whoever finds the position compares kind and timestamp."""
ACCOUNT_IMPORTED = int(AccountFlag.IMPORTED)
assert ACCOUNT_IMPORTED != IMPORTED


@inlined
def hash_import(keys: Any, tenant: Any, timestamp: Any) -> Any:
    """The hash that an import of this timestamp is entered under."""
    return hashing.hash_id(keys, tenant, timestamp, ID_HI)


@outlined
def clashes_in_block(
    ids: Any, hashed: Any, entries: Any, tenant: Any, when: Any, other: Any, imported: Any, seq: Any, first_seq: Any
) -> Any:
    """Whether an entry of kind `other` before `seq` in this block, of this tenant, has the timestamp `when`.

    `entries` are read as transfers, whose own timestamp and flags stand where accounts have theirs; `imported` is the
    flag of the other kind.
    """
    now = entries[0].timestamp
    if when >= now and when - now < seq - first_seq:
        there = entries[np.int64(when - now)]
        if _is_created(there, other, tenant) and there.flag_bits & imported == 0:
            return True
    position, cursor = windows.find(ids, hashed, windows.start(ids, hashed))
    while position != windows.NOT_FOUND:
        if position >= first_seq and position < seq:
            there = entries[np.int64(position - first_seq)]
            imports_it = there.flag_bits & imported != 0 and there.event_timestamp == when
            if imports_it and _is_created(there, other, tenant):
                return True
        position, cursor = windows.find(ids, hashed, cursor)
    return False


@inlined
def _is_created(there: Any, kind: Any, tenant: Any) -> Any:
    return there.kind == kind and there.tenant == tenant and there.status == CREATED_STORED


@inlined
def is_import(kind: Any, flag_bits: Any, transfer: Any, account: Any) -> Any:
    """Whether an event of this kind with these flags is imported."""
    return (kind == transfer and flag_bits & IMPORTED != 0) or (kind == account and flag_bits & ACCOUNT_IMPORTED != 0)


@inlined
def is_found_by_time(entry: Any, flag_bits: Any, transfer: Any, account: Any) -> Any:
    """Whether this entry, if created, is entered under its timestamp: an import, or a copy of what has one."""
    copied = entry.version == CARRIED and (entry.kind == transfer or entry.kind == account)
    return copied or is_import(entry.kind, flag_bits, transfer, account)


NO_IMPORT = ZERO
"""In a batch's `import_hashes`: this command imports nothing."""
