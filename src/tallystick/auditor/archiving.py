"""First the archive, then the tree: no checkpoint covers an entry that a restored journal could not get back."""

from collections.abc import Sequence

from tallystick.acts.port import ActReader
from tallystick.archive.port import ActArchive, Archive
from tallystick.auditor.levels import LevelFiles
from tallystick.errors import Corrupt
from tallystick.journal.follow import Cursor, Effects, slices
from tallystick.journal.port import JournalReader
from tallystick.records.blocks import EntryBlock
from tallystick.tlog import merkle

ACTS_AT_ONCE = 4_096


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


def archive_acts(archive: ActArchive, acts: ActReader, levels: LevelFiles) -> None:
    """Bring the archive of a log of acts up to its tree, which may be signed then. **Durable on return.**

    Raises `Corrupt` if they tell two histories, else as `ActArchive.add`.
    """
    end = archive.end()
    if end.count > levels.size:
        raise Corrupt(f"{end.count} acts were archived, and only {levels.size} are there: some were deleted")
    tree = levels.tree()
    if merkle.root(end.count, tree.at(end.count).nodes) != end.root:
        raise Corrupt(f"the first {end.count} acts are not those that were archived: somebody must find out why")
    while end.count < levels.size:
        entries = acts.read(end.count, min(ACTS_AT_ONCE, levels.size - end.count))
        size = end.count + len(entries)
        archive.add(entries, merkle.root(size, tree.at(size).nodes))
        end = archive.end()
