"""Payments of several legs against a running instance: together or not at all, within limits, never reversed twice."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from tallystick import ids
from tallystick.client import (
    ApiProblem,
    AsyncClient,
    Client,
    Condition,
    Leg,
    Limit,
    NewPayment,
    Part,
    PaymentOutcome,
)
from tallystick.clock import system_entropy
from tallystick.gateway.payments import LEG_AT

LEDGER, CODE = 978, 1
LIMITED = "debits_must_not_exceed_credits"
Opened = Callable[..., str]


def key() -> str:
    return system_entropy(16).hex()


def payment(*legs: tuple[str, str, int], **changes: Any) -> NewPayment:
    return NewPayment(
        legs=[Leg(debit_account_id=debit, credit_account_id=credit, amount=amount) for debit, credit, amount in legs],
        ledger=LEDGER,
        code=CODE,
        **changes,
    )


def posted(client: Client, account_id: str) -> int:
    """Credits less debits."""
    account = client.find_account(account_id)
    assert account is not None
    return account.credits_posted - account.debits_posted


def pending(client: Client, account_id: str) -> int:
    account = client.find_account(account_id)
    assert account is not None
    return account.debits_pending


# Together or not at all


def test_legs_are_made_together_and_their_ids_derive_from_the_payments(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(LIMITED, funded=100), opened(LIMITED), opened()
    made = client.make_payment(payment((alice, shop, 100), (shop, fees, 3), user_data_64=77))
    assert (made.status, made.done, made.id) == ("created", True, made.request_id)
    assert [each.status for each in made.legs] == ["created", "created"]
    assert made.timestamp == made.legs[-1].timestamp
    assert [posted(client, each) for each in (alice, shop, fees)] == [0, 97, 3]
    assert [each.id for each in made.legs] == [ids.show(ids.derived(int(made.id, 16), LEG_AT + n)) for n in (0, 1)]
    for transfer in client.find_transfers([each.id for each in made.legs]):
        assert (transfer.user_data_128, transfer.user_data_64) == (made.id, 77)


def test_a_leg_that_is_refused_leaves_nothing_of_the_payment(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(LIMITED, funded=100), opened(LIMITED), opened()
    refused = client.make_payment(payment((alice, shop, 1), (shop, fees, 3)))
    assert (refused.status, refused.done, refused.transient, refused.field) == (
        "exceeds_credits", False, True, "legs[1]",
    )  # fmt: skip
    assert [each.status for each in refused.legs] == ["linked_event_failed", "exceeds_credits"]
    assert [posted(client, each) for each in (alice, shop, fees)] == [100, 0, 0]
    assert client.find_payment(refused.id) is None


def test_the_same_request_gets_the_same_answer(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED, funded=100), opened()
    for amount in (60, 99):  # created, refused
        order = key()
        first = client.make_payment(payment((alice, shop, amount)), key=order)
        again = client.make_payment(payment((alice, shop, amount)), key=order)
        assert (again.replayed, again.status, again.timestamp) == (True, first.status, first.timestamp)
        assert [each.id for each in again.legs] == [each.id for each in first.legs]
        with pytest.raises(ApiProblem, match="idempotency_key_reused"):
            client.make_payment(payment((alice, shop, 1)), key=order)
    assert posted(client, shop) == 60


def test_a_payment_of_an_id_is_made_once(client: Client, opened: Opened) -> None:
    alice, shop, own = opened(), opened(), key()
    assert client.make_payment(payment((alice, shop, 1), (alice, shop, 2), id=own)).id == own
    second = client.make_payment(payment((alice, shop, 1), (alice, shop, 2), id=own))
    assert (second.status, second.field) == ("exists", "legs[0]")
    assert posted(client, shop) == 3


def test_a_payment_shows_what_was_made(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    made = client.make_payment(payment((alice, shop, 5), value_date="2026-11-30", booking_date="2026-11-27"))
    found = client.find_payment(made.id)
    assert found is not None
    assert (found.value_date, found.booking_date, found.reversals) == ("2026-11-30", "2026-11-27", [])
    (leg,) = found.legs
    assert (leg.debit_account_id, leg.credit_account_id, leg.amount, leg.pending, leg.reversed) == (
        alice, shop, 5, False, 0,
    )  # fmt: skip
    undated = client.find_payment(client.make_payment(payment((alice, shop, 5))).id)
    assert undated is not None
    assert (undated.value_date, undated.booking_date) == ("", "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"value_date": "2026-02-30"}, "value_date"),
        ({"value_date": "20261130"}, "value_date"),
        ({"booking_date": "1970-01-01"}, "booking_date"),
        ({"booking_date": "2149-06-07"}, "booking_date"),
        ({"timeout": 5}, "timeout"),
        ({"legs": []}, "legs"),
        ({"id": "0" * 32}, "id"),
        ({"conditions": [Condition(account_id="9" * 32, counter_account_id="8" * 32, available_min=1)]},
         "conditions[0].account_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_told_by_name(
    client: Client, opened: Opened, changes: dict[str, Any], field: str
) -> None:
    asked = msgspec.structs.replace(payment((opened(), opened(), 1)), **changes)
    with pytest.raises(ApiProblem) as told:
        client.make_payment(asked)
    assert (told.value.http, told.value.type, told.value.field) == (400, "invalid_field", field)


def test_a_payment_that_was_never_made_cannot_be_referred_to(client: Client) -> None:
    assert client.find_payment(key()) is None
    for ask in (client.post_payment, client.void_payment, client.reverse_payment):
        with pytest.raises(ApiProblem, match="not_found"):
            ask(key())


# Pending, posted, voided


def test_a_pending_payment_is_posted_in_part_and_the_rest_is_given_back(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(LIMITED, funded=100), opened(), opened()
    reserved = client.make_payment(payment((alice, shop, 80), (alice, fees, 5), pending=True, timeout=600))
    assert (reserved.done, pending(client, alice), posted(client, shop)) == (True, 85, 0)
    posting = client.post_payment(reserved.id, [Part(leg=0, amount=50), Part(leg=1)])
    assert (posting.done, [each.status for each in posting.legs]) == (True, ["created", "created"])
    assert (pending(client, alice), posted(client, alice), posted(client, shop), posted(client, fees)) == (0, 45, 50, 5)
    assert client.post_payment(reserved.id).status == "pending_transfer_already_posted"
    assert client.void_payment(reserved.id).status == "pending_transfer_already_posted"
    story = client.find_transfers([each.id for each in (*reserved.legs, *posting.legs)])
    assert {each.user_data_128 for each in story} == {reserved.id}


def test_legs_may_be_posted_one_after_the_other(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(LIMITED, funded=100), opened(), opened()
    reserved = client.make_payment(payment((alice, shop, 80), (alice, fees, 5), pending=True))
    assert client.post_payment(reserved.id, [Part(leg=1)]).done
    assert pending(client, alice) == 80
    assert client.post_payment(reserved.id, [Part(leg=0, amount=81)]).status == "exceeds_pending_transfer_amount"
    assert client.post_payment(reserved.id, [Part(leg=0)]).done
    assert (pending(client, alice), posted(client, shop)) == (0, 80)


def test_a_void_gives_all_back_even_from_a_frozen_account(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED, funded=100), opened()
    reserved = client.make_payment(payment((alice, shop, 60), (alice, shop, 40), pending=True))
    assert client.freeze(alice, reason=1, actor=key()).done
    assert client.void_payment(reserved.id).done
    assert (pending(client, alice), posted(client, alice)) == (0, 100)


@pytest.mark.parametrize(
    ("parts", "field"),
    [([Part(leg=2)], "legs[0].leg"), ([Part(leg=0), Part(leg=0)], "legs[1].leg"), ([], "legs")],
)
def test_parts_name_legs_that_there_are(client: Client, opened: Opened, parts: list[Part], field: str) -> None:
    alice, shop = opened(), opened()
    reserved = client.make_payment(payment((alice, shop, 1), (alice, shop, 1), pending=True))
    with pytest.raises(ApiProblem) as told:
        client.post_payment(reserved.id, parts)
    assert told.value.field == field


# Reversed


def test_a_payment_is_reversed_whole_once(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(LIMITED, funded=100), opened(LIMITED), opened()
    made = client.make_payment(payment((alice, shop, 100), (shop, fees, 3), value_date="2026-11-30"))
    order = key()
    back = client.reverse_payment(made.id, key=order)
    assert (back.done, back.id, len(back.legs)) == (True, order, 2)
    assert [posted(client, each) for each in (alice, shop, fees)] == [100, 0, 0]
    assert client.reverse_payment(made.id, key=order).replayed
    with pytest.raises(ApiProblem, match="nothing left to reverse"):
        client.reverse_payment(made.id)
    again = client.reverse_payment(made.id, number=1)
    assert not again.done
    found = client.find_payment(made.id)
    assert found is not None
    assert [each.reversed for each in found.legs] == [100, 3]
    assert [(each.number, each.id) for each in found.reversals] == [(1, order)]
    assert {each.user_data_128 for each in client.find_transfers([leg.id for leg in back.legs])} == {made.id}


def test_a_payment_is_reversed_in_parts_and_never_beyond_what_it_was(client: Client, opened: Opened) -> None:
    alice, shop, fees = opened(), opened(), opened()
    made = client.make_payment(payment((alice, shop, 100), (shop, fees, 3)))
    assert client.reverse_payment(made.id, [Part(leg=0, amount=30)]).done
    with pytest.raises(ApiProblem, match="more than the 70 that is left of leg 0") as told:
        client.reverse_payment(made.id, [Part(leg=0, amount=71)])
    assert told.value.field == "legs[0].amount"
    assert client.reverse_payment(made.id, [Part(leg=0, amount=70)]).done
    assert client.reverse_payment(made.id).done  # the fee, which is all that is left
    assert [posted(client, each) for each in (alice, shop, fees)] == [0, 0, 0]
    with pytest.raises(ApiProblem, match="number is too high: this payment has had 3 reversals"):
        client.reverse_payment(made.id, number=5)


def test_a_refused_reversal_uses_up_nothing(client: Client, opened: Opened) -> None:
    alice, shop, world = opened(), opened(LIMITED), opened()
    made = client.make_payment(payment((alice, shop, 100)))
    assert client.pay(shop, world, 50, ledger=LEDGER, code=CODE).done
    order = key()
    refused = client.reverse_payment(made.id, number=1, key=order)
    assert (refused.status, refused.field) == ("exceeds_credits", "legs[0]")
    assert client.pay(world, shop, 50, ledger=LEDGER, code=CODE).done
    assert client.reverse_payment(made.id, number=1, key=order).status == "exceeds_credits"  # as it was decided
    assert client.reverse_payment(made.id, number=1).done
    assert posted(client, shop) == 0


def test_of_a_pending_payment_a_posting_is_reversed(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED, funded=100), opened()
    reserved = client.make_payment(payment((alice, shop, 80), (alice, shop, 20), pending=True))
    with pytest.raises(ApiProblem, match="posting_id is missing"):
        client.reverse_payment(reserved.id)
    with pytest.raises(ApiProblem, match="no posting of this payment"):
        client.reverse_payment(reserved.id, posting_id=key())
    posting = client.post_payment(reserved.id, [Part(leg=0, amount=50)])
    with pytest.raises(ApiProblem, match="more than the 50"):
        client.reverse_payment(reserved.id, [Part(leg=0, amount=51)], posting_id=posting.id)
    assert client.reverse_payment(reserved.id, posting_id=posting.id).done
    assert (posted(client, alice), posted(client, shop), pending(client, alice)) == (100, 0, 20)


def test_reversals_at_the_same_time_never_take_back_more_than_was_paid(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    made = client.make_payment(payment((alice, shop, 100), (alice, shop, 7)))

    def reverse(amount: int) -> PaymentOutcome | ApiProblem:
        try:
            return client.reverse_payment(made.id, [Part(leg=0, amount=amount), Part(leg=1, amount=1)])
        except ApiProblem as problem:
            return problem

    amounts = [30, 41, 8, 19, 55, 2, 30, 30, 13, 77, 5, 5, 99, 1, 60, 40]
    with ThreadPoolExecutor(16) as threads:
        told = list(threads.map(reverse, amounts))
    done = [
        amount for amount, each in zip(amounts, told, strict=True) if isinstance(each, PaymentOutcome) and each.done
    ]
    refused = [each for each in told if isinstance(each, PaymentOutcome) and not each.done]
    assert 1 <= sum(done) <= 100
    assert {each.field for each in refused} <= {"number"}
    assert posted(client, shop) == 107 - sum(done) - len(done)
    found = client.find_payment(made.id)
    assert found is not None
    assert [each.reversed for each in found.legs] == [sum(done), len(done)]
    assert [each.number for each in found.reversals] == list(range(1, len(done) + 1))


def test_of_reversals_with_one_number_one_is_done(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    made = client.make_payment(payment((alice, shop, 100)))
    with ThreadPoolExecutor(12) as threads:
        told = list(
            threads.map(lambda _: client.reverse_payment(made.id, [Part(leg=0, amount=60)], number=1), range(12))
        )
    assert sum(each.done for each in told) == 1
    assert {each.field for each in told} == {"", "number"}
    assert posted(client, shop) == 40


# Limits and conditions


@pytest.fixture
def limit(client: Client, opened: Opened) -> Callable[[int], str]:
    """Opens a limit account of so much."""

    def open_limit(most: int) -> str:
        account = opened(LIMITED)
        assert client.set_credit_limit(account, most, reason=1, actor=key()).done
        return account

    return open_limit


def test_a_rolling_limit_counts_what_was_paid_lately(
    client: Client, opened: Opened, limit: Callable[[int], str]
) -> None:
    alice, shop, counter, daily = opened(), opened(), opened(), limit(100)

    def pay(amount: int, window: int = 86_400) -> PaymentOutcome:
        within = [Limit(account_id=daily, counter_account_id=counter, amount=amount, window=window)]
        return client.make_payment(payment((alice, shop, amount), limits=within))

    assert pay(60).done
    refused = pay(41)
    assert (refused.status, refused.field, posted(client, shop)) == ("exceeds_credits", "limits[0]", 60)
    assert pay(40, window=1).done
    assert pay(1).field == "limits[0]"
    until_s = time.monotonic() + 20
    while pending(client, daily) == 100 and time.monotonic() < until_s:
        pass  # a second later the 40 no longer count
    assert pay(40).done
    assert client.set_credit_limit(daily, 110, reason=1, actor=key()).done
    assert pay(10).done
    assert posted(client, shop) == 150


def test_a_limit_holds_for_payments_made_at_the_same_time(
    instance: Any, client: Client, opened: Opened, limit: Callable[[int], str]
) -> None:
    alice, shop, counter, daily = opened(), opened(), opened(), limit(100)
    within = [Limit(account_id=daily, counter_account_id=counter, amount=30, window=86_400)]

    async def pay() -> list[PaymentOutcome]:
        async with AsyncClient(instance.url, instance.key) as many:
            calls = (many.make_payment(payment((alice, shop, 30), limits=within)) for _ in range(20))
            return await asyncio.gather(*calls)

    assert sum(each.done for each in asyncio.run(pay())) == 3
    assert posted(client, shop) == 90


def test_a_limit_of_a_single_payment_uses_nothing_up(
    client: Client, opened: Opened, limit: Callable[[int], str]
) -> None:
    alice, shop, counter, most = opened(), opened(), opened(), limit(50)
    for amount in (50, 50, 51):
        within = [Limit(account_id=most, counter_account_id=counter, amount=amount)]
        made = client.make_payment(payment((alice, shop, amount), limits=within))
        assert (made.done, made.field) == ((True, "") if amount == 50 else (False, "limits[0]"))


def test_a_condition_asks_what_is_available_before_the_payment(client: Client, opened: Opened) -> None:
    alice, shop, counter = opened(LIMITED, funded=100), opened(), opened()
    for least, done in ((101, False), (100, True), (100, False), (90, True)):
        only_if = [Condition(account_id=alice, counter_account_id=counter, available_min=least)]
        made = client.make_payment(payment((alice, shop, 10), conditions=only_if))
        assert (made.done, made.field) == ((True, "") if done else (False, "conditions[0]"))
    assert (posted(client, alice), posted(client, counter)) == (80, 0)


def test_an_account_without_limit_is_none_to_rely_on(client: Client, opened: Opened) -> None:
    alice, shop, counter = opened(), opened(), opened()
    within = [Limit(account_id=alice, counter_account_id=counter, amount=1)]
    with pytest.raises(ApiProblem) as told:
        client.make_payment(payment((alice, shop, 1), limits=within))
    assert told.value.field == "limits[0].account_id"
