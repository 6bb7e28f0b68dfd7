import numpy as np
import pytest

from tallystick.engine.fetch import Fetcher
from tallystick.errors import Corrupt
from tallystick.journal.memory import MemoryJournal
from tallystick.records.details import DETAILS
from tallystick.records.entries import ENTRY


class ZerosRead(MemoryJournal):
    """A disk that once gives zeros for what it holds."""

    def rows(self, seqs):
        return np.zeros(len(seqs), ENTRY), np.zeros(len(seqs), DETAILS)


def test_zeros_read_by_mistake_never_pass_for_an_id_that_is_new():
    with pytest.raises(Corrupt, match="another entry than 7"):
        Fetcher(ZerosRead()).rows(np.array([7], np.uint64))
