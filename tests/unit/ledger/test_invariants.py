"""A block that breaks a promise is never journaled: each `Violation`, by an outcome made wrong on purpose."""

import numpy as np
import pytest

from tallystick.errors import Violated
from tallystick.lab.shard import Shard
from tallystick.ledger import kernel
from tallystick.ledger.books import NO_ROW, Counter
from tallystick.ledger.invariants import Violation, require
from tallystick.records.commands import Kind, Opcode
from tests.properties.random_requests import NOW
from tests.unit.ledger.test_boundaries import ACCOUNT, CONTROL, TRANSFER, request

WORLD, ALICE, EURO, THIRD = range(4)  # their rows


@pytest.fixture
def shard():
    """Accounts 1 to 4; account 3 has another ledger."""
    made = Shard()
    accounts = [{**ACCOUNT, "id": at + 1, "ledger": 2 if at == EURO else 1} for at in range(4)]
    made.decide([request(Kind.ACCOUNT, accounts, 1)], NOW)
    made.decide([request(Kind.TRANSFER, [{**TRANSFER, "id": 1, "amount": 100}], 2)], NOW + 100)
    return made


def decide_wrongly(shard, change, kind=Kind.TRANSFER, events=None, now=NOW + 1000):
    """Decide two payments of 3, then let `change(outcome, books)` spoil what came out."""

    def judge(batch, books, outcome, first_seq, now, shard_number):
        kernel.decide(batch, books, outcome, first_seq, now, shard_number)
        change(outcome, books)

    shard.decider.judge = judge
    events = events or [{**TRANSFER, "id": 10}, {**TRANSFER, "id": 11}]
    return shard.decide([request(kind, events, 9)], now)


def spoil(name, value):
    """Give the first entry another value."""
    return lambda outcome, books: outcome.transfers[name].__setitem__(0, value)


def row_is(row, **values):
    def change(outcome, books):
        for name, value in values.items():
            books.rows[name][row] = value

    return change


def moved(place, row):
    return lambda outcome, books: outcome.rows.__setitem__((0, place), row)


def with_touched(**values):
    def change(outcome, books):
        for name, value in values.items():
            books.touched[name][: int(books.counters[Counter.TOUCHED])] = value

    return change


def noted(more):
    return lambda outcome, books: books.counters.__setitem__(
        Counter.TRANSFER_IDS, np.uint64(int(books.counters[Counter.TRANSFER_IDS]) + more)
    )


