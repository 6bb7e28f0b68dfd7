"""The books: every account's row and the tables that find it, in memory, as arrays that compiled code works on.

All of it is derived from the journal. Row arrays are reserved once as virtual memory and cost nothing until
touched; the table of accounts grows by moving a few thousand slots a block, so that no block waits for a rehash.
"""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.ledger import hashing, pendings, windows
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled, inlined, records
from tallystick.ledger.pendings import NO_ROW as NO_ROW
from tallystick.ledger.pendings import PENDING
from tallystick.records.commands import ACCOUNT_EVENT, COMMANDS_MAX, AccountFlag, u128

ROW = np.dtype(
    [
        *[(name if name != "timestamp" else "created_at", *rest) for name, *rest in ACCOUNT_EVENT.descr],
        ("tenant", "<u8"),
        *u128("credit_limit"),
        ("sequence", "<u8"),  # entries that moved this account's money or state
        ("previous", "<u8"),  # seq of the last of them
        ("created_seq", "<u8"),  # seq of the account's own entry
        ("touched", "<u8"),  # 1 + its row in `touched`, while a block is decided
        ("frozen", "<u4"),  # `records.commands.Side` bits
        ("reserved_row", "<u4"),
        ("spare", "<u8", (8,)),
    ]
)
"""An account: TigerBeetle's 128 bytes, then ours."""
assert ROW.itemsize == 256

TOUCHED = np.dtype(
    [
        ("row", "<u8"),
        *u128("debits_pending"),  # before the block; `invariants.check` adds what its entries say
        *u128("debits_posted"),
        *u128("credits_pending"),
        *u128("credits_posted"),
        *u128("credit_limit_max"),  # the highest limit in force in the block
        ("barred_throughout", "<u4"),  # `Side` bits that were frozen, and `BARRED_CLOSED`, all the time
        ("moved_sides", "<u4"),  # `Side` bits of new movements, not those resolved by a void or expiry
    ]
)
"""What `invariants.check` needs to know about a row that this block touched."""
assert TOUCHED.itemsize == 96

BARRED_CLOSED = 4
CLOSED = int(AccountFlag.CLOSED)
CLOSED_TO_BARRED = 3
"""Shift from `AccountFlag.CLOSED` to `BARRED_CLOSED`."""
assert CLOSED >> CLOSED_TO_BARRED == BARRED_CLOSED
EXPIRIES_MAX = COMMANDS_MAX
"""Expiries in a block; the rest wait for the next."""
TOUCHED_MAX = 2 * (COMMANDS_MAX + EXPIRIES_MAX)
MIGRATED_A_BLOCK = 2 * COMMANDS_MAX


class Counter(IntEnum):
    """Places in `Books.counters`."""

    ACCOUNTS = 0
    TOUCHED = 1
    TRANSFER_IDS = 2
    REQUEST_IDS = 3
    PENDINGS = 4  # rows of `pendings` ever used; those not open are in the free list
    PENDINGS_FREE = 5
    HEAP = 6
    RESOLVED = 7
    TENANTS = 8


TENANT = np.dtype(
    [
        ("tenant", "<u8"),
        ("last_account", "<u8"),  # ns, the highest effective timestamp of each kind: imports must pass it
        ("last_transfer", "<u8"),
        ("home", "<u8"),  # where a placement said the tenant lives (`records.placements`); 0: none did
    ]
)
PENDINGS_MAX = 65_536


class Books(NamedTuple):
    """The arrays, as compiled code takes them. Mutated in place; `Bookkeeper` replaces those that grow or rotate."""

    rows: npt.NDArray[np.void]
    slots: npt.NDArray[np.uint64]
    old_slots: npt.NDArray[np.uint64]
    touched: npt.NDArray[np.void]
    transfer_ids: npt.NDArray[np.uint64]
    request_ids: npt.NDArray[np.uint64]
    counters: npt.NDArray[np.uint64]
    account_keys: npt.NDArray[np.uint64]
    id_keys: npt.NDArray[np.uint64]
    pendings: npt.NDArray[np.void]
    pending_slots: npt.NDArray[np.uint64]
    pending_free: npt.NDArray[np.uint32]  # a stack of rows, `Counter.PENDINGS_FREE` high
    heap: npt.NDArray[np.uint64]  # (n, 3): expires at, created at, row of `pendings` (`expiry`)
    heap_at: npt.NDArray[np.uint32]  # by row of `pendings`: 1 + its place in the heap; 0: it never expires
    resolved: npt.NDArray[np.int64]  # rows of `pendings` that this block resolved
    tenants: npt.NDArray[np.void]
    tenant_slots: npt.NDArray[np.uint64]
    saved_rows: npt.NDArray[np.void]  # of a chain: rows before each of its members (`chains`)
    saved_pendings: npt.NDArray[np.void]
    changed: npt.NDArray[np.int64]  # what `apply` changed, as `Outcome.rows`


