"""`tally demo`: the whole of it in two minutes, with the engine killed in the middle."""

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
    as_json: options.Json = False,
) -> int:
    """Start everything, pay, kill the engine in the middle with SIGKILL, and show that nothing is lost or doubled.

    Opens accounts, runs a payout file, then keeps thousands of payments in flight over as many connections from
    another process. At the end an independent check reads the journal and compares it with every answer and every
    balance. Exit code 0 only if all of it holds.

    **Examples**

    - `tally demo`
    - `tally demo --connections 1000 --payments 20000 --data ./demo-data`
    - `tally demo --json`
    """
    from tallystick.lab import demo as lab

    return Exit.DONE if lab.run(data, connections, payments, as_json) else Exit.REFUSED
