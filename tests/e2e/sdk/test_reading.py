"""Lists, page by page, as the projector answers them."""

import asyncio
from collections.abc import Callable

import pytest

from tallystick.client import (
    AccountFilter,
    AsyncClient,
    Client,
    Leg,
    ListedTransfer,
    NewAccount,
    NewPayment,
    NewTransfer,
    TransferFilter,
    reading,
)
from tallystick.clock import system_entropy
from tallystick.lab.instance import Instance

LEDGER, CODE = 978, 1
Opened = Callable[..., str]


def pay(client: Client, debit: str, credit: str, count: int) -> list[str]:
    made = client.transfers(
        NewTransfer(debit_account_id=debit, credit_account_id=credit, amount=number + 1, ledger=LEDGER, code=CODE)
        for number in range(count)
    )
    assert all(each.done for each in made)
    return [each.id for each in made]


def test_a_list_longer_than_a_page_comes_whole_and_in_order(
    client: Client, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 7)
    alice, shop = opened(), opened()
    made = pay(client, alice, shop, 30)
    oldest = list(client.search_transfers(TransferFilter(account_id=alice, order="oldest")))
    assert [each.id for each in oldest] == made
    assert [each.amount for each in oldest] == list(range(1, 31))
    newest = list(client.search_transfers(TransferFilter(account_id=alice, amount_min=11)))
    assert [each.id for each in newest] == made[:9:-1]
    lines = list(client.statement(shop))
    assert [line.sequence for line in lines] == list(range(1, 32))
    assert [line.transfer_id for line in lines[1:]] == made
    assert lines[-1].balances.balance == sum(range(1, 31))


def test_coroutines_read_the_same_pages(
    client: Client, instance: Instance, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 7)
    alice, shop = opened(), opened()
    made = pay(client, alice, shop, 20)

    async def read() -> tuple[str, list[ListedTransfer]]:
        async with AsyncClient(instance.url, instance.key) as many:
            last = await many.pay(alice, shop, 1, ledger=LEDGER, code=CODE)
            chosen = TransferFilter(account_id=shop, order="oldest")
            return last.id, [each async for each in many.search_transfers(chosen)]

    last, found = asyncio.run(read())
    assert [each.id for each in found] == [*made, last]


def test_a_client_reads_what_it_has_just_written(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    for number in range(1, 31):
        made = client.pay(alice, shop, number, ledger=LEDGER, code=CODE)
        assert next(client.search_transfers(TransferFilter(account_id=shop))).id == made.id
        assert len(list(client.statement(shop))) == number + 1


def test_accounts_are_found_by_what_their_client_put_in(client: Client) -> None:
    number = int.from_bytes(system_entropy(7), "big") + 1
    opened = client.open_accounts(NewAccount(ledger=LEDGER, code=CODE, user_data_64=number) for _ in range(3))
    found = list(client.search_accounts(AccountFilter(user_data_64=number)))
    assert [each.id for each in found] == [each.id for each in opened]


def test_a_payments_story_is_found_by_its_id(client: Client, opened: Opened) -> None:
    alice, shop = opened(), opened()
    leg = Leg(debit_account_id=alice, credit_account_id=shop, amount=80)
    reserved = client.make_payment(NewPayment(legs=[leg], ledger=LEDGER, code=CODE, pending=True))
    posting = client.post_payment(reserved.id)
    back = client.reverse_payment(reserved.id, posting_id=posting.id)
    chosen = TransferFilter(user_data_128=reserved.id, order="oldest")
    story = list(client.search_transfers(chosen))
    assert [each.id for each in story] == [made.legs[0].id for made in (reserved, posting, back)]
    assert story[0].state == "posted"
