"""`tally demo`: the whole of it in two minutes, with everything stopped and killed on cue."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="Keep the data there; else in a folder that goes.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=60_000, help="Payments in flight at once.")] = 10_000,
    payments: Annotated[int, typer.Option(min=1, help="Payments in all.")] = 100_000,
    day: Annotated[bool, typer.Option("--day/--no-day", help="Whether to begin with a small bank's day.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the bank's day.")] = 1,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    as_json: options.Json = False,
) -> int:
    """Start everything, pay, kill the engine in the middle with SIGKILL, and show that nothing is lost or doubled.

    First a small bank's day: salaries, rents, cards, friends, refunds, fees, at a steady rate, while each process is
    stopped and killed on cue; the report says what each cost payments. Then it opens accounts, runs a payout file and
    keeps thousands of payments in flight over as many connections from another process. At the end an independent
    check reads the journal and compares it with every answer and every balance. Exit code 0 only if all of it holds.

    **Examples**

    - `tally demo`
    - `tally demo --no-day --connections 1000 --payments 20000 --data ./demo-data`
    - `tally demo --journal postgresql://tally@127.0.0.1/postgres --intake kafka://127.0.0.1:9092/demo`
    - `tally demo --json`
    """
    from tallystick.lab import demo as lab

    done = lab.run(data, connections, payments, seed if day else None, as_json, journal, intake)
    return Exit.DONE if done else Exit.REFUSED