_ROW_BITS = U64(0xFFFFFFFF)
_TAG_SHIFT = U64(32)


@inlined
def find_account(slots: Any, old_slots: Any, rows: Any, keys: Any, tenant: Any, lo: Any, hi: Any) -> Any:
    """The row of an account, or NO_ROW. A slot holds 32 bits of hash above the row's number + 1."""
    hashed = hashing.hash_id(keys, tenant, lo, hi)
    found = _find_in(slots, rows, hashed, tenant, lo, hi)
    if found == NO_ROW and old_slots.shape[0] > 1:
        found = _find_in(old_slots, rows, hashed, tenant, lo, hi)
    return found


@inlined
def _find_in(slots: Any, rows: Any, hashed: Any, tenant: Any, lo: Any, hi: Any) -> Any:
    mask = U64(slots.shape[0]) - ONE
    tag = hashed & _ROW_BITS
    at = hashed & mask
    while slots[at] != ZERO:
        if slots[at] >> _TAG_SHIFT == tag:
            row = np.int64(slots[at] & _ROW_BITS) - 1
            if rows[row].id_lo == lo and rows[row].id_hi == hi and rows[row].tenant == tenant:
                return row
        at = (at + ONE) & mask
    return NO_ROW


@compiled
def find_in_books(books: Books, tenant: Any, lo: Any, hi: Any) -> Any:
    """`find_account`, for callers that are not compiled."""
    return find_account(books.slots, books.old_slots, books.rows, books.account_keys, tenant, lo, hi)


@compiled
def find_all_in_books(books: Books, tenant: Any, lo: Any, hi: Any, found: Any) -> Any:
    """Into `found` the row of each of many accounts, or NO_ROW. To hand the books over costs as much as many finds."""
    for at in range(found.shape[0]):
        found[at] = find_account(books.slots, books.old_slots, books.rows, books.account_keys, tenant, lo[at], hi[at])


@inlined
def _put_slot(slots: Any, tag: Any, value: Any) -> Any:
    mask = U64(slots.shape[0]) - ONE
    at = tag & mask
    while slots[at] != ZERO:
        at = (at + ONE) & mask
    slots[at] = value


@inlined
def add_account(rows: Any, slots: Any, counters: Any, keys: Any, tenant: Any, lo: Any, hi: Any) -> Any:
    """A fresh zero row for an account that is not there yet, or NO_ROW if the books are full."""
    count = counters[Counter.ACCOUNTS]
    if count >= U64(rows.shape[0]):
        return NO_ROW
    row = np.int64(count)
    rows[row].id_lo = lo
    rows[row].id_hi = hi
    rows[row].tenant = tenant
    counters[Counter.ACCOUNTS] = count + ONE
    tag = hashing.hash_id(keys, tenant, lo, hi) & _ROW_BITS
    _put_slot(slots, tag, (tag << _TAG_SHIFT) | (count + ONE))
    return row


@inlined
def remove_account(rows: Any, slots: Any, counters: Any, keys: Any, row: Any) -> Any:
    """Undo the newest `add_account` that is not undone yet; the row is as it was just after it."""
    account = rows[row]
    tag = hashing.hash_id(keys, account.tenant, account.id_lo, account.id_hi) & _ROW_BITS
    _clear_slot(slots, tag, (tag << _TAG_SHIFT) | counters[Counter.ACCOUNTS])
    account.id_lo = ZERO
    account.id_hi = ZERO
    account.tenant = ZERO
    counters[Counter.ACCOUNTS] = counters[Counter.ACCOUNTS] - ONE


@inlined
def _clear_slot(slots: Any, tag: Any, value: Any) -> Any:
    mask = U64(slots.shape[0]) - ONE
    at = tag & mask
    while slots[at] != value:
        at = (at + ONE) & mask
    slots[at] = ZERO


@inlined
def find_tenant(tenant_slots: Any, tenants: Any, keys: Any, tenant: Any) -> Any:
    """The row of a tenant that has accounts or was placed, or NO_ROW."""
    mask = U64(tenant_slots.shape[0]) - ONE
    tag = hashing.hash_id(keys, tenant, ZERO, ZERO) & _ROW_BITS
    at = tag & mask
    while tenant_slots[at] != ZERO:
        if tenant_slots[at] >> _TAG_SHIFT == tag:
            row = np.int64(tenant_slots[at] & _ROW_BITS) - 1
            if tenants[row].tenant == tenant:
                return row
        at = (at + ONE) & mask
    return NO_ROW


