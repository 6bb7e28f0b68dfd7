"""A card: the shop asks for money to be set aside, and takes some of it later, none of it, or forgets about it.

Run it against a Tallystick of your own: TALLY_URL says where it is, TALLY_API_KEY who you are (docs/sdk.md).
"""

import os
import time

from tallystick.client import Client, Leg, NewAccount, NewPayment, Part

EUR, CARD = 978, 4
WEEK = 7 * 24 * 3600


def main() -> None:
    with Client(os.environ["TALLY_URL"], os.environ["TALLY_API_KEY"]) as client:
        bank = client.open_account(NewAccount(ledger=EUR, code=CARD)).id
        hotel = client.open_account(NewAccount(ledger=EUR, code=CARD)).id
        alice = client.open_account(NewAccount(ledger=EUR, code=CARD, flags=["debits_must_not_exceed_credits"])).id
        client.pay(bank, alice, 300_00, ledger=EUR, code=CARD)

        def authorise(amount: int, seconds: int = WEEK) -> str:
            leg = Leg(debit_account_id=alice, credit_account_id=hotel, amount=amount)
            made = client.make_payment(NewPayment(legs=[leg], ledger=EUR, code=CARD, pending=True, timeout=seconds))
            print(f"authorise {show(amount)}: {made.status}; {balance(client, alice)}")
            return made.id

        room = authorise(200_00)
        authorise(200_00)  # more than is left: refused

        taken = client.post_payment(room, [Part(leg=0, amount=162_50)])  # the minibar was full after all
        print(f"take 162.50: {taken.status}; {balance(client, alice)}")
        again = client.post_payment(room)
        print(f"take the rest: {again.status}")

        cancelled = authorise(100_00)
        print(f"cancel: {client.void_payment(cancelled).status}; {balance(client, alice)}")

        forgotten = authorise(100_00, seconds=1)
        while "100.00 set aside" in balance(client, alice):
            time.sleep(0.05)
        print(f"a second later: {balance(client, alice)}")
        print(f"take it now: {client.post_payment(forgotten).status}")


def balance(client: Client, account_id: str) -> str:
    account = client.find_account(account_id)
    assert account is not None
    return f"{show(account.available)} available, {show(account.debits_pending)} set aside"


def show(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


if __name__ == "__main__":
    main()
