"""`tally shard`: which tenants live in which shard of a platform that has several (docs/shards.md)."""

import json
import sys
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit

app = typer.Typer(help="Place tenants in shards, and look at them.", no_args_is_help=True, epilog=EPILOG)

Tenant = Annotated[int, typer.Argument(min=1, help="The tenant's number, as its API keys have it.")]


@app.command("add", epilog=EPILOG)
def add(
    tenant: Tenant,
    to: Annotated[
        int | None, typer.Option("--to", min=0, metavar="SHARD", help="In this shard, not in the emptiest.")
    ] = None,
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Place a new tenant in the emptiest shard, before it gets its first key. Engines must run.

    A tenant that nobody placed lives in shard 0. Done again it changes nothing.

    **Examples**

    - `tally shard add 7` then `tally key new shop --tenant 7`
    - `tally shard add 8 --to 2 --json`
    """
    from tallystick.compose import directing

    number = directing.add(options.settings(data=data), tenant, to)
    if as_json:
        sys.stdout.write(json.dumps({"tenant": tenant, "shard": number}) + "\n")
    else:
        options.say(f"tally: tenant {tenant} lives in shard {number}; its keys work on every gateway")
    return Exit.DONE