WRONG = {
    "the first entry is as old as the last of the block before": (
        Violation.TIMESTAMPS_NOT_INCREASING,
        spoil("timestamp", NOW + 100),
    ),
    "two entries have one timestamp": (Violation.TIMESTAMPS_NOT_INCREASING, spoil("timestamp", NOW + 1001)),
    "the debited row is another account's": (Violation.WRONG_ACCOUNT, moved(0, THIRD)),
    "the credited row is another account's": (Violation.WRONG_ACCOUNT, moved(1, THIRD)),
    "nothing is said to be debited": (Violation.WRONG_ACCOUNT, moved(0, NO_ROW)),
    "nothing is said to be credited": (Violation.WRONG_ACCOUNT, moved(1, NO_ROW)),
    "an account pays itself": (Violation.WRONG_ACCOUNT, moved(1, WORLD)),
    "the upper half of the debited id differs": (Violation.WRONG_ACCOUNT, spoil("debit_account_id_hi", 1)),
    "the upper half of the credited id differs": (Violation.WRONG_ACCOUNT, spoil("credit_account_id_hi", 1)),
    "another tenant's account is debited": (Violation.WRONG_ACCOUNT, row_is(WORLD, tenant=2)),
    "another tenant's account is credited": (Violation.WRONG_ACCOUNT, row_is(ALICE, tenant=2)),
    "the entry names another ledger": (Violation.LEDGERS_MIXED, spoil("ledger", 2)),
    "money leaves its ledger": (Violation.LEDGERS_MIXED, row_is(ALICE, ledger=2)),
    "the entry says one unit less moved": (Violation.BALANCE_IS_NOT_THE_SUM, spoil("moved_lo", 2)),
    "the entry says 2^64 more moved": (Violation.BALANCE_IS_NOT_THE_SUM, spoil("moved_hi", 1)),
    "the debits are one unit short": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(WORLD, debits_posted_lo=105)),
    "the debits are 2^64 too many": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(WORLD, debits_posted_hi=1)),
    "the credits are one unit short": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(ALICE, credits_posted_lo=105)),
    "the credits are 2^64 too many": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(ALICE, credits_posted_hi=1)),
    "a debit is credited": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(WORLD, credits_posted_lo=3)),
    "a moved row was never touched": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(ALICE, touched=0)),
    "debits pass credits where they must not": (Violation.DEBITS_EXCEED_CREDITS, row_is(WORLD, flag_bits=2)),
    "debits pass credits and the limit by one": (
        Violation.DEBITS_EXCEED_CREDITS,
        lambda outcome, books: (
            row_is(WORLD, flag_bits=2)(outcome, books),
            with_touched(credit_limit_max_lo=105)(outcome, books),
        ),
    ),
    "credits pass debits where they must not": (Violation.CREDITS_EXCEED_DEBITS, row_is(ALICE, flag_bits=4)),
    "a frozen account is debited": (Violation.FROZEN_ACCOUNT_MOVED, with_touched(barred_throughout=1)),
    "a frozen account is credited": (Violation.FROZEN_ACCOUNT_MOVED, with_touched(barred_throughout=2)),
    "a closed account is debited": (Violation.CLOSED_ACCOUNT_MOVED, with_touched(barred_throughout=4)),
    "a closed account is credited": (Violation.CLOSED_ACCOUNT_MOVED, with_touched(barred_throughout=4)),
    "an id is not remembered": (Violation.IDS_NOT_NOTED, noted(-1)),
    "an id is remembered twice": (Violation.IDS_NOT_NOTED, noted(1)),
    "a refused payment says that something moved": (Violation.REFUSED_BUT_MOVED, spoil("status", 54)),
    "debits are pending that no entry tells of": (Violation.BALANCE_IS_NOT_THE_SUM, row_is(WORLD, debits_pending_lo=1)),
    "credits are pending that no entry tells of": (
        Violation.BALANCE_IS_NOT_THE_SUM,
        row_is(ALICE, credits_pending_hi=1),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_block_that_breaks_a_promise_is_not_journaled(shard, wrong):
    violation, change = WRONG[wrong]
    end = shard.journal.end()
    with pytest.raises(Violated, match=violation.name.lower()):
        decide_wrongly(shard, change)
    assert shard.journal.end() == end


RESERVE = {**TRANSFER, "id": 10, "flag_bits": 2, "timeout": 1}
ASIDE = {"debit_account_id": 0, "credit_account_id": 0, "ledger": 0, "code": 0, "pending_id": 10}
POST = {**TRANSFER, **ASIDE, "id": 11, "amount": 2, "flag_bits": 4}
VOID = {**TRANSFER, **ASIDE, "id": 11, "amount": 0, "flag_bits": 8}


def pending_is(**values):
    def change(outcome, books):
        for name, value in values.items():
            books.pendings[name][0] = value

    return change


def second(name, value):
    """Give the second entry another value."""
    return lambda outcome, books: outcome.transfers[name].__setitem__(1, value)


WRONG_OF_PENDING = {
    "the reservation has no row": ([RESERVE], Violation.WRONG_PENDING_TRANSFER, moved(2, NO_ROW)),
    "the row is another transfer's": ([RESERVE], Violation.WRONG_PENDING_TRANSFER, pending_is(id_lo=9)),
    "the row is an older one's": ([RESERVE], Violation.WRONG_PENDING_TRANSFER, pending_is(seq=1)),
    "the row is another tenant's": ([RESERVE], Violation.WRONG_ACCOUNT, pending_is(tenant=2)),
    "the row names another account to debit": ([RESERVE], Violation.WRONG_ACCOUNT, pending_is(debit_row=THIRD)),
    "the row names another account to credit": ([RESERVE], Violation.WRONG_ACCOUNT, pending_is(credit_row=THIRD)),
    "the row has another ledger": ([RESERVE], Violation.LEDGERS_MIXED, pending_is(ledger=2)),
    "one unit more is reserved than said": ([RESERVE], Violation.BALANCE_IS_NOT_THE_SUM, pending_is(amount_lo=4)),
    "no debit is pending": ([RESERVE], Violation.BALANCE_IS_NOT_THE_SUM, row_is(WORLD, debits_pending_lo=0)),
    "no credit is pending": ([RESERVE], Violation.BALANCE_IS_NOT_THE_SUM, row_is(ALICE, credits_pending_lo=0)),
    "pending debits pass credits": ([RESERVE], Violation.DEBITS_EXCEED_CREDITS, row_is(WORLD, flag_bits=2)),
    "pending credits pass debits": ([RESERVE], Violation.CREDITS_EXCEED_DEBITS, row_is(ALICE, flag_bits=4)),
    "money of a frozen account is reserved": (
        [RESERVE],
        Violation.FROZEN_ACCOUNT_MOVED,
        with_touched(barred_throughout=1),
    ),
    "more is posted than was reserved": (
        [RESERVE, POST],
        Violation.POSTED_MORE_THAN_RESERVED,
        second("moved_lo", 4),
    ),
    "less is posted than said": ([RESERVE, POST], Violation.BALANCE_IS_NOT_THE_SUM, second("moved_lo", 1)),
    "a post is of another transfer": ([RESERVE, POST], Violation.WRONG_PENDING_TRANSFER, second("pending_id_lo", 9)),
    "a post leaves it as voided": ([RESERVE, POST], Violation.WRONG_PENDING_TRANSFER, pending_is(ending=3)),
    "a frozen account's money is posted": (
        [RESERVE, POST],
        Violation.FROZEN_ACCOUNT_MOVED,
        with_touched(barred_throughout=2),
    ),
    "a void leaves it open": ([RESERVE, VOID], Violation.WRONG_PENDING_TRANSFER, pending_is(ending=1)),
    "a void gives back less": ([RESERVE, VOID], Violation.BALANCE_IS_NOT_THE_SUM, second("moved_lo", 2)),
    "a void leaves debits pending": (
        [RESERVE, VOID],
        Violation.BALANCE_IS_NOT_THE_SUM,
        row_is(WORLD, debits_pending_lo=3),
    ),
}


@pytest.mark.parametrize("wrong", WRONG_OF_PENDING)
def test_a_block_that_breaks_a_promise_about_pending_transfers_is_not_journaled(shard, wrong):
    events, violation, change = WRONG_OF_PENDING[wrong]
    with pytest.raises(Violated, match=violation.name.lower()):
        decide_wrongly(shard, change, events=events)


@pytest.mark.parametrize("expires_at", [0, NOW + 2_000_000_001])
def test_what_expires_too_soon_is_not_journaled(shard, expires_at):
    shard.decide([request(Kind.TRANSFER, [RESERVE], 7)], NOW + 500)
    with pytest.raises(Violated, match="expired_too_soon"):
        decide_wrongly(
            shard, pending_is(expires_at=expires_at), events=[TRANSFER | {"id": 12}], now=NOW + 2_000_000_000
        )


def test_an_approval_in_the_block_that_posts_it_is_no_violation(shard):
    shard.decider.screen = lambda work, now: work.verdicts.fill(1)
    shard.decide([request(Kind.TRANSFER, [RESERVE], 7)], NOW + 500)
    shard.decider.screen = lambda work, now: None
    together = [
        request(Kind.CONTROL, [{**CONTROL, "account_id": 0, "opcode": Opcode.APPROVE, "value": 10}], 8),
        request(Kind.TRANSFER, [POST], 9),
    ]
    assert {status for _, status, _ in shard.decide(together, NOW + 600)} == {kernel.CREATED}


def test_every_violation_is_brought_about():
    found = {violation for violation, _ in WRONG.values()} | {
        violation for _, violation, _ in WRONG_OF_PENDING.values()
    }
    assert found | {Violation.NONE, Violation.EXPIRED_TOO_SOON} == set(Violation)


@pytest.mark.parametrize("place", [0, 1])
def test_a_failed_id_must_be_remembered_too(shard, place):
    events = [{**TRANSFER, "id": 20}, {**TRANSFER, "id": 21}]
    events[place]["debit_account_id"] = 999
    with pytest.raises(Violated, match="ids_not_noted"):
        decide_wrongly(shard, noted(-1), events=events)


def test_debits_up_to_the_highest_limit_of_the_block_are_no_violation(shard):
    def change(outcome, books):
        row_is(WORLD, flag_bits=2)(outcome, books)
        with_touched(credit_limit_max_lo=106)(outcome, books)

    assert [status for _, status, _ in decide_wrongly(shard, change)] == [kernel.CREATED] * 2


def test_what_is_right_passes_and_leaves_no_marks(shard):
    assert [status for _, status, _ in decide_wrongly(shard, lambda outcome, books: None)] == [kernel.CREATED] * 2
    assert not shard.decider.bookkeeper.books.rows["touched"].any()


def test_a_limit_lowered_after_a_debit_in_the_same_block_is_no_violation(shard):
    pay = {**TRANSFER, "debit_account_id": 4, "credit_account_id": 2}
    shard.decide([request(Kind.ACCOUNT, [{**ACCOUNT, "id": 7, "flag_bits": 2}], 20)], NOW + 200)
    limits = [{**CONTROL, "account_id": 7, "opcode": Opcode.CREDIT_LIMIT, "value": value} for value in (50, 0)]
    together = [
        request(Kind.CONTROL, limits[:1], 21),
        request(Kind.TRANSFER, [{**pay, "id": 30, "debit_account_id": 7, "amount": 50}], 22),
        request(Kind.CONTROL, limits[1:], 23),
        request(Kind.CONTROL, [{**CONTROL, "account_id": 7}], 24),
    ]
    assert {status for _, status, _ in shard.decide(together, NOW + 300)} == {kernel.CREATED}


def test_no_violation_is_no_error():
    require(Violation.NONE, 5)
    with pytest.raises(Violated, match="from seq 5: wrong_account"):
        require(Violation.WRONG_ACCOUNT, 5)
