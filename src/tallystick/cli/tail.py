"""`tally tail`: the journal as it grows, a line an entry, for people or (with `--json`) for programs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit


def tail(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder of everything that is kept; else TALLY_DATA.")
    ] = None,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="Entries shown before the new ones.")] = 10,
    position: Annotated[int | None, typer.Option("--from", min=0, help="Begin at this position instead.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, until Ctrl-C.")] = True,
    tenant: Annotated[int | None, typer.Option(min=1, help="Only this tenant's entries.")] = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Show what is decided, as soon as it is durable. Reads the journal's files and nothing else; takes no lock.

    **Examples**

    - `tally tail` the last ten entries, then each new one
    - `tally tail --from 0 --no-follow --json > journal.jsonl`
    """
    from tallystick.compose import tailing

    settings = options.settings(data=folder, shard=shard)
    try:
        for line in tailing.lines(settings, count, position, follow, tenant, as_json):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.DONE  # how one ends it
    return Exit.DONE
