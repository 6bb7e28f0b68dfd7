"""The tables of the books as snapshots take them: rows by number, which of them changed, and what is made of rows.

Only rows are kept in a snapshot. The tables of slots that find them are made again at start (`index`), under the
process's own secret key.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.engine import pages
from tallystick.errors import Invalid
from tallystick.ledger import hashing
from tallystick.ledger.books import NO_ROW, ROW, TENANT, Bookkeeper, Counter, migrate
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled
from tallystick.ledger.expiry import push
from tallystick.ledger.pendings import PENDING, enter
from tallystick.records.commands import COMMANDS_MAX
from tallystick.records.endings import Ending

ACCOUNTS, PENDINGS, TENANTS = "accounts", "pendings", "tenants"
_DESCRIBED = repr((ROW.descr, PENDING.descr, TENANT.descr)).replace("'home'", "'spare'")
"""What is now a tenant's home was zero in every snapshot before there were shards, and means the same: nobody said."""
LAYOUT = hashlib.sha256(_DESCRIBED.encode()).hexdigest()[:32]
"""Changes with any field of a row, so that one version's snapshot is not taken for another's."""
_TAG = U64(0xFFFFFFFF)
_TAG_SHIFT = U64(32)
_OPEN = int(Ending.OPEN)
_COUNTERS = {ACCOUNTS: Counter.ACCOUNTS, PENDINGS: Counter.PENDINGS, TENANTS: Counter.TENANTS}
_SETTINGS = {ACCOUNTS: "accounts_max", PENDINGS: "pendings_max", TENANTS: "accounts_max"}

Words = npt.NDArray[np.uint64]


class Changed(NamedTuple):
    """Rows of one table, copied."""

    name: str
    total: int  # rows in the books
    numbers: Words  # of the rows that changed, ascending
    rows: Words  # (n, words of a row)


class Marks:
    """Which rows changed since the last `take`. For the loop's thread alone."""

    def __init__(self, bookkeeper: Bookkeeper) -> None:
        self._bookkeeper = bookkeeper
        self._accounts = np.zeros(bookkeeper.accounts_max, np.uint8)
        self._pendings = np.zeros(len(bookkeeper.books.pendings), np.uint8)
        self.count = 0
        """Accounts that are marked."""

    def mark(self, rows: npt.NDArray[np.int64]) -> None:
        """What a block changed: (n, 3) rows of two accounts and a pending transfer, `NO_ROW` where none."""
        self.count += int(mark_rows(self._accounts, self._pendings, rows))

    def mark_all(self) -> None:
        """As if all rows had changed."""
        self._accounts[: self._bookkeeper.count()] = 1
        self._pendings[: self._count(PENDINGS)] = 1
        self.count = self._bookkeeper.count()

    def mark_since(self, position: int) -> None:
        """The rows that entries at `position` or beyond moved, and all pending transfers.

        An account's row knows the last entry that moved it; that of a pending transfer is gone when it ends.
        """
        previous = self._bookkeeper.books.rows.view(np.ndarray)["previous"][: self._bookkeeper.count()]
        moved = previous >= position
        self._accounts[: len(moved)] |= moved.view(np.uint8)
        self._pendings[: self._count(PENDINGS)] = 1
        self.count = int(np.count_nonzero(self._accounts[: len(moved)]))

    def take(self) -> list[Changed]:
        """Copies of the rows that changed, which count as not changed from now on. Tenants are taken whole."""
        self.count = 0
        tenants = np.arange(self._count(TENANTS))
        return [
            self._taken(ACCOUNTS, _marked(self._accounts, self._count(ACCOUNTS))),
            self._taken(PENDINGS, _marked(self._pendings, self._count(PENDINGS))),
            self._taken(TENANTS, tenants),
        ]

    def _taken(self, name: str, numbers: npt.NDArray[np.intp]) -> Changed:
        rows = words(_rows(self._bookkeeper, name))
        taken = pages.empty((len(numbers), rows.shape[1]), "<u8")
        np.take(rows, numbers, axis=0, out=taken, mode="clip")  # checking would copy it all once more
        return Changed(name, self._count(name), numbers.astype("<u8"), taken)

    def _count(self, name: str) -> int:
        return int(self._bookkeeper.books.counters[_COUNTERS[name]])


def _marked(marks: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.intp]:
    """The numbers that are marked, which they are no longer."""
    numbers = np.flatnonzero(marks[:count])
    marks[:count] = 0
    return numbers


def _rows(bookkeeper: Bookkeeper, name: str) -> npt.NDArray[np.void]:
    books = bookkeeper.books
    return {ACCOUNTS: books.rows, PENDINGS: books.pendings, TENANTS: books.tenants}[name]


