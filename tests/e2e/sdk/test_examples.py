"""The programs in examples/, as anybody would run them, against a running instance."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.lab.instance import Instance

EXAMPLES = Path(__file__).parents[3] / "examples"
SAID = {
    "wallet": """
        top-up of 50.00: created
        top-up of 50.00: created, as before
        shoes, 39.90: created
        more shoes, 39.90: exceeds_credits
        in the wallet: 10.10
    """,
    "card_authorisation": """
        authorise 200.00: created; 100.00 available, 200.00 set aside
        authorise 200.00: exceeds_credits; 100.00 available, 200.00 set aside
        take 162.50: created; 137.50 available, 0.00 set aside
        take the rest: pending_transfer_already_posted
        authorise 100.00: created; 37.50 available, 100.00 set aside
        cancel: created; 137.50 available, 0.00 set aside
        authorise 100.00: created; 37.50 available, 100.00 set aside
        a second later: 137.50 available, 0.00 set aside
        take it now: pending_transfer_expired
    """,
    "payout_file": """
        first run: 1000 created
        second run: 1000 created, as before
        paid in all: 5995.00
    """,
    "fee_split": """
        buy for 119.00: created, 3 legs; buyer -11900, seller +11305, fees +500, tax +95
        buy for 60.00: exceeds_credits (limits[0]); buyer -11900, seller +11305, fees +500, tax +95
        refund 19.00: created; buyer -10000, seller +9405, fees +500, tax +95
        refund the rest: created; buyer +0, seller +0, fees +0, tax +0
    """,
}


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_an_example_does_what_it_says(instance: Instance, name: str) -> None:
    environment = {**os.environ, "TALLY_URL": instance.url, "TALLY_API_KEY": instance.key}
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line.strip() for line in SAID[name].strip().splitlines()]
