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


@app.command("move", epilog=EPILOG)
def move(
    tenant: Tenant,
    to: Annotated[int, typer.Argument(min=0, metavar="SHARD", help="Where it is to live.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Move a tenant to another shard. Until it is there its requests get 503 with Retry-After; others notice nothing.

    Every entry of the tenant is copied to the new shard's journal, so what was decided stays decided: a request that
    comes again gets its first results there. Text and webhooks go along. Engines and notifiers of both shards must run.
    Whatever cuts it off, done again it goes on; moved back to where it was, the tenant lives there as before.

    **Examples**

    - `tally shard move 7 2`
    - `tally shard move 7 2 --data /var/lib/tallystick --json`
    """
    from tallystick.cli.progress import bar
    from tallystick.compose import moving

    with bar("reading", as_json) as progress:
        done = moving.move(options.settings(data=data), tenant, to, progress)
    if as_json:
        told = {"tenant": tenant, "from": done.source, "to": done.to, "entries": done.entries}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        options.say(f"tally: tenant {tenant} lives in shard {done.to}; {done.entries:,} entries were carried there")
    return Exit.DONE


@app.command("list", epilog=EPILOG)
def list_shards(data: options.Data = None, as_json: options.Json = False) -> int:
    """List the shards: which tenants were placed in each, its entries, the size of its journal.

    Tenants that nobody placed live in shard 0, and are not listed.

    **Example**

    - `tally shard list --json`
    """
    from dataclasses import asdict

    from tallystick.compose import checking

    found = checking.listed(options.settings(data=data))
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in found]) + "\n")
        return Exit.DONE
    from rich.console import Console
    from rich.table import Table

    table = Table("shard", "tenants", "entries", "journal", header_style="bold")
    for each in found:
        size = "" if each.journal_bytes is None else f"{each.journal_bytes / 1e6:,.0f} MB"
        tenants = ", ".join(map(str, each.tenants)) + (" and all others" if not each.shard else "")
        table.add_row(str(each.shard), tenants, f"{each.entries:,}", size)
    Console().print(table)
    return Exit.DONE


@app.command("check", epilog=EPILOG)
def check(data: options.Data = None, as_json: options.Json = False) -> int:
    """Read the journals of all shards: every tenant lives in one, nothing of it was decided elsewhere, sums balance.

    Engines may run. Exit code 1 if something is wrong.

    **Example**

    - `tally shard check --data /var/lib/tallystick`
    """
    from dataclasses import asdict

    from tallystick.cli.progress import bar
    from tallystick.compose import checking

    with bar("reading", as_json) as progress:
        found = checking.check(options.settings(data=data), progress)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
    else:
        for line in (*found.notes, *found.faults):
            options.say(f"tally: {line}")
        right = "something is wrong" if found.faults else "all is well"
        options.say(f"tally: {found.entries:,} entries and {found.tenants:,} tenants in all shards: {right}")
    return Exit.REFUSED if found.faults else Exit.DONE
