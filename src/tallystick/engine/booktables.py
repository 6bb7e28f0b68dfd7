"""The tables of the books as snapshots take them: rows by number, which of them changed, and what is made of rows.

Only rows are kept in a snapshot. The tables of slots that find them are made again at start (`index`), under the
process's own secret key.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.errors import Invalid
from tallystick.ledger import hashing
from tallystick.ledger.books import ROW, Bookkeeper, Counter, migrate
from tallystick.ledger.compiled import ONE, U64, compiled
from tallystick.records.commands import COMMANDS_MAX

ACCOUNTS = "accounts"
LAYOUT = hashlib.sha256(repr(ROW.descr).encode()).hexdigest()[:32]
"""Changes with any field of a row, so that one version's snapshot is not taken for another's."""
_TAG = U64(0xFFFFFFFF)
_TAG_SHIFT = U64(32)
NO_ROW = -1

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
        self.count = 0
        """Accounts that are marked."""

    def mark(self, rows: npt.NDArray[np.int64]) -> None:
        """Rows of accounts that a block moved, of any shape (n, 2), `NO_ROW` where none."""
        self.count += int(mark_rows(self._accounts, rows))

    def mark_all(self) -> None:
        """As if all rows had changed."""
        self.count = self._bookkeeper.count()
        self._accounts[: self.count] = 1

    def mark_since(self, position: int) -> None:
        """The rows that entries at `position` or beyond moved: each knows the last one that did."""
        previous = self._bookkeeper.books.rows.view(np.ndarray)["previous"][: self._bookkeeper.count()]
        moved = previous >= position
        self._accounts[: len(moved)] |= moved.view(np.uint8)
        self.count = int(np.count_nonzero(self._accounts[: len(moved)]))

    def take(self) -> list[Changed]:
        """Copies of the rows that changed, which count as not changed from now on."""
        count = self._bookkeeper.count()
        numbers = np.flatnonzero(self._accounts[:count])
        self._accounts[:count] = 0
        self.count = 0
        rows = words(self._bookkeeper.books.rows)[numbers]
        return [Changed(ACCOUNTS, count, numbers.astype("<u8"), rows)]


def resized(bookkeeper: Bookkeeper, name: str, count: int) -> Words:
    """The rows of a table as words, to be overwritten; the table counts `count` rows from now on.

    Raises `Invalid` if the books have no room for them.
    """
    if name != ACCOUNTS:
        raise Invalid("snapshot", f"has a table {name} that this version does not know")
    if count > bookkeeper.accounts_max:
        raise Invalid(
            "accounts_max",
            f"the books have more accounts than {bookkeeper.accounts_max}: raise TALLY_ACCOUNTS_MAX",
        )
    bookkeeper.books.counters[Counter.ACCOUNTS] = count
    return words(bookkeeper.books.rows)


def index(bookkeeper: Bookkeeper) -> None:
    """Make the tables of slots anew from the rows there are."""
    books = bookkeeper.books
    count = bookkeeper.count()
    slots = max(len(books.slots), 1 << (2 * (count + COMMANDS_MAX) - 1).bit_length())
    values = np.empty(count, "<u8")
    account_slots(books.rows, bookkeeper.account_keys, values)
    bookkeeper.books = books._replace(slots=np.zeros(slots, "<u8"))
    migrate(values, bookkeeper.books.slots, 0, count)


def comparable(bookkeeper: Bookkeeper) -> list[tuple[str, npt.NDArray[np.void]]]:
    """Each table, as copies of its rows without what is of the moment: for comparing two books of one journal."""
    accounts = bookkeeper.books.rows.view(np.ndarray)[: bookkeeper.count()].copy()
    accounts["touched"] = 0
    return [(ACCOUNTS, accounts)]


def words(rows: npt.NDArray[np.void]) -> Words:
    """The rows as unsigned words: NumPy moves rows of many fields field by field."""
    return rows.view(np.ndarray).view("<u8").reshape(len(rows), -1)


@compiled
def mark_rows(marks: Any, rows: Any) -> Any:
    """Mark the rows; returns how many were not marked before."""
    new = 0
    for k in range(rows.shape[0]):
        for side in range(2):
            row = rows[k, side]
            if row != NO_ROW and marks[row] == 0:
                marks[row] = 1
                new += 1
    return new


@compiled
def account_slots(rows: Any, keys: Any, values: Any) -> Any:
    """For each account the value of its slot (`books.find_account`): 32 bits of hash above its row's number + 1."""
    for row in range(values.shape[0]):
        hashed = hashing.hash_id(keys, rows[row].tenant, rows[row].id_lo, rows[row].id_hi)
        values[row] = ((hashed & _TAG) << _TAG_SHIFT) | (U64(row) + ONE)
