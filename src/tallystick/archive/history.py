"""Whether blocks continue what is archived: the same question for every archive, wherever it keeps them."""

from collections.abc import Sequence

from tallystick.archive.port import Archived
from tallystick.errors import Corrupt
from tallystick.records.blocks import EntryBlock


def fresh(blocks: Sequence[EntryBlock], end: Archived, archive: str) -> list[EntryBlock]:
    """Those that are not in the archive yet, which ends at `end`. `archive`: what it is called to people.

    Raises `Corrupt` unless both tell the same history.
    """
    found = []
    for block in blocks:
        header = block.header
        if header.first >= end.next_seq:
            if header.first != end.next_seq or header.previous != end.hash:
                raise Corrupt(_two_histories(archive, end.next_seq))
            found.append(block)
            end = Archived(header.next, header.hash)
        elif header.next > end.next_seq or (header.next == end.next_seq and header.hash != end.hash):
            raise Corrupt(_two_histories(archive, end.next_seq))
    return found


def _two_histories(archive: str, seq: int) -> str:
    return (
        f"the journal and its archive {archive} tell two histories before entry {seq}: stop, and find out which one "
        "was signed"
    )
