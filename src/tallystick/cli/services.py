"""`tally services`: what followers and gateways keep beside the journal, and where it stands."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit
from tallystick.errors import Invalid

app = typer.Typer(help="Where webhooks, acts and text are kept.", no_args_is_help=True, epilog=EPILOG)


@app.callback()
def services() -> None:
    """Where webhooks, acts and text are kept."""


@app.command("move", epilog=EPILOG)
def move(
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="The database, as TALLY_SERVICES has it; else that one.")
    ] = None,
    shard: Annotated[
        int | None, typer.Option("--shard", min=0, metavar="NUMBER", help="Only this shard's; else those of all.")
    ] = None,
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Move webhooks, acts and text from the data folder's files into a PostgreSQL database. Stop everything first.

    Each file is moved whole or not at all: copied in one transaction, read back and compared by count and hash, a log
    of acts by the root of its tree as well; then it is called `….moved`, and nothing uses it any more. Whatever cuts
    it off, done again it goes on. What the projector keeps is not moved: it is made from the journal again.

    **Examples**

    - `tally services move --to "postgresql://tally@db.example/bank?sslmode=verify-full"`
    - `TALLY_SERVICES=postgresql://… tally services move --data /var/lib/tallystick --json`
    """
    from tallystick.cli.progress import bar
    from tallystick.compose import services_moving

    settings = options.settings(data=data)
    url = to or settings.services
    if not url.startswith(("postgresql://", "postgres://")):
        raise Invalid("--to", "name a database, postgresql://…, or set TALLY_SERVICES")
    with bar("moving", as_json) as progress:
        moved = services_moving.move(settings, url, shard, progress)
    if as_json:
        sys.stdout.write(json.dumps([{**asdict(each), "file": str(each.file)} for each in moved]) + "\n")
        return Exit.DONE
    for each in moved:
        root = f", tree {each.root}" if each.root else ""
        how = "had been moved before" if each.again else "moved and compared"
        options.say(f"tally: shard {each.shard}, {each.service}: {each.rows:,} rows {how}{root}")
    _say_what_is_next([each.file for each in moved], url == settings.services)
    return Exit.DONE


def _say_what_is_next(files: list[Path], is_set: bool) -> None:
    if not files:
        options.say("tally: there was nothing to move: no file of webhooks, acts or text is here")
    if not is_set:
        options.say("tally: set TALLY_SERVICES to that database for every process, before any starts again")
    options.say("tally: start `tally up`; the projector makes its tables there from the journal, which takes a while")
    if files:
        options.say("tally: then back the database up. The files ….moved hold signing keys: delete them once you have")
