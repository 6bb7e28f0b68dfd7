"""What the notifier asks of the database that its tables are in: SQLite in the data folder, or PostgreSQL.

Unlike a projection they are **not derived**: subscriptions, their keys and what was delivered stand there alone, so a
backup must hold them. Statements are written once, in the SQL that both understand, with `?` for a value, and `INDEXED
BY` where SQLite must be told. Many rows at once have methods, since each takes them best in its own way. Values and
rows are plain: int, bytes, str, None.

One thread uses it. What others remember of the tables they register with `after_rollback`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

_SIGN, _MODULUS = 1 << 63, 1 << 64


class Tables(Protocol):
    """The tables. Opening them makes them, if they are not there yet.

    Errors are ours: `Unavailable` for what may pass, `Corrupt` for what is damaged or does not fit.
    """

    def settle(self) -> None:
        """Make sure that what is remembered of the tables is what is there: call it before anything is decided by that.

        Raises `Unavailable` if it cannot be known now, and `OutcomeUnknown` as `commit`.
        """
        ...

    def after_rollback(self, load: Callable[[], None]) -> None:
        """Call `load` whenever a commit did not come about, or is not known to: what is remembered is read again."""
        ...

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """What a query finds."""
        ...

    def row(self, statement: str, *values: Any) -> Any:
        """The first row that a query finds, or None."""
        ...

    def run(self, statement: str, *values: Any) -> None:
        """Change something, inside `commit`. It may be sent on without an answer: what is wrong with it is raised at
        the latest when that ends."""
        ...

    def insert(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]], otherwise: str) -> None:
        """Add rows with these columns, inside `commit`, as `run`.

        `otherwise` says what becomes of one whose key is there already, as SQL: `(COLUMNS) … DO …`. No two of `rows`
        have the same key.
        """
        ...

    def update(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Set these columns, a row of values each and its `number` last, inside `commit`, as `run`. No number comes
        twice."""
        ...

    def touched(self) -> int:
        """How many rows the last `run` or `insert` added, changed or removed, inside the same `commit`."""
        ...

    def add(self, statement: str, *values: Any) -> int:
        """Insert a row, inside `commit`; returns its number."""
        ...

    def commit(self, durable: bool = False, then: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """What is done inside is committed whole at the end, or nothing of it is there.

        What a person was told is `durable`: it survives a power cut when this returns. The rest, which the journal and
        the receivers' memory of ids make up for, is safe from everything but a power cut, which may take the newest
        commits, the cursor with them. Raises `OutcomeUnknown` where it may have been committed.

        With `then`, which asks nothing of the tables, it need not be there yet on return: `then` is called once it is,
        at the latest when the tables are next used. If it comes to nothing, it is that use, `settle` say, which raises.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def signed(tenant: int) -> int:
    """A tenant's number as the databases' integer: 64 bits, one of them the sign."""
    return tenant - _MODULUS if tenant >= _SIGN else tenant


def unsigned(kept: int) -> int:
    """A tenant's number again."""
    return kept % _MODULUS