def resized(bookkeeper: Bookkeeper, name: str, count: int) -> Words:
    """The rows of a table as words, to be overwritten; the table counts `count` rows from now on.

    Raises `Invalid` if the books have no room for them.
    """
    rows = _rows(bookkeeper, name)
    if count > len(rows):
        setting = _SETTINGS[name]
        raise Invalid(setting, f"the books have more {name} than {len(rows)}: raise TALLY_{setting.upper()}")
    bookkeeper.books.counters[_COUNTERS[name]] = count
    return words(rows)


def index(bookkeeper: Bookkeeper) -> None:
    """Make the tables of slots, the heap and the free list anew from the rows there are."""
    books = bookkeeper.books
    accounts = np.empty(bookkeeper.count(), "<u8")
    account_slots(books.rows, bookkeeper.account_keys, accounts)
    tenants = np.empty(int(books.counters[Counter.TENANTS]), "<u8")
    tenant_slots(books.tenants, bookkeeper.account_keys, tenants)
    bookkeeper.books = books._replace(
        slots=_filled(accounts, len(books.slots)), tenant_slots=_filled(tenants, len(books.tenant_slots))
    )
    open_again(
        books.pendings,
        books.pending_slots,
        books.pending_free,
        books.heap,
        books.heap_at,
        books.counters,
        books.id_keys,
    )


def _filled(values: Words, slots_min: int) -> Words:
    """A table of slots with these values, and room for a block's more."""
    slots = np.zeros(max(slots_min, 1 << (2 * (len(values) + COMMANDS_MAX) - 1).bit_length()), "<u8")
    migrate(values, slots, 0, len(values))
    return slots


def comparable(bookkeeper: Bookkeeper) -> list[tuple[str, npt.NDArray[np.void]]]:
    """Each table, as copies of its rows without what is of the moment: for comparing two books of one journal.

    Pending transfers are those that are open, in the order of their entries: rows are given out as they come free.
    """
    books = bookkeeper.books
    accounts = books.rows.view(np.ndarray)[: bookkeeper.count()].copy()
    accounts["touched"] = 0
    pendings = books.pendings.view(np.ndarray)[: int(books.counters[Counter.PENDINGS])]
    pendings = pendings[pendings["ending"] == _OPEN]
    tenants = books.tenants.view(np.ndarray)[: int(books.counters[Counter.TENANTS])].copy()
    return [(ACCOUNTS, accounts), (PENDINGS, pendings[np.argsort(pendings["seq"])]), (TENANTS, tenants)]


def words(rows: npt.NDArray[np.void]) -> Words:
    """The rows as unsigned words: NumPy moves rows of many fields field by field."""
    return rows.view(np.ndarray).view("<u8").reshape(len(rows), rows.dtype.itemsize // 8)


@compiled
def mark_rows(accounts: Any, pendings: Any, rows: Any) -> Any:
    """Mark the rows of two accounts and a pending transfer; returns how many accounts were not marked before."""
    new = 0
    for k in range(rows.shape[0]):
        for side in range(2):
            row = rows[k, side]
            if row != NO_ROW and accounts[row] == 0:
                accounts[row] = 1
                new += 1
        if rows[k, 2] != NO_ROW:
            pendings[rows[k, 2]] = 1
    return new


@compiled
def account_slots(rows: Any, keys: Any, values: Any) -> Any:
    """For each account the value of its slot (`books.find_account`): 32 bits of hash above its row's number + 1."""
    for row in range(values.shape[0]):
        hashed = hashing.hash_id(keys, rows[row].tenant, rows[row].id_lo, rows[row].id_hi)
        values[row] = ((hashed & _TAG) << _TAG_SHIFT) | (U64(row) + ONE)


@compiled
def tenant_slots(tenants: Any, keys: Any, values: Any) -> Any:
    """For each tenant the value of its slot (`books.find_tenant`)."""
    for row in range(values.shape[0]):
        hashed = hashing.hash_id(keys, tenants[row].tenant, ZERO, ZERO)
        values[row] = ((hashed & _TAG) << _TAG_SHIFT) | (U64(row) + ONE)


@compiled
def open_again(pendings: Any, slots: Any, free: Any, heap: Any, heap_at: Any, counters: Any, keys: Any) -> Any:
    """Make pending transfers that are open findable, and let them expire; all other rows are free.

    A row that a snapshot caught in the block that resolved it is free, too: the next block would have said so.
    """
    for row in range(np.int64(counters[Counter.PENDINGS])):
        pending = pendings[row]
        if pending.ending == _OPEN:
            enter(slots, hashing.hash_id(keys, pending.tenant, pending.id_lo, pending.id_hi), row)
            if pending.expires_at != ZERO:
                push(heap, heap_at, counters, pending, row)
        else:
            pending.ending = np.uint8(0)
            free[counters[Counter.PENDINGS_FREE]] = np.uint32(row)
            counters[Counter.PENDINGS_FREE] = counters[Counter.PENDINGS_FREE] + ONE
