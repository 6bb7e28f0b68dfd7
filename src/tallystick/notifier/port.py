"""What the notifier asks of the database that its tables are in: SQLite in the data folder, or PostgreSQL.

Unlike a projection they are **not derived**: subscriptions, their keys and what was delivered stand there alone, so a
backup must hold them. Statements are written once, in the SQL that both understand, with `?` for a value, and `INDEXED
BY` where SQLite must be told. Values and rows are plain: int, bytes, str, None.

One thread uses it. What others remember of the tables they register with `after_rollback`.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

_SIGN, _MODULUS = 1 << 63, 1 << 64


class Tables(Protocol):
    """The tables. Opening them makes them, if they are not there yet.

    Errors are ours: `Unavailable` for what may pass, `Corrupt` for what is damaged or does not fit.
    """

    def settle(self) -> None:
        """Make sure that what is remembered of the tables is what is there: call it before anything is decided by that.

        Raises `Unavailable` if it cannot be known now.
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

    def run(self, statement: str, *values: Any) -> int:
        """Change something, inside `commit`; returns how many rows."""
        ...

    def run_all(self, statement: str, values: Iterable[tuple[Any, ...]]) -> int:
        """Change something for each of `values`, inside `commit`; returns how many rows in all."""
        ...

    def add(self, statement: str, *values: Any) -> int:
        """Insert a row, inside `commit`; returns its number."""
        ...

    def commit(self, durable: bool = False) -> AbstractContextManager[None]:
        """What is done inside is committed whole at the end, or nothing of it is there.

        What a person was told is `durable`: it survives a power cut when this returns. The rest, which the journal and
        the receivers' memory of ids make up for, is safe from everything but a power cut, which may take the newest
        commits, the cursor with them. Raises `OutcomeUnknown` where it may have been committed.
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
