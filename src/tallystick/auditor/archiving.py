"""First the archive, then the tree: no checkpoint covers an entry that a restored journal could not get back."""

from collections.abc import Sequence

from tallystick.archive.port import Archive
from tallystick.journal.follow import Cursor, Effects, slices
from tallystick.journal.port import JournalReader
from tallystick.records.blocks import EntryBlock


class ArchivedFirst:
    """As `journal.follow.Effects`: what `tree` takes in has been archived durably before."""

    def __init__(self, archive: Archive, journal: JournalReader, tree: Effects) -> None:
        """`journal` is for what an archive that is new, or lost its end, must still get."""
        self._archive = archive
        self._journal = journal
        self._tree = tree

    def cursor(self) -> Cursor:
        """Where the tree stands; by then the archive is as far. Raises as `Archive.add`, too."""
        cursor, end = self._tree.cursor(), self._archive.end()
        if end.next_seq < cursor.next_seq:
            for each in slices(self._journal, Cursor(end.next_seq, end.hash)):
                self._archive.add(each.blocks)
                if each.after.next_seq >= cursor.next_seq:
                    break
        return cursor

    def take(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        self._archive.add(blocks)
        self._tree.take(blocks, after)
