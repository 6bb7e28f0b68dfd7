"""A marketplace: a purchase is split between seller, fee and tax, kept within the buyer's daily limit, and refunded.

All legs are made together or not at all. Run it against a Tallystick of your own: TALLY_URL says where it is,
TALLY_API_KEY who you are (docs/sdk.md).
"""

import os

from tallystick.client import Client, Leg, Limit, NewAccount, NewPayment, Part, PaymentOutcome

EUR, MARKET, LIMIT = 978, 6, 7
DAY = 24 * 3600
SOMEBODY = "00000000000000000000000000000abc"  # the opaque id of whoever set the limit


def main() -> None:
    with Client(os.environ["TALLY_URL"], os.environ["TALLY_API_KEY"]) as client:
        buyer, seller, fees, tax, counter = (
            each.id for each in client.open_accounts(NewAccount(ledger=EUR, code=MARKET) for _ in range(5))
        )
        daily = client.open_account(NewAccount(ledger=EUR, code=LIMIT, flags=["debits_must_not_exceed_credits"])).id
        client.set_credit_limit(daily, 150_00, reason=1, actor=SOMEBODY)

        def buy(price: int) -> PaymentOutcome:
            fee = price * 5 // 100
            return client.make_payment(
                NewPayment(
                    legs=[
                        Leg(debit_account_id=buyer, credit_account_id=seller, amount=price),
                        Leg(debit_account_id=seller, credit_account_id=fees, amount=fee),
                        Leg(debit_account_id=fees, credit_account_id=tax, amount=fee * 19 // 119),
                    ],
                    limits=[Limit(account_id=daily, counter_account_id=counter, amount=price, window=DAY)],
                    ledger=EUR,
                    code=MARKET,
                    value_date="2026-11-30",
                )
            )

        def balances() -> str:
            names = {buyer: "buyer", seller: "seller", fees: "fees", tax: "tax"}
            found = client.find_accounts(list(names))
            return ", ".join(f"{names[each.id]} {each.credits_posted - each.debits_posted:+d}" for each in found)

        bought = buy(119_00)
        print(f"buy for 119.00: {bought.status}, {len(bought.legs)} legs; {balances()}")
        too_much = buy(60_00)
        print(f"buy for 60.00: {too_much.status} ({too_much.field}); {balances()}")

        refund = client.reverse_payment(bought.id, [Part(leg=0, amount=19_00)])
        print(f"refund 19.00: {refund.status}; {balances()}")
        rest = client.reverse_payment(bought.id)
        print(f"refund the rest: {rest.status}; {balances()}")


if __name__ == "__main__":
    main()
