"""`tally currency`: what the numbers of a ledger mean, for receipts. Each change is an act in the log `control`."""

import json
import sys
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit

app = typer.Typer(help="Say which currency and scale a ledger has.", no_args_is_help=True, epilog=EPILOG)


@app.command("set", epilog=EPILOG)
def set_currency(
    ledger: Annotated[int, typer.Argument(min=1, max=0xFFFFFFFF, help="The ledger's number, as accounts have it.")],
    code: Annotated[str, typer.Argument(help="Its currency, such as EUR (ISO 4217).")],
    scale: Annotated[int, typer.Option(min=0, help="Digits of an amount behind the decimal point.")] = 2,
    tenant: Annotated[int, typer.Option(min=1, help="Whose ledger it is.")] = 1,
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Note a ledger's currency and scale. Receipts from then on carry them, and the number of this act.

    Nothing that was decided changes: amounts are whole minor units, whatever they are called.

    **Examples**

    - `tally currency set 978 EUR`
    - `tally currency set 392 JPY --scale 0 --tenant 7`
    """
    from tallystick.acts import currencies
    from tallystick.compose.acting import note_command

    said = currencies.more(tenant, code, scale)
    number = note_command(options.settings(data=data), currencies.ACT, str(ledger), said, result="set")
    if as_json:
        told = {"tenant": tenant, "ledger": ledger, "code": code, "scale": scale, "control": number}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        options.say(f"tally: ledger {ledger} of tenant {tenant} is {code} with {scale} digits; act {number} says so")
    return Exit.DONE


@app.command("list", epilog=EPILOG)
def list_currencies(data: options.Data = None, as_json: options.Json = False) -> int:
    """List what was said of ledgers, and by which act of the log `control`.

    **Example**

    - `tally currency list --json`
    """
    from tallystick.acts.currencies import Currencies
    from tallystick.acts.port import CONTROL
    from tallystick.compose.acting import LazyActs

    acts = LazyActs(options.settings(data=data), CONTROL)
    try:
        known = Currencies(acts).all()
    finally:
        acts.close()
    rows = [
        {"tenant": tenant, "ledger": ledger, "code": found.code, "scale": found.scale, "control": found.control}
        for (tenant, ledger), found in sorted(known.items())
    ]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return Exit.DONE
    if not rows:
        options.say("tally: nothing was said of any ledger; `tally currency set LEDGER CODE` does")
        return Exit.DONE
    from rich.console import Console
    from rich.table import Table

    table = Table("tenant", "ledger", "currency", "scale", "act", header_style="bold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    return Exit.DONE
