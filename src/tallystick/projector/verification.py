"""Whether a projection is what its journal says: made afresh beside it and compared row by row.

SQLite keeps no checksums, so a byte that changed on the disk may give a wrong answer and no error. This finds it.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.projector.port import Tables, WritableTables
from tallystick.projector.projection import Projection
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


def first_difference(kept: Tables, journal: JournalReader, scratch: WritableTables) -> str | None:
    """The first difference between the projection in `kept` and its journal, in words; None if there is none.

    It is compared as of its own cursor with one made anew in `scratch`, which must be empty. Both are the caller's.
    Raises `Corrupt` if the journal itself does not fit, `Unavailable` if the disk is full.
    """
    try:
        with kept.telling(), scratch.telling(), kept.at_one_moment():
            [end] = kept.execute("SELECT next_seq FROM cursor").fetchone()
            Projection(scratch, _UpTo(journal, end)).catch_up()
            return _compare(kept, scratch)
    except Corrupt as error:
        return str(error)


def _compare(kept: Tables, anew: Tables) -> str | None:
    if damage := kept.damage():
        return damage
    for table in TABLES:
        for row, wanted in zip_longest(_rows(kept, table), _rows(anew, table)):
            if row != wanted:
                return f"{table} holds {_shown(row)}, the journal says {_shown(wanted)}"
    return None


def _rows(tables: Tables, table: str) -> Iterator[tuple[Any, ...]]:
    return tables.walk(f"SELECT * FROM {table} ORDER BY 1, 2, 3")


def _shown(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "nothing more"
    return f"({', '.join(value.hex() if isinstance(value, bytes) else str(value) for value in row)})"
