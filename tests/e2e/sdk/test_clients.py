"""Both clients against a running instance: gateway, intake, engine and journal are real processes and files."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tallystick.client import (
    ApiProblem,
    AsyncClient,
    Client,
    Invalid,
    NewTransfer,
    Outcome,
    OutcomeUnknown,
    StillUnknown,
    TransferFilter,
    Unavailable,
)
from tallystick.client.reading import ListedTransfer
from tallystick.clock import system_entropy
from tallystick.lab import bench_sdk, journal_check
from tallystick.lab.instance import Instance

LEDGER, CODE = 978, 1
LIMITED = "debits_must_not_exceed_credits"
Opened = Callable[..., str]
Make = Callable[..., AsyncClient]


def key() -> str:
    return system_entropy(16).hex()


def test_a_payment_moves_money_and_a_refusal_is_a_value(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED, funded=100), opened()
    paid = client.pay(alice, shop, 60, ledger=LEDGER, code=CODE)
    assert (paid.status, paid.done, paid.replayed) == ("created", True, False)
    refused = client.pay(alice, shop, 60, ledger=LEDGER, code=CODE)
    assert (refused.status, refused.done, refused.transient) == ("exceeds_credits", False, True)
    account = client.find_account(alice)
    assert account is not None
    assert (account.available, account.debits_posted) == (40, 60)
    transfer = client.find_transfer(paid.id)
    assert transfer is not None
    assert (transfer.amount, transfer.timestamp) == (60, paid.timestamp)
    assert client.find_transfer(refused.id) is None
    assert client.find_account(key()) is None


def test_the_same_key_gets_the_first_result_and_other_content_is_objected_to(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    for order in (key(), "order 17 of 2026", "Überweisung 4"):
        first = client.pay(alice, shop, 5, ledger=LEDGER, code=CODE, key=order)
        again = client.pay(alice, shop, 5, ledger=LEDGER, code=CODE, key=order)
        assert (again.replayed, again.timestamp, again.id) == (True, first.timestamp, first.id)
        with pytest.raises(ApiProblem) as told:
            client.pay(alice, shop, 6, ledger=LEDGER, code=CODE, key=order)
        assert told.value.type == "idempotency_key_reused"


def test_what_the_gateway_objects_to_names_the_field(client: Client, instance: Instance, opened: Opened) -> None:
    alice = opened()
    with pytest.raises(ApiProblem) as told:
        client.pay(alice, alice, 1, ledger=2**40, code=CODE)
    assert (told.value.http, told.value.type, told.value.field) == (400, "invalid_field", "ledger")
    for amount in (1.0, -1, True, 2**128):
        with pytest.raises(Invalid, match="amount"):
            client.pay(alice, alice, amount, ledger=LEDGER, code=CODE)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="debit_account_id"):
        client.pay("alice", alice, 1, ledger=LEDGER, code=CODE)
    with pytest.raises(Invalid, match="key"):
        client.pay(alice, alice, 1, ledger=LEDGER, code=CODE, key="")
    with Client(instance.url, "sk_wrong") as stranger, pytest.raises(ApiProblem) as told:
        stranger.find_account(alice)
    assert (told.value.http, told.value.type) == (401, "unauthenticated")


def test_what_people_do_to_an_account(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED), opened()
    assert client.set_credit_limit(alice, 50, reason=1, actor=key()).done
    assert client.freeze(alice, side="debits", reason=2, actor=key()).status == "applied"
    assert client.pay(alice, shop, 50, ledger=LEDGER, code=CODE).status == "debit_account_frozen"
    assert client.unfreeze(alice, reason=2, actor=key()).id == alice
    assert client.pay(alice, shop, 50, ledger=LEDGER, code=CODE).done
    assert client.approve(key(), reason=1, actor=key()).status == "pending_transfer_not_found"
    assert client.reject(key(), reason=1, actor=key()).done is False


def test_linked_transfers_are_one_request(client: Client, opened: Opened) -> None:
    alice, shop = opened(LIMITED, funded=10), opened()
    leg: dict[str, Any] = {"debit_account_id": alice, "credit_account_id": shop, "ledger": LEDGER, "code": CODE}
    told = client.transfers([NewTransfer(amount=6, flags=["linked"], **leg), NewTransfer(amount=6, **leg)])
    assert [each.status for each in told] == ["linked_event_failed", "exceeds_credits"]
    assert [each.transient for each in told] == [False, True]


@pytest.mark.parametrize("several", [False, True])
def test_text_comes_with_a_payment_and_is_read_again_by_its_commitment(
    client: Client, asynchronous: Make, opened: Opened, several: bool
) -> None:
    alice, shop = opened(), opened()
    new = NewTransfer(
        debit_account_id=alice,
        credit_account_id=shop,
        amount=7,
        ledger=LEDGER,
        code=CODE,
        metadata={"reference": "Rent, May"},
        metadata_person="p-1",
    )

    chosen = TransferFilter(account_id=shop)

    async def at_once() -> tuple[Outcome, list[ListedTransfer]]:  # they travel together
        async with asynchronous() as many:
            outcomes = await asyncio.gather(*(many.transfer(new) for _ in range(3)))
            return outcomes[-1], [each async for each in many.search_transfers(chosen)]

    if several:
        made, listed = asyncio.run(at_once())
    else:
        made, listed = client.transfer(new), list(client.search_transfers(chosen))
    assert made.done
    found = next(each for each in listed if each.id == made.id)
    assert client.find_text(found.metadata_commitment) == {"reference": "Rent, May"}
    assert client.find_text("ab" * 32) is None
    with pytest.raises(Invalid, match="commitment"):
        client.find_text("../transfers")


def test_threads_share_a_client(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(client.pay(alice, shop, 1, ledger=LEDGER, code=CODE)))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.done for each in outcomes] == [True] * 30
    account = client.find_account(shop)
    assert account is not None
    assert account.credits_posted == 30


def test_payments_made_at_once_travel_together_and_each_can_be_asked_again_alone(
    client: Client, asynchronous: Make, opened: Opened, bundles_answered: Callable[[], float]
) -> None:
    alice, poor, shop = opened(), opened(LIMITED), opened()
    keys = [key() for _ in range(500)]

    async def pay() -> list[Outcome]:
        async with asynchronous() as many:
            calls = (
                many.pay(poor if n % 5 == 0 else alice, shop, 1, ledger=LEDGER, code=CODE, key=each)
                for n, each in enumerate(keys)
            )
            return await asyncio.gather(*calls)

    before = bundles_answered()
    outcomes = asyncio.run(pay())
    # The gateway of these tests takes small bodies, so the first bundle is too large and goes in halves.
    assert 2 <= bundles_answered() - before <= 12
    assert [each.request_id for each in outcomes] == keys
    assert {each.status for each in outcomes[::5]} == {"exceeds_credits"}
    assert sum(each.done for each in outcomes) == 400
    again = client.pay(alice, shop, 1, ledger=LEDGER, code=CODE, key=keys[1])
    assert (again.replayed, again.timestamp, again.id) == (True, outcomes[1].timestamp, outcomes[1].id)
    account = client.find_account(shop)
    assert account is not None
    assert account.credits_posted == 400


def test_what_is_wrong_with_one_call_is_raised_there_alone(client: Client, asynchronous: Make, opened: Opened) -> None:
    alice, shop = opened(), opened()
    used = client.pay(alice, shop, 1, ledger=LEDGER, code=CODE)

    async def pay() -> list[Any]:
        async with asynchronous() as many:
            return await asyncio.gather(
                many.pay(alice, shop, 1, ledger=LEDGER, code=CODE),
                many.pay(alice, shop, 2, ledger=LEDGER, code=CODE, key=used.request_id),
                many.pay(alice, shop, 2, ledger=2**40, code=CODE),
                many.pay(alice, shop, 1, ledger=LEDGER, code=CODE, expires_at=1),
                return_exceptions=True,
            )

    good, reused, wrong, late = asyncio.run(pay())
    assert good.done
    assert reused.type == "idempotency_key_reused"
    assert (wrong.type, wrong.field) == ("invalid_field", "transfers[0].ledger")
    assert late.status == "request_expired"


def test_one_outcome_is_asked_for_until_it_is_known(
    client: Client,
    opened: Opened,
    instance: Instance,
    payments_answered: Callable[[], float],
    statuses_asked: Callable[[], float],
) -> None:
    alice, shop = opened(), opened()
    before, sent = statuses_asked(), payments_answered()
    outcomes: list[Outcome] = []
    with instance.stopped("engine"):
        thread = threading.Thread(target=lambda: outcomes.append(client.pay(alice, shop, 7, ledger=LEDGER, code=CODE)))
        thread.start()
        while payments_answered() == sent:
            pass  # it gets a 202
    thread.join()
    assert (outcomes[0].done, outcomes[0].replayed) == (True, True)
    assert statuses_asked() > before


def test_an_outcome_that_stays_unknown_is_no_refusal_and_can_be_asked_for_later(
    instance: Instance, opened: Opened
) -> None:
    alice, shop = opened(), opened()
    with Client(instance.url, instance.key, patience_s=0.5) as impatient:
        with instance.stopped("engine"), pytest.raises(StillUnknown, match="not yet decided") as told:
            impatient.pay(alice, shop, 7, ledger=LEDGER, code=CODE)
        with Client(instance.url, instance.key) as patient:
            known = patient.ask_again(told.value)
            same = patient.pay(alice, shop, 7, ledger=LEDGER, code=CODE, key=told.value.request_id)
    assert (known.done, known.replayed, known.request_id) == (True, True, told.value.request_id)
    assert same == known


def test_many_outcomes_that_stay_unknown_are_each_told_so(
    asynchronous: Make, opened: Opened, instance: Instance
) -> None:
    alice, shop = opened(), opened()

    async def pay() -> tuple[list[Any], list[Outcome]]:
        async with asynchronous(patience_s=0.5) as impatient:
            with instance.stopped("engine"):
                calls = (impatient.pay(alice, shop, 1, ledger=LEDGER, code=CODE) for _ in range(20))
                unknown = await asyncio.gather(*calls, return_exceptions=True)
        async with asynchronous() as patient:
            return unknown, [await patient.ask_again(each) for each in unknown]

    unknown, known = asyncio.run(pay())
    assert {type(each) for each in unknown} == {StillUnknown}
    assert [each.request_id for each in known] == [each.request_id for each in unknown]
    assert all(each.done for each in known)


def test_a_client_that_is_closed_leaves_nobody_waiting(
    asynchronous: Make, opened: Opened, instance: Instance, bundles_answered: Callable[[], float]
) -> None:
    alice, shop = opened(), opened()

    async def pay() -> list[Any]:
        client = asynchronous()

        def call() -> asyncio.Task[Outcome]:
            return asyncio.create_task(client.pay(alice, shop, 1, ledger=LEDGER, code=CODE))

        with instance.stopped("engine"):
            pausing, before = [call(), call()], bundles_answered()
            while bundles_answered() == before:
                await asyncio.sleep(0.01)  # then they were told "not decided", and wait to ask again
            under_way = call()
            await asyncio.sleep(0.01)
            unsent = call()
            await asyncio.sleep(0)
            await client.close()
            async with asyncio.timeout(5):
                return await asyncio.gather(*pausing, under_way, unsent, return_exceptions=True)

    assert {type(each) for each in asyncio.run(pay())} <= {StillUnknown, Unavailable}  # unsent: surely not written


def test_where_nobody_listens_nothing_was_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    async def pay() -> None:
        async with AsyncClient(url, "sk_1", patience_s=0.2) as nobody:
            await nobody.pay("1" * 32, "2" * 32, 1, ledger=1, code=1)

    with pytest.raises(Unavailable, match="nothing answers"):
        asyncio.run(pay())
    with Client(url, "sk_1", patience_s=0.2) as nobody, pytest.raises(Unavailable, match="nothing answers"):
        nobody.pay("1" * 32, "2" * 32, 1, ledger=1, code=1)


def test_a_look_up_that_breaks_off_is_never_an_unknown_outcome() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and says nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url, "sk_1", patience_s=0.1, wait_s=0.1) as client:
            with pytest.raises(Unavailable):
                client.find_account("1" * 32)
            with pytest.raises(StillUnknown):
                client.pay("1" * 32, "2" * 32, 1, ledger=1, code=1)

        async def pay() -> list[Any]:
            async with AsyncClient(url, "sk_1", patience_s=0.1, wait_s=0.1) as many:
                calls = (many.pay("1" * 32, "2" * 32, 1, ledger=1, code=1) for _ in range(3))
                return await asyncio.gather(*calls, return_exceptions=True)

        assert {type(each) for each in asyncio.run(pay())} == {StillUnknown}
    assert issubclass(StillUnknown, OutcomeUnknown)


def test_a_gateway_killed_under_many_callers_leaves_every_call_with_its_outcome(instance: Instance) -> None:
    asyncio.run(bench_sdk.open_accounts(instance))
    told = asyncio.run(bench_sdk.load(instance, 0.0, kills=2, coroutines=200))
    instance.wait_ready(60)
    verdict = bench_sdk.judge([told], journal_check.read(instance.folder).transfers)
    assert told.kills == 2
    assert len(told.outcomes) > 1_000
    assert {each.status for each in told.outcomes} == {"created", "exceeds_credits"}
    assert verdict == bench_sdk.Verdict(lost=0, doubled=0, unknown=0)
