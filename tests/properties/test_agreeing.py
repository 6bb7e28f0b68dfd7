"""The judge of kernel and model: it finds what differs, and shortens the history to what can be read and run again."""

import pytest

from tallystick.ledger import kernel
from tallystick.records.commands import Kind
from tests.properties import agreeing
from tests.properties.random_requests import NOW, RandomRequests

HISTORY = [
    (
        NOW,
        [
            (Kind.ACCOUNT, 1, 1, 0, [{"id": at, "ledger": 1, "code": 1} for at in (1, 2)]),
            (
                Kind.TRANSFER,
                1,
                2,
                0,
                [{"id": 8, "debit_account_id": 1, "credit_account_id": 2, "amount": 5, "ledger": 1, "code": 1}],
            ),
        ],
    )
]


def forgetful(batch, books, outcome, first_seq, now, shard):
    """A kernel that forgets freezes."""
    books.rows["frozen"] = 0
    kernel.decide(batch, books, outcome, first_seq, now, shard)


@pytest.fixture
def broken(monkeypatch):
    """Every pair's engine forgets freezes."""
    whole = agreeing.pair

    def pair(**options):
        made = whole(**options)
        made.shard.decider.judge = forgetful
        return made

    monkeypatch.setattr(agreeing, "pair", pair)
    monkeypatch.setattr(agreeing, "SHORTENING_S", 20)


def test_a_history_told_can_be_run_again():
    both = agreeing.rerun(HISTORY)
    assert both.model.accounts[1, 2].credits_posted == 5
    assert both.model.transfers[1, 8].moved == 5


def test_what_differs_is_found_and_shortened(broken):
    with pytest.raises(AssertionError) as found:
        agreeing.run(RandomRequests(21).batches(12_000, 300), window_ids=500)
    (note,) = found.value.__notes__
    story = note.partition("\n")[2]
    assert story.count("Kind.") <= 12, "one account or two and a freeze tell it"
    assert "'opcode': 1" in story
    with pytest.raises(AssertionError):
        agreeing.rerun(eval(story, {"Kind": Kind}))  # it is our own repr
