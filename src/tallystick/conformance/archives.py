"""What every adapter of the archive's ports must keep. Bind it by subclassing, with fixtures that make them anew.

`open_archive` and `open_acts` open the archive of blocks and that of acts again and again, each as a new process does;
what was opened before is closed by then.
"""

from collections.abc import Callable

import pytest

from tallystick.archive.port import ActArchive, Archive, Archived, ArchivedActs
from tallystick.conformance import samples
from tallystick.errors import Corrupt
from tallystick.journal.port import Tail
from tallystick.records.blocks import EntryBlock, parse

LANE = b"l" * 16
OpenArchive = Callable[[], Archive]
OpenActs = Callable[[], ActArchive]


def blocks(*counts: int, mark: int = 0) -> list[EntryBlock]:
    """A journal's blocks of so many entries."""
    made, tail = [], Tail()
    for number, count in enumerate(counts, 1):
        _, buffers = samples.next_block(tail, 1, count, {LANE: number}, mark)
        block = parse(b"".join(buffers))
        assert isinstance(block, EntryBlock)
        made.append(block)
        tail = Tail(block.header.next, block.header.hash, 1, block.positions)
    return made


def shown(found: list[EntryBlock]) -> list[tuple[object, bytes, bytes]]:
    """All that blocks are, to be compared."""
    return [(block.header, block.entries.tobytes(), block.details.tobytes()) for block in found]


class ArchiveConformance:
    """The suite for blocks."""

    def test_an_archive_that_is_new_holds_nothing(self, open_archive: OpenArchive) -> None:
        archive = open_archive()
        assert archive.end() == Archived()
        assert list(archive.read(0)) == []
        with pytest.raises(Corrupt):
            list(archive.read(1))

    def test_what_was_added_is_there_whole_for_whoever_opens_it(self, open_archive: OpenArchive) -> None:
        made = blocks(1, 20, 3, 40, 2)
        archive = open_archive()
        archive.add(made[:2])
        archive.add(made[2:3])
        archive.add(made[3:])
        for reader in (archive, open_archive()):
            assert reader.end() == Archived(66, made[-1].header.hash, {LANE: 5})
            assert shown(list(reader.read(0))) == shown(made)
            assert [block.header.first for block in reader.read(24)] == [24, 64]
            assert list(reader.read(66)) == []
            with pytest.raises(Corrupt):
                list(reader.read(2))

    def test_who_opens_it_again_goes_on(self, open_archive: OpenArchive) -> None:
        made = blocks(1, 20, 3)
        for block in made:
            open_archive().add([block])
        assert shown(list(open_archive().read(0))) == shown(made)

    def test_blocks_that_are_there_are_passed_over_if_they_are_the_same(self, open_archive: OpenArchive) -> None:
        made = blocks(3, 4, 5)
        archive = open_archive()
        archive.add(made[:2])
        archive.add(made[:2])
        archive.add(made[1:])
        assert shown(list(archive.read(0))) == shown(made)

    def test_another_history_and_a_gap_are_refused_and_change_nothing(self, open_archive: OpenArchive) -> None:
        made = blocks(3, 4, 5)
        archive = open_archive()
        archive.add(made[:2])
        for wrong in (blocks(3, 4, 5, mark=9), blocks(3, 4, 5, mark=9)[2:], blocks(3, 4, 1, 1)[3:], blocks(9)):
            with pytest.raises(Corrupt):
                archive.add(wrong)
            assert shown(list(archive.read(0))) == shown(made[:2])


class ActArchiveConformance:
    """The suite for acts."""

    def test_an_archive_of_acts_that_is_new_holds_nothing(self, open_acts: OpenActs) -> None:
        assert open_acts().end() == ArchivedActs()
        assert list(open_acts().read(0)) == []

    def test_acts_that_were_added_are_there_for_whoever_opens_it(self, open_acts: OpenActs) -> None:
        entries = [b"%d" % number * (number % 300 + 1) for number in range(700)]
        for begin, end in ((0, 1), (1, 300), (300, 700)):
            open_acts().add(entries[begin:end], bytes([end % 251]) * 32)
            assert open_acts().end() == ArchivedActs(end, bytes([end % 251]) * 32)
        for first in (0, 1, 299, 300, 699, 700):
            assert [entry for some in open_acts().read(first) for entry in some] == entries[first:]

    def test_the_largest_act_and_an_empty_one_are_kept(self, open_acts: OpenActs) -> None:
        entries = [b"", b"x" * 65_535, b""]
        open_acts().add(entries, bytes(32))
        assert [entry for some in open_acts().read(0) for entry in some] == entries
