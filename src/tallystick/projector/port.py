"""What the projector asks of the database that its tables are in: SQLite in the data folder, or PostgreSQL.

Statements are written once, in the SQL that both understand, with `?` for a value. What SQLite must be told and
PostgreSQL need not be (`INDEXED BY`, and the order of joins by `CROSS JOIN … ON`) stands in them, too. Values and rows
are plain: int, bytes, None. What would differ has a method: many rows at once, transactions, errors.

An adapter is not safe for concurrent calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]


class Found(Protocol):
    """The rows of a statement."""

    def fetchone(self) -> Any:
        """The next row; None if there is no more."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows, one by one."""
        ...


class Tables(Protocol):
    """The tables, to be read."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Found:
        """Run one statement. Within `telling`, since errors are the driver's own here."""
        ...

    def telling(self) -> AbstractContextManager[None]:
        """Turns the driver's errors into ours: `Unavailable` for what may pass, `Corrupt` for what is damaged."""
        ...

    def at_one_moment(self, left_s: float | None = None) -> AbstractContextManager[None]:
        """A transaction that only reads: all statements in it see the same commit, and hold up no writer.

        A statement that still runs when `left_s` seconds are over ends with an error, which is `Unavailable`.
        """
        ...

    def walk(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Run one statement in `at_one_moment` whose rows are many: they are fetched while they are asked for."""
        ...

    def damage(self) -> str | None:
        """What the database itself finds wrong with its files and indexes, in words; None if it finds nothing."""
        ...

    def close(self) -> None:
        """Let go of files and sessions."""
        ...


class WritableTables(Tables, Protocol):
    """The tables of the one that follows the journal. Opening them makes them, if they are not there yet."""

    def writing(self) -> AbstractContextManager[None]:
        """A transaction that writes, one at a time in all processes; rolled back if anything is raised in it.

        Its commit is whole or not at all. It need not outlive a power cut: cursor and effect go together, and what is
        lost is made from the journal again. Raises `OutcomeUnknown` where it may have been committed.
        """
        ...

    def insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add whole rows. Raises `Corrupt` if one with such a key is there already."""
        ...

    def update(self, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Set these columns, a row of values each and its `seq` last."""
        ...

    def find(self, table: str, wanted: str, keys: Sequence[tuple[int, bytes]]) -> list[Row | None]:
        """For each tenant and id the columns `wanted`; None where there is no such row."""
        ...
