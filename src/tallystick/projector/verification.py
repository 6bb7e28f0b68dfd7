"""Whether a projection is what its journal says: made afresh beside it and compared row by row.

SQLite keeps no checksums, so a byte that changed on the disk may give a wrong answer and no error. This finds it.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.projector.projection import Projection
from tallystick.projector.schema import telling
from tallystick.records.blocks import EntryBlock

TABLES = ("accounts", "transfers", "resolutions", "notes", "totals", "cursor")


class _UpTo:
    """The journal as it was when its end was at `end`."""

    def __init__(self, journal: JournalReader, end: int) -> None:
        self._journal = journal
        self._end = end
        self.rows = journal.rows
        self.close = journal.close

    def end(self) -> int:
        return self._end

    def read(self, seq: int) -> Iterator[EntryBlock]:
        for block in self._journal.read(seq):
            if block.header.next > self._end:
                return
            yield block


def first_difference(path: Path, journal: JournalReader, scratch: Path) -> str | None:
    """The first difference between the projection at `path` and its journal, in words; None if there is none.

    It is compared as of its own cursor. `scratch` is the file to make the other in, which must not be there yet; the
    caller removes it. Raises `Corrupt` if the journal itself does not fit, `Unavailable` if the disk is full.
    """
    try:
        kept = Projection(path, journal)
    except Corrupt as error:
        return str(error)
    try:
        anew = Projection(scratch, _UpTo(journal, kept.next_seq))
        try:
            anew.catch_up()
            return _compare(path, kept.connection, anew.connection)
        finally:
            anew.close()
    finally:
        kept.close()


def _compare(path: Path, kept: Connection, anew: Connection) -> str | None:
    try:
        with telling(path):
            [said] = kept.execute("PRAGMA integrity_check(1)").fetchone()  # indexes too
            if said != "ok":
                return f"{path}: {said}"
            for table in TABLES:
                for row, wanted in zip_longest(_rows(kept, table), _rows(anew, table)):
                    if row != wanted:
                        return f"{path}: {table} holds {_shown(row)}, the journal says {_shown(wanted)}"
    except Corrupt as error:
        return str(error)
    return None


def _rows(connection: Connection, table: str) -> Iterator[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")


def _shown(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "nothing more"
    return f"({', '.join(value.hex() if isinstance(value, bytes) else str(value) for value in row)})"
