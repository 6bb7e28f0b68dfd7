import msgspec
import pytest

from tallystick.lab.bank_day import AGO, KINDS, BankDay
from tallystick.lab.plan import AMOUNT_REFUSED, Payment
from tallystick.records.commands import TransferFlag

DAY = BankDay(run=7, payments=20_000)
PLAIN = TransferFlag(0)


def story(day: BankDay = DAY) -> list[Payment]:
    return [day.payment(index) for index in range(day.payments)]


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    again = msgspec.structs.replace(DAY, people=DAY.people)
    assert story() == story(again)
    assert story(msgspec.structs.replace(DAY, seed=2)) != story()


def test_a_longer_day_begins_like_a_shorter_one() -> None:
    assert story(msgspec.structs.replace(DAY, payments=500)) == story()[:500]


def test_days_of_one_seed_differ_in_their_ids_only() -> None:
    other = story(msgspec.structs.replace(DAY, run=8))
    assert [each.amount for each in other] == [each.amount for each in story()]
    assert not {each.id for each in other} & {each.id for each in story()}


def test_everything_a_bank_sees_happens_and_each_kind_is_counted() -> None:
    kinds = DAY.kinds()
    assert tuple(kinds) == KINDS
    assert all(kinds.values())
    assert sum(kinds.values()) == DAY.payments


def test_a_card_is_reserved_and_cleared_for_all_or_a_part_once() -> None:
    cards = {each.id: each for each in story() if each.flags == TransferFlag.PENDING}
    resolved = [each for each in story() if each.pending_id]
    assert len({each.pending_id for each in resolved}) == len(resolved)
    posts = [each for each in resolved if each.flags == TransferFlag.POST_PENDING_TRANSFER]
    shares = [each.amount / cards[each.pending_id].amount for each in posts]
    assert all(0 < share <= 1 for share in shares)
    assert 0 < sum(share < 1 for share in shares) < len(shares)
    assert {each.flags for each in resolved} == {
        TransferFlag.POST_PENDING_TRANSFER,
        TransferFlag.VOID_PENDING_TRANSFER,
    }


def test_a_payment_that_builds_on_another_names_it() -> None:
    payments = story()
    for index, each in enumerate(payments):
        assert each.after < index
        if each.pending_id:
            assert payments[each.after].id == each.pending_id
            assert index - each.after >= AGO


@pytest.mark.parametrize("seed", range(5))
def test_nobody_but_those_who_mean_to_asks_for_more_than_they_have(seed: int) -> None:
    """In whatever order they are decided, as long as each comes after the one it builds on: so count what can go out
    of an account, all of it, against the salary that came before."""
    day = msgspec.structs.replace(DAY, seed=seed, payments=8000)
    salaries: dict[int, int] = {}
    spent: dict[int, int] = {}
    for each in story(day):
        if each.code == 10:
            salaries[each.credit_account_id] = each.amount
        elif each.debit_account_id in salaries and each.amount != AMOUNT_REFUSED:
            spent[each.debit_account_id] = spent.get(each.debit_account_id, 0) + each.amount
    assert all(amount <= salaries[person] for person, amount in spent.items())
    assert len(spent) > 100


def test_employers_alone_may_spend_what_they_have_not_got() -> None:
    unlimited = set(DAY.unlimited())
    assert unlimited < set(DAY.account_ids())
    assert {each.debit_account_id for each in story() if each.code == 10} == unlimited
