"""What screening said is kept with each entry, so that a block can be decided again from the journal alone."""

import pytest

from tallystick.records.commands import TransferFlag
from tallystick.records.details import Verdict
from tallystick.statuses import CREATED, TransferStatus
from tests.unit.engine.shard import Shard, accounts, transfers


@pytest.fixture
def shard():
    shard = Shard()
    shard.start()
    shard.decide(accounts(1, 1, 2))
    return shard


def screened(shard, *verdicts):
    """Decide a chain of two under these verdicts; its statuses, and the verdicts that are kept."""

    def screen(work, now):
        work.verdicts[:] = verdicts

    shard.engine.decider.screen = screen
    decided = shard.decide(transfers(10, 100, 101, flag_bits=[TransferFlag.LINKED, 0]))
    block = list(shard.engine.parts.journal.read(0))[-1]
    return [status for _, status, _ in decided], block.details["verdict"][:-1].tolist()


def test_a_chain_of_which_one_is_reviewed_is_reviewed_as_a_whole(shard):
    statuses, kept = screened(shard, Verdict.ALLOW, Verdict.REVIEW)
    assert statuses == [CREATED, CREATED]
    assert kept == [Verdict.REVIEW, Verdict.REVIEW]


def test_a_refusal_stays_one_in_a_chain_under_review(shard):
    statuses, kept = screened(shard, Verdict.REFUSE, Verdict.REVIEW)
    assert statuses == [TransferStatus.REFUSED_BY_SCREENING, TransferStatus.LINKED_EVENT_FAILED]
    assert kept[0] == Verdict.REFUSE
