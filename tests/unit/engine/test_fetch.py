import numpy as np
import pytest

from tallystick.engine.fetch import Fetcher
from tallystick.errors import Corrupt
from tallystick.journal.memory import MemoryJournal
from tallystick.records.commands import AccountFlag
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY
from tallystick.statuses import AccountStatus
from tests.unit.engine.shard import Shard, accounts


class ZerosRead(MemoryJournal):
    """A disk that once gives zeros for what it holds."""

    def rows(self, seqs):
        return np.zeros(len(seqs), ENTRY), np.zeros(len(seqs), DETAILS)


def test_zeros_read_by_mistake_never_pass_for_an_id_that_is_new():
    with pytest.raises(Corrupt, match="another entry than 7"):
        Fetcher(ZerosRead()).rows(np.array([7], np.uint64))


def test_an_import_is_compared_with_a_block_that_is_not_written_yet():
    shard = Shard()
    shard.start()
    shard.submit(accounts(1, 1, 2))
    shard.engine.loop()
    last = shard.engine.decider.last_timestamp
    # The second is later than all of that block, so the search ends at its seal, which the writer has yet to fill.
    number = shard.submit(accounts(2, 3, 4, flag_bits=AccountFlag.IMPORTED, timestamp=[last, last + 1]))
    shard.clock.advance(1_000)
    shard.settle()
    statuses = [status for _, status, _ in shard.answer(number)]
    assert statuses == [AccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS, AccountStatus.CREATED]