@inlined
def add_tenant(tenant_slots: Any, tenants: Any, counters: Any, keys: Any, tenant: Any) -> Any:
    """A row for a tenant whose first account was just opened, or that was placed."""
    count = counters[Counter.TENANTS]
    row = np.int64(count)
    tenants[row].tenant = tenant
    tenants[row].last_account = ZERO
    tenants[row].last_transfer = ZERO
    tenants[row].home = ZERO
    counters[Counter.TENANTS] = count + ONE
    tag = hashing.hash_id(keys, tenant, ZERO, ZERO) & _ROW_BITS
    _put_slot(tenant_slots, tag, (tag << _TAG_SHIFT) | (count + ONE))
    return row


@inlined
def remove_tenant(tenant_slots: Any, tenants: Any, counters: Any, keys: Any) -> Any:
    """Undo the newest `add_tenant`."""
    count = counters[Counter.TENANTS]
    tag = hashing.hash_id(keys, tenants[np.int64(count) - 1].tenant, ZERO, ZERO) & _ROW_BITS
    _clear_slot(tenant_slots, tag, (tag << _TAG_SHIFT) | count)
    counters[Counter.TENANTS] = count - ONE


@compiled
def migrate(old_slots: Any, slots: Any, start: Any, count: Any) -> Any:
    """Copy `count` slots from `start` on into the larger table; the tag alone says where each belongs."""
    for at in range(start, min(start + count, old_slots.shape[0])):
        if old_slots[at] != ZERO:
            _put_slot(slots, old_slots[at] >> _TAG_SHIFT, old_slots[at])


@inlined
def touch(touched: Any, counters: Any, account: Any, row: Any) -> Any:
    """Remember `account`, which stands at `row`, as it was before this block; returns its place in `touched`."""
    if account.touched != ZERO:
        return np.int64(account.touched - ONE)
    place = np.int64(counters[Counter.TOUCHED])
    before = touched[place]
    before.row = U64(row)
    before.debits_pending_lo = account.debits_pending_lo
    before.debits_pending_hi = account.debits_pending_hi
    before.debits_posted_lo = account.debits_posted_lo
    before.debits_posted_hi = account.debits_posted_hi
    before.credits_pending_lo = account.credits_pending_lo
    before.credits_pending_hi = account.credits_pending_hi
    before.credits_posted_lo = account.credits_posted_lo
    before.credits_posted_hi = account.credits_posted_hi
    before.credit_limit_max_lo = account.credit_limit_lo
    before.credit_limit_max_hi = account.credit_limit_hi
    before.barred_throughout = np.uint32(account.frozen | (account.flag_bits & CLOSED) >> CLOSED_TO_BARRED)
    before.moved_sides = np.uint32(0)
    counters[Counter.TOUCHED] = U64(place) + ONE
    account.touched = U64(place) + ONE
    return place


@inlined
def forget_touched(rows: Any, touched: Any, counters: Any) -> Any:
    """Take this block's marks away from the rows."""
    for place in range(counters[Counter.TOUCHED]):
        rows[touched[place].row].touched = ZERO
    counters[Counter.TOUCHED] = ZERO


@inlined
def number(row: Any, seq: Any) -> Any:
    """The account's next dense sequence number and the seq of the entry before; this entry is `seq`."""
    previous = row.previous
    row.sequence = row.sequence + ONE
    row.previous = seq
    return row.sequence, previous


@inlined
def note_id(ids: Any, counters: Any, hashed: Any, seq: Any) -> Any:
    """Enter a transfer's id, used by the entry at `seq`, into the window."""
    windows.put(ids, hashed, seq)
    counters[Counter.TRANSFER_IDS] = counters[Counter.TRANSFER_IDS] + ONE


@inlined
def note_request(request_ids: Any, counters: Any, keys: Any, record: Any, seq: Any) -> Any:
    """Enter a request's id, at the position of its first entry, into the window."""
    hashed = hashing.hash_id(keys, record.tenant, record.request_id_lo, record.request_id_hi)
    windows.put(request_ids, hashed, seq)
    counters[Counter.REQUEST_IDS] = counters[Counter.REQUEST_IDS] + ONE


