"""What every journal adapter must keep. Bind it so:

    class TestFileJournal(JournalConformance):
        @pytest.fixture
        def open_journal(self, tmp_path):
            return lambda: FileJournal.open(tmp_path, SystemDisk(), 67_108_864)

        @pytest.fixture
        def open_reader(self, tmp_path):
            return lambda: FileJournalReader(tmp_path, SystemDisk())

Each call opens the same journal, as another process would. A test closes one writer before it opens the next.
"""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from tallystick.conformance.samples import append, next_block
from tallystick.errors import Corrupt, Fenced
from tallystick.journal.port import Journal, JournalReader, Tail
from tallystick.records.blocks import ENTRIES_MAX

OpenJournal = Callable[[], Journal]
OpenReader = Callable[[], JournalReader]


def as_rows(seqs: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Seqs as `rows` takes them."""
    return np.array(seqs, np.uint64)


class JournalConformance:
    """Override `open_journal` and `open_reader`."""

    @pytest.fixture
    def open_journal(self) -> OpenJournal:
        """Opens the writer of the journal under test; every call opens the same one."""
        raise NotImplementedError("override the fixture open_journal")

    @pytest.fixture
    def open_reader(self) -> OpenReader:
        """Opens a reader of the same journal, which need not exist yet."""
        raise NotImplementedError("override the fixture open_reader")

    @pytest.fixture
    def journal(self, open_journal: OpenJournal) -> Journal:
        """The writer."""
        return open_journal()

    def test_a_new_journal_is_empty(self, journal: Journal) -> None:
        tail = journal.tail()
        assert (tail.next_seq, tail.hash, dict(tail.positions)) == (0, bytes(32), {})
        assert journal.end() == 0
        assert list(journal.read(0)) == []

    def test_a_reader_may_come_before_the_writer(self, open_reader: OpenReader, open_journal: OpenJournal) -> None:
        reader = open_reader()
        assert (reader.end(), list(reader.read(0))) == (0, [])
        append(open_journal(), 2)
        assert reader.end() == 2

    def test_an_appended_block_is_read_whole(self, journal: Journal, open_reader: OpenReader) -> None:
        _, digest = append(journal, 3, {b"p" * 16: 9, b"a" * 16: 2}, mark=5)
        for reader in (journal, open_reader()):
            (block,) = reader.read(0)
            assert (block.header.hash, block.header.first, block.header.count) == (digest, 0, 3)
            assert block.positions == {b"p" * 16: 9, b"a" * 16: 2}
            assert block.entries["seq"].tolist() == [0, 1, 2]
            assert block.entries["tenant"].tolist() == [5, 5, 5]
            assert block.details["debit_sequence"].tolist() == [7, 8, 9]

    def test_the_tail_is_what_the_last_append_left(self, journal: Journal) -> None:
        append(journal, 2, {b"a" * 16: 1})
        _, digest = append(journal, 3, {b"a" * 16: 4, b"b" * 16: 1})
        assert journal.tail() == Tail(5, digest, journal.epoch, {b"a" * 16: 4, b"b" * 16: 1})

    def test_blocks_come_in_order_each_continuing_the_one_before(self, journal: Journal) -> None:
        hashes = [append(journal, count)[1] for count in (1, 5, 2, 1, 9)]
        blocks = list(journal.read(0))
        assert [block.header.hash for block in blocks] == hashes
        assert [block.header.previous for block in blocks] == [bytes(32), *hashes[:-1]]
        assert [seq for block in blocks for seq in block.entries["seq"].tolist()] == list(range(18))

    def test_reading_begins_with_the_block_that_holds_the_seq(self, journal: Journal) -> None:
        for count in (3, 4, 5):
            append(journal, count)
        assert [next(iter(journal.read(seq))).header.first for seq in range(12)] == [0] * 3 + [3] * 4 + [7] * 5

    def test_reading_from_the_end_gives_nothing(self, journal: Journal) -> None:
        append(journal, 3)
        assert list(journal.read(3)) == []

    def test_reading_past_the_end_is_corrupt(self, journal: Journal, open_reader: OpenReader) -> None:
        append(journal, 3)
        for reader in (journal, open_reader()):
            with pytest.raises(Corrupt):
                reader.read(4)

    def test_a_read_ends_where_the_journal_ended_at_the_call(self, journal: Journal) -> None:
        append(journal, 1)
        blocks = journal.read(0)
        append(journal, 1)
        assert [block.header.first for block in blocks] == [0]
        assert [block.header.first for block in journal.read(0)] == [0, 1]

    def test_a_reader_sees_each_block_once_it_is_appended(self, journal: Journal, open_reader: OpenReader) -> None:
        reader = open_reader()
        for _ in range(30):
            first, digest = append(journal, 2)
            assert reader.end() == first + 2
            assert [block.header.hash for block in reader.read(first)] == [digest]

    def test_rows_come_in_the_order_asked_for(self, journal: Journal, open_reader: OpenReader) -> None:
        for mark, count in enumerate((3, 1, 40, 2, 7)):
            append(journal, count, mark=mark)
        seqs = [52, 0, 4, 4, 51, 3, 17, 18, 19, 2, 44, 45]
        for reader in (journal, open_reader()):
            entries, details = reader.rows(as_rows(seqs))
            assert entries["seq"].tolist() == seqs
            assert details["debit_sequence"].tolist() == [seq + 7 for seq in seqs]
            assert entries["tenant"].tolist() == [4, 0, 2, 2, 4, 1, 2, 2, 2, 0, 3, 3]
            assert details["device_pseudonym"].tolist() == entries["tenant"].tolist()

    def test_one_row_is_the_one_asked_for(self, journal: Journal, open_reader: OpenReader) -> None:
        for mark, count in enumerate((3, 1, 40)):
            append(journal, count, mark=mark)
        for reader in (journal, open_reader()):
            for seq, mark in ((0, 0), (2, 0), (3, 1), (4, 2), (43, 2)):
                entries, details = reader.rows(as_rows([seq]))
                assert (entries["seq"].tolist(), entries["tenant"].tolist()) == ([seq], [mark])
                assert details["debit_sequence"].tolist() == [seq + 7]
            with pytest.raises(Corrupt):
                reader.rows(as_rows([44]))

    def test_no_rows_may_be_asked_for(self, journal: Journal) -> None:
        entries, details = journal.rows(as_rows([]))
        assert (len(entries), len(details)) == (0, 0)

    def test_rows_past_the_end_are_corrupt(self, journal: Journal) -> None:
        append(journal, 3)
        with pytest.raises(Corrupt):
            journal.rows(as_rows([1, 3]))

    def test_rows_belong_to_the_caller(self, journal: Journal) -> None:
        append(journal, 3)
        entries, _ = journal.rows(as_rows([1]))
        entries["seq"] = 99
        assert journal.rows(as_rows([1]))[0]["seq"].tolist() == [1]

    def test_the_largest_block_goes_through(self, journal: Journal) -> None:
        append(journal, ENTRIES_MAX)
        append(journal, 1)
        assert [len(block.entries) for block in journal.read(0)] == [ENTRIES_MAX, 1]
        seqs = list(range(0, ENTRIES_MAX + 1, 100))
        assert journal.rows(as_rows(seqs))[0]["seq"].tolist() == seqs

    def test_the_appended_buffers_may_be_used_again(self, journal: Journal) -> None:
        _, buffers = next_block(journal.tail(), journal.epoch, 2)
        own = [bytearray(buffer) for buffer in buffers]
        journal.append(list(own), 0, journal.epoch)
        for buffer in own:
            buffer[:] = bytes(len(buffer))
        assert journal.rows(as_rows([1]))[0]["seq"].tolist() == [1]
        assert len(list(journal.read(0))) == 1

    def test_an_append_that_expects_another_end_is_fenced(self, journal: Journal) -> None:
        append(journal, 3)
        stale, buffers = next_block(Tail(), journal.epoch, 1)
        with pytest.raises(Fenced):
            journal.append(buffers, 0, journal.epoch)
        assert journal.end() == 3
        assert stale not in [block.header.hash for block in journal.read(0)]

    def test_an_append_of_another_epoch_is_fenced(self, journal: Journal) -> None:
        _, buffers = next_block(journal.tail(), journal.epoch - 1, 1)
        with pytest.raises(Fenced):
            journal.append(buffers, 0, journal.epoch - 1)
        assert journal.end() == 0

    @pytest.mark.parametrize("wrong", ["hash", "shard", "epoch", "short"])
    def test_a_block_that_does_not_follow_is_refused_and_nothing_written(self, journal: Journal, wrong: str) -> None:
        append(journal, 2)
        tail = journal.tail()
        if wrong == "hash":
            tail = Tail(tail.next_seq, b"\1" * 32, tail.epoch, {})
        epoch = journal.epoch + (wrong == "epoch")
        _, buffers = next_block(tail, epoch, 1, shard=int(wrong == "shard"))
        if wrong == "short":
            buffers = buffers[:-1]
        with pytest.raises(ValueError, match="block 2"):
            journal.append(buffers, 2, journal.epoch)
        assert append(journal, 1)[0] == 2
        assert journal.end() == 3

    def test_each_writer_has_a_greater_epoch(self, open_journal: OpenJournal) -> None:
        epochs = []
        for appends in (0, 1, 0, 2):
            journal = open_journal()
            epochs.append(journal.epoch)
            for _ in range(appends):
                append(journal)
            journal.close()
        assert epochs == sorted(set(epochs))

    def test_a_writer_whose_place_was_taken_appends_nothing(
        self, open_journal: OpenJournal, open_reader: OpenReader
    ) -> None:
        old = open_journal()
        append(old, 1)
        try:
            new = open_journal()
        except Fenced:  # as good: there cannot be a second one
            return
        with pytest.raises(Fenced):
            append(old, 1)
        append(new, 1)
        assert [block.header.epoch for block in open_reader().read(0)] == [old.epoch, new.epoch]

    def test_another_writer_goes_on_where_the_first_ended(
        self, open_journal: OpenJournal, open_reader: OpenReader
    ) -> None:
        first = open_journal()
        for count in (2, 3):
            append(first, count, {b"a" * 16: count})
        tail = first.tail()
        first.close()
        second = open_journal()
        assert second.tail() == tail
        append(second, 4)
        assert [block.header.count for block in open_reader().read(0)] == [2, 3, 4]

    @pytest.mark.parametrize("seed", range(10))
    def test_whatever_was_appended_is_read(self, open_journal: OpenJournal, open_reader: OpenReader, seed: int) -> None:
        random = Random(seed)
        journal, reader = open_journal(), open_reader()
        marks: list[int] = []
        for step in range(60):
            if random.random() < 0.1:
                journal.close()
                journal = open_journal()
            count = random.choice((1, 1, 2, 7, 33))
            append(journal, count, {b"a" * 16: step}, mark=step)
            marks += [step] * count
            seqs = [random.randrange(len(marks)) for _ in range(random.randint(1, 40))]
            source = random.choice((journal, reader))
            assert source.rows(as_rows(seqs))[0]["tenant"].tolist() == [marks[seq] for seq in seqs]
            start = random.randrange(len(marks))
            blocks = list(source.read(start))
            assert blocks[0].header.first <= start < blocks[0].header.next
            found = [mark for block in blocks for mark in block.entries["tenant"].tolist()]
            assert found == marks[blocks[0].header.first :]
