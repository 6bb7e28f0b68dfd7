import msgspec
import pytest

from tallystick.lab.plan import AMOUNT_REFUSED, Plan


def plan(**changes: int) -> Plan:
    return msgspec.structs.replace(Plan(run=7, accounts=10, payments=1000), **changes)


@pytest.mark.parametrize("accounts", [2, 3, 10, 7919])
def test_every_payment_goes_between_two_different_accounts_of_the_plan(accounts: int) -> None:
    some = plan(accounts=accounts)
    known = {some.account_id(number) for number in range(accounts)}
    for index in range(1000):
        payment = some.payment(index)
        assert payment.debit_account_id != payment.credit_account_id
        assert {payment.debit_account_id, payment.credit_account_id} <= known


def test_no_two_payments_and_no_account_share_an_id() -> None:
    some, other = plan(), plan(run=8)
    ids = [each.payment(index).id for each in (some, other) for index in range(1000)]
    ids += [each.account_id(number) for each in (some, other) for number in range(10)]
    assert len(set(ids)) == len(ids)


def test_one_payment_in_fifty_asks_for_too_much_unless_none_should() -> None:
    amounts = [plan().payment(index).amount for index in range(1000)]
    assert amounts.count(AMOUNT_REFUSED) == 20
    assert all(0 < amount < 100 for amount in amounts if amount != AMOUNT_REFUSED)
    assert AMOUNT_REFUSED not in [plan(refused_every=0).payment(index).amount for index in range(1000)]


def test_a_plan_can_use_the_accounts_of_another() -> None:
    assert plan(run=9, accounts_run=7).account_id(3) == plan().account_id(3)
    assert plan(run=9, accounts_run=7).payment(0).id == plan(run=9).payment(0).id