@dataclass
class Bookkeeper:
    """Owns the arrays of the books and grows them between blocks.

    `transfer_ids` and `request_ids` are the tables that new ids go to (`engine.idindex.IdIndex.current`).
    """

    accounts_max: int
    account_keys: npt.NDArray[np.uint64]
    id_keys: npt.NDArray[np.uint64]
    transfer_ids: InitVar[npt.NDArray[np.uint64]]
    request_ids: InitVar[npt.NDArray[np.uint64]]
    pendings_max: int = PENDINGS_MAX
    books: Books = field(init=False)
    _migrated: int = field(init=False, default=0)

    def __post_init__(self, transfer_ids: npt.NDArray[np.uint64], request_ids: npt.NDArray[np.uint64]) -> None:
        self.books = Books(
            rows=records(np.zeros(self.accounts_max, ROW)),
            slots=np.zeros(65_536, "<u8"),
            old_slots=np.zeros(1, "<u8"),
            touched=records(np.zeros(TOUCHED_MAX, TOUCHED)),
            transfer_ids=transfer_ids,
            request_ids=request_ids,
            counters=np.zeros(len(Counter), "<u8"),
            account_keys=self.account_keys,
            id_keys=self.id_keys,
            pendings=records(np.zeros(self.pendings_max, PENDING)),
            pending_slots=np.zeros(pendings.slots_for(self.pendings_max), "<u8"),
            pending_free=np.zeros(self.pendings_max, "<u4"),
            heap=np.zeros((self.pendings_max, 3), "<u8"),
            heap_at=np.zeros(self.pendings_max, "<u4"),
            resolved=np.zeros(COMMANDS_MAX + EXPIRIES_MAX, "<i8"),
            tenants=records(np.zeros(self.accounts_max, TENANT)),
            tenant_slots=np.zeros(65_536, "<u8"),
            saved_rows=records(np.zeros(2 * COMMANDS_MAX, ROW)),
            saved_pendings=records(np.zeros(COMMANDS_MAX, PENDING)),
            changed=np.full((COMMANDS_MAX + EXPIRIES_MAX + 1, 3), NO_ROW, "<i8"),
        )

    def make_room(self) -> None:
        """Grow the table of accounts, a few thousand slots a call. Call it before each block."""
        books = self.books
        if len(books.old_slots) > 1:
            migrate(books.old_slots, books.slots, self._migrated, MIGRATED_A_BLOCK)
            self._migrated += MIGRATED_A_BLOCK
            if self._migrated >= len(books.old_slots):
                self.books = books._replace(old_slots=np.zeros(1, "<u8"))
        elif 2 * (int(books.counters[Counter.ACCOUNTS]) + COMMANDS_MAX) > len(books.slots):
            self._migrated = 0
            self.books = books._replace(old_slots=books.slots, slots=np.zeros(2 * len(books.slots), "<u8"))
        books = self.books
        if 2 * (int(books.counters[Counter.TENANTS]) + COMMANDS_MAX) > len(books.tenant_slots):
            larger = np.zeros(2 * len(books.tenant_slots), "<u8")
            migrate(books.tenant_slots, larger, 0, len(books.tenant_slots))
            self.books = books._replace(tenant_slots=larger)

    def account(self, tenant: int, account_id: int) -> npt.NDArray[np.void] | None:
        """A copy of one account's row, as a one-element array, or None."""
        mask = 0xFFFFFFFFFFFFFFFF
        row = int(find_in_books(self.books, U64(tenant), U64(account_id & mask), U64(account_id >> 64)))
        return None if row == NO_ROW else self.books.rows[row : row + 1].copy()

    def accounts(self, tenant: int, account_ids: Sequence[int]) -> npt.NDArray[np.void]:
        """A copy of the rows of those accounts that there are, in the order asked."""
        mask = 0xFFFFFFFFFFFFFFFF
        lo = np.array([number & mask for number in account_ids], "<u8")
        hi = np.array([number >> 64 for number in account_ids], "<u8")
        rows = np.empty(len(account_ids), np.int64)
        find_all_in_books(self.books, U64(tenant), lo, hi, rows)
        found: npt.NDArray[np.void] = self.books.rows[rows[rows != NO_ROW]]
        return found

    def set_balances(
        self,
        tenant: int,
        account_id: int,
        debits_pending: int,
        debits_posted: int,
        credits_pending: int,
        credits_posted: int,
    ) -> bool:
        """Put balances (minor units) into a row by hand, for tests; False if there is no such account."""
        mask = 0xFFFFFFFFFFFFFFFF
        row = int(find_in_books(self.books, U64(tenant), U64(account_id & mask), U64(account_id >> 64)))
        if row == NO_ROW:
            return False
        values = {
            "debits_pending": debits_pending,
            "debits_posted": debits_posted,
            "credits_pending": credits_pending,
            "credits_posted": credits_posted,
        }
        for name, value in values.items():
            self.books.rows[f"{name}_lo"][row], self.books.rows[f"{name}_hi"][row] = value & mask, value >> 64
        return True

    def count(self) -> int:
        """Accounts there are."""
        return int(self.books.counters[Counter.ACCOUNTS])
