"""The reader of scenario tables: what it refuses to read, and that a table which is not true fails."""

import pytest

from tallystick.errors import Invalid
from tallystick.lab import scenarios
from tallystick.lab.scenarios import check
from tallystick.ledger import kernel

TRUE = """
    open      world  overdraft
    open      alice
    transfer  t1  world alice 5
"""


@pytest.mark.parametrize(
    "row",
    [
        "open world overdraft code=2",
        "transfer t1 world alice 5",
        "transfer t2 world alice 5 -> exceeds_credits",
        "transfer t2 alice world 6",
        "balance alice posted 4",
        "balance alice frozen both",
        "balance bob posted 0",
        "account alice nothing",
        "lookup t1 nothing",
        "lookup t1 amount 4",
        "lookup t2 amount 5",
        "lookup t1 debit alice",
        "balance alice closed yes",
        "balance alice credits_pending 1",
        "post t2 t1",
        "transfer t2 world alice 5 reviewed\napprove t1",
        "chain r\ntransfer t2 world alice 5\ntransfer t3 alice world 50 -> exceeds_credits\nend",
        "request r\ntransfer t1 world alice 5 -> exists\nend\nrequest r\ntransfer t1 world alice 5 -> exists\nend",
        "request r -> replayed\ntransfer t3 world alice 5\nend",
        "request r -> idempotency_key_reused\ntransfer t3 world alice 5\nend",
    ],
)
def test_what_does_not_come_true_fails(row):
    with pytest.raises(AssertionError, match="line "):
        check(TRUE + row)


@pytest.mark.parametrize(
    "row",
    [
        "pay t2 world alice 5",
        "-> created",
        "transfer t2 world",
        "transfer t2 world alice five",
        "transfer t2 world alice 2^128",
        "transfer t2 world alice -1",
        "transfer t2 world alice 5 quickly",
        "transfer t2 world alice 5 colour=3",
        "transfer t2 world alice 5 -> refused",
        "freeze alice debit",
        "advance soon",
        "request r",
        "request r\nend",
        "end",
        "request r\nopen bob\ntransfer t2 world alice 5\nend",
        "request r\nrequest s",
        "request r -> created\nopen bob\nend",
        "request r slowly\nopen bob\nend",
        "balance alice colour 3",
        "balance alice posted",
        "account alice 5",
        "lookup t1 exists",
        "lookup t1 colour 5",
        "post t2",
        "post t2 t1 5 quickly",
        "void t2 t1 at=soon",
        "approve",
        "limit alice",
        "transfer t2 world alice 5 pending timeout=soon",
        "transfer t2 world alice 5 linked reviewed=1",
        "freeze alice reviewed=1",
        "advance until t1 expires",
        "advance until nothing expires",
        "balance alice closed perhaps",
        "set_balances nobody credits_posted=1",
        "set_balances alice colour=1",
        "chain",
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(row):
    with pytest.raises(Invalid, match="line "):
        check(TRUE + row)


def test_a_ledger_that_says_another_time_than_its_model_is_found(monkeypatch):
    def late(batch, books, outcome, first_seq, now, shard):
        kernel.decide(batch, books, outcome, first_seq, now + now.dtype.type(1), shard)

    shard = scenarios.Shard

    class Late(shard):
        def restart(self):
            super().restart()
            self.decider.judge = late

    monkeypatch.setattr(scenarios, "Shard", Late)
    with pytest.raises(AssertionError, match="its model"):
        check(TRUE)


def test_a_table_says_which_statuses_it_reached():
    assert {name for _, name in check(TRUE + "freeze nobody -> account_not_found")} == {"created", "account_not_found"}
