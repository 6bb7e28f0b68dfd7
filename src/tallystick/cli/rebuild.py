"""`tally rebuild`: make what is derived from the journal anew, or see that it is what the journal says."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.cli.progress import bar
from tallystick.errors import Invalid

PROJECTOR = "projector"


def rebuild(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[projector] [FOLDER]", help="Folder of everything that is kept; else TALLY_DATA."),
    ] = None,
    of_projector: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Change nothing; compare with a rebuild from entry 0.")
    ] = False,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Make snapshots, id runs and endings anew from the journal, which alone is the truth. The engine must be down.

    With `--verify` nothing is changed: what a start would begin with is compared with what the journal makes from
    entry 0, every account, pending transfer, id run and ending. The first difference is named; exit code 1.

    `tally rebuild projector` makes only the tables of statements and searches anew; the engine may run.

    **Examples**

    - `tally rebuild projector tally-data`
    - `tally rebuild --verify tally-data`
    - `tally rebuild tally-data`
    """
    if folder is not None and str(folder) == PROJECTOR:
        if verify:
            raise Invalid("--verify", "is for the books: `tally reconcile` compares the projection")
        return _projector(of_projector, shard, as_json)
    if of_projector is not None:
        raise Invalid("", f"{folder} cannot be rebuilt apart; there is {PROJECTOR}")
    from tallystick.compose import rebuild as compose

    settings = options.settings(data=folder, shard=shard)
    with bar("comparing" if verify else "rebuilding", as_json) as progress:
        done = (compose.verify if verify else compose.rebuild)(settings, progress)
    rate = done.entries / done.seconds if done.seconds else 0.0
    if as_json:
        told = {
            "entries": done.entries,
            "seconds": round(done.seconds, 3),
            "entries_a_second": round(rate),
            "started_from": done.started_from,
            "difference": done.difference,
            "notes": done.notes,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return Exit.REFUSED if done.difference else Exit.DONE
    for note in done.notes:
        options.say(f"note: {note}")
    at = f"{done.entries:,} entries in {done.seconds:.1f} s, {rate:,.0f} a second"
    if not verify:
        sys.stdout.write(f"rebuilt: {at}\n")
    elif done.difference is None:
        sys.stdout.write(f"all is as the journal says: {at}; a start replays from entry {done.started_from:,}\n")
    else:
        sys.stdout.write(f"differs: {done.difference}\n")
        options.say("`tally rebuild` makes it anew; keep a copy for whoever looks into it")
    return Exit.REFUSED if done.difference else Exit.DONE


def _projector(folder: Path | None, shard: int | None, as_json: bool) -> int:
    from tallystick.compose import reconcile as compose

    with bar("rebuilding", as_json) as progress:
        done = compose.rebuild(options.settings(data=folder, shard=shard), progress)
    if as_json:
        sys.stdout.write(json.dumps({"entries": done.entries, "seconds": round(done.seconds, 3)}) + "\n")
    else:
        rate = done.entries / done.seconds if done.seconds else 0.0
        sys.stdout.write(f"rebuilt: {done.entries:,} entries in {done.seconds:.1f} s, {rate:,.0f} a second\n")
    return Exit.DONE
