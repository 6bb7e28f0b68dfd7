"""A wallet: topped up, spent from, and never spent beyond what is in it.

Run it against a Tallystick of your own: TALLY_URL says where it is, TALLY_API_KEY who you are (docs/sdk.md).
"""

import os

from tallystick.client import Client, NewAccount, Outcome

EUR = 978  # a ledger for each currency; ISO 4217 numbers will do
WALLET, BANK, SHOP = 1, 2, 3  # codes: what an account, or a transfer, is for


def main() -> None:
    with Client(os.environ["TALLY_URL"], os.environ["TALLY_API_KEY"]) as client:
        bank = client.open_account(NewAccount(ledger=EUR, code=BANK)).id
        shop = client.open_account(NewAccount(ledger=EUR, code=SHOP)).id
        alice = client.open_account(
            NewAccount(ledger=EUR, code=WALLET, flags=["debits_must_not_exceed_credits"])  # the rule, in the ledger
        ).id

        # The key makes it the same top-up however often it is sent: use what identifies it in your own books.
        for _ in range(2):
            tell("top-up of 50.00", client.pay(bank, alice, 50_00, ledger=EUR, code=BANK, key=f"card payment {alice}"))
        tell("shoes, 39.90", client.pay(alice, shop, 39_90, ledger=EUR, code=SHOP))
        tell("more shoes, 39.90", client.pay(alice, shop, 39_90, ledger=EUR, code=SHOP))

        wallet = client.find_account(alice)
        assert wallet is not None
        print(f"in the wallet: {wallet.available / 100:.2f}")


def tell(what: str, outcome: Outcome) -> None:
    print(f"{what}: {outcome.status}{', as before' if outcome.replayed else ''}")


if __name__ == "__main__":
    main()
