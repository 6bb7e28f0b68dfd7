"""`tally reconcile`: see that statements and searches are made of what the journal says."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.cli.progress import bar


def reconcile(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder of everything that is kept; else TALLY_DATA.")
    ] = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Hold the projection against the journal: every row, every line's number, every balance. Beside all that runs.

    Nothing is changed. The first difference is named; exit code 1. `tally rebuild projector` makes it anew.

    **Examples**

    - `tally reconcile tally-data`
    - `tally reconcile --json`
    """
    from tallystick.compose import reconcile as compose

    settings = options.settings(data=folder, shard=shard)
    with bar("reconciling", as_json) as progress:
        done = compose.reconcile(settings, progress)
    if as_json:
        told = {"entries": done.entries, "seconds": round(done.seconds, 3), "difference": done.difference}
        sys.stdout.write(json.dumps(told) + "\n")
    elif done.difference is None:
        sys.stdout.write(f"all is as the journal says: {done.entries:,} entries in {done.seconds:.1f} s\n")
    else:
        sys.stdout.write(f"differs: {done.difference}\n")
        options.say("`tally rebuild projector` makes it anew; keep a copy for whoever looks into it")
    return Exit.REFUSED if done.difference else Exit.DONE
