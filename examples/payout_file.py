"""A file of payouts: many at once, each paid once, however often the file is run.

Every row is a coroutine; the client lets them travel together. Batch and reference make the key, so that a second
run, after a crash or a correction, pays what is new and is told of what is not. (`tally pay FILE.csv` does the same,
with reports.) Run it against a Tallystick of your own: TALLY_URL says where it is, TALLY_API_KEY who you are
(docs/sdk.md).
"""

import asyncio
import csv
import io
import os
from collections import Counter

from tallystick.client import AsyncClient, NewAccount, Outcome

EUR, PAYOUT = 978, 5


async def main() -> None:
    async with AsyncClient(os.environ["TALLY_URL"], os.environ["TALLY_API_KEY"]) as client:
        company = (await client.open_account(NewAccount(ledger=EUR, code=PAYOUT))).id
        drivers = await client.open_accounts(NewAccount(ledger=EUR, code=PAYOUT) for _ in range(50))
        file = io.StringIO(newline="")
        rows = csv.writer(file)
        rows.writerow(["batch", "reference", "account", "amount"])
        for number in range(1_000):
            rows.writerow([company, number, drivers[number % 50].id, 1_00 + number])

        for run in ("first", "second"):
            file.seek(0)
            outcomes = await asyncio.gather(*(pay(client, company, row) for row in csv.DictReader(file)))
            told = Counter(f"{each.status}{', as before' if each.replayed else ''}" for each in outcomes)
            print(f"{run} run: {', '.join(f'{count} {what}' for what, count in told.items())}")

        account = await client.find_account(company)
        assert account is not None
        print(f"paid in all: {account.debits_posted / 100:.2f}")


async def pay(client: AsyncClient, company: str, row: dict[str, str]) -> Outcome:
    return await client.pay(
        company,
        row["account"],
        int(row["amount"]),
        ledger=EUR,
        code=PAYOUT,
        key=f"payout {row['batch']} {row['reference']}",
    )


if __name__ == "__main__":
    asyncio.run(main())
