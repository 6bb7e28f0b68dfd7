"""What torture asks for: the JSON that goes out is the event that is noted, and the seed decides all of it."""

from random import Random

import pytest

from tallystick.gateway import decoding
from tallystick.lab.torture.orders import ACCOUNTS, BINARY, Known, Order, Orders, account_flags
from tallystick.records.commands import EVENT_SIZE, TRANSFER, AccountFlag, Kind, TransferFlag, frame

NOW = 1_800_000_000_000_000_000


def drawn(seed: int, count: int = 2_000) -> list[Order]:
    orders = Orders(Random(seed), 1, Known())
    return [orders.opening(), *(orders.next(NOW) for _ in range(count))]


def test_the_same_seed_asks_the_same() -> None:
    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_the_gateway_makes_of_each_order_the_events_that_are_noted() -> None:
    for order in drawn(1):
        assert order.events == decoded(order), order


def decoded(order: Order) -> bytes:
    """By the gateway's own decoder. Controls are held against it over HTTP."""
    if order.media == BINARY:
        return order.body
    if order.kind is Kind.CONTROL:
        return order.events
    from msgspec.structs import astuple

    if order.kind is Kind.ACCOUNT:
        asked = decoding.decode(decoding.accounts_decoder, order.body)
        rows = asked.accounts or [asked]
        return b"".join(decoding.account_event(astuple(row)[:8], order.request_id, 0) for row in rows)
    decoder = decoding.transfers_decoder if order.many else decoding.transfer_decoder
    body = decoding.decode(decoder, order.body)
    some = body.transfers if order.many else [body]
    fields = decoding.TRANSFER_FIELDS
    return b"".join(decoding.transfer_event(astuple(each)[:fields], order.request_id, 0)[0] for each in some)


def test_everything_that_a_transfer_can_do_is_asked_for() -> None:
    seen = 0
    events = b"".join(order.events for order in drawn(2) if order.kind is Kind.TRANSFER)
    rows = frame(events, Kind.TRANSFER, 1, 1, NOW).view(TRANSFER)
    for bits in rows["flag_bits"].tolist():
        seen |= bits
    assert seen == sum(TransferFlag)
    assert {int(each) for each in rows["timeout"]} >= {0, 1, 2, 60}
    assert rows["timestamp"].any()
    assert (rows["pending_id_lo"] > 0).any()


def test_requests_of_every_kind_and_shape_are_asked_for() -> None:
    orders = drawn(3)
    assert {order.kind for order in orders} == {Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL}
    paths = {order.path.rpartition("/")[2] for order in orders}
    assert paths >= {"transfers", "batch", "accounts", "freeze", "unfreeze", "credit-limit", "approve", "reject"}
    assert any(order.media == BINARY for order in orders)
    assert any(order.expires_at for order in orders)
    assert len({order.request_id for order in orders}) < len(orders)  # some ids stand for two requests
    assert all(len(order.events) % EVENT_SIZE == 0 for order in orders)


@pytest.mark.parametrize("number", range(1, ACCOUNTS + 1))
def test_an_account_is_opened_with_the_same_flags_every_time(number: int) -> None:
    both = AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS
    assert account_flags(number) == account_flags(number)
    assert account_flags(number) & both != both
