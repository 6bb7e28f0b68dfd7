"""`tally backup` and `tally restore`: copies of a data folder that is in use, and data folders made of them."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.cli.progress import bar, byte_bar

if TYPE_CHECKING:
    from tallystick.backup.manifest import Manifest


def backup(
    to: Annotated[Path, typer.Argument(metavar="TO", help="Folder of the backup: new, or that of an earlier one.")],
    data: options.Data = None,
    shard: options.Shard = None,
    to_move: Annotated[
        bool,
        typer.Option(
            "--to-move", help="The platform is down and goes on from the copy: take undecided requests along."
        ),
    ] = False,
    mb_s: Annotated[
        float,
        typer.Option("--mb-s", min=0, metavar="N", help="Copy at most so many MB a second; 0: as fast as it goes."),
    ] = 0,
    as_json: options.Json = False,
) -> int:
    """Copy the data folder, while it is in use or not: the platform as of one position of its journal.

    The copy has every entry before that position and none after it; the lanes as far as those entries took them; the
    keys. What is derived is left out: a start makes it again. Every block is verified as it is copied. Made again into
    the same folder, only what is new is copied, and until the new backup is whole the earlier one stays whole.

    Requests that were acknowledged, but decided after the position, are not in it: the original decides them. With
    `--to-move` nothing may run; what is undecided is taken along, and the original is marked and starts no more.

    **Examples**

    - `tally backup /mnt/backup/tallystick` every ten minutes, from cron or a systemd timer
    - `tally backup /mnt/backup/tallystick --mb-s 10` the first one, so that payments hardly feel it
    - `tally backup ./copy --data /var/lib/tallystick --json`
    - `tally backup /mnt/usb --to-move` to another machine, after `tally up` was stopped
    """
    from tallystick.compose import backup as compose
    from tallystick.compose import services

    settings = options.settings(data=data, shard=shard)
    with byte_bar("copying", as_json) as progress:
        made = compose.make(settings, to, to_move, progress, mb_s * 1e6)
    told = {**_told(made.manifest), "copied_bytes": made.copied_bytes, "kept_bytes": made.kept_bytes, "backup": str(to)}
    text = (
        f"{to}: {_sentence(made.manifest)}; {_mb(made.copied_bytes)} copied, {_mb(made.kept_bytes)} kept\n"
        f"`tally restore {to} --check` reads all of it; `tally restore {to} FOLDER` makes a data folder of it"
    )
    sys.stdout.write((json.dumps(told) if as_json else text) + "\n")
    if where := services.place(settings):
        options.say(
            f"not in it: webhooks, acts and sealed text, which are in {where}; copy that by its own tools, to a moment "
            "after this (docs/postgresql.md)"
        )
    return Exit.DONE


def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder of the backup.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Data folder to make: empty, or missing.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read the backup, and change nothing.")] = False,
    archive: Annotated[
        str | None,
        typer.Option("--archive", metavar="PLACE", help="As TALLY_ARCHIVE: take the journal on to its archive's end."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Make a data folder of a backup: there whole when it is done, or not at all.

    Every file is held against the backup's manifest, and every block of the new folder is verified. Exit code 70 if
    anything is not as it was written. The original must not go on beside it: what was paid there after the backup's
    position is not here, and clients who send such requests again are decided anew.

    **Examples**

    - `tally restore /mnt/backup/tallystick --check`
    - `tally restore /mnt/backup/tallystick /var/lib/tallystick`
    - `tally restore /mnt/backup/tallystick /var/lib/tallystick --archive /mnt/archive` and what came after the backup
    - `tally rebuild --verify /var/lib/tallystick` decides nothing, and compares all of it once more
    """
    from tallystick.compose import backup as compose
    from tallystick.errors import Invalid

    if check == (folder is not None):
        raise Invalid("", "name the data folder to make, or use --check to only read the backup")
    with byte_bar("checking" if folder is None else "restoring", as_json) as progress:
        manifest = compose.check(backup, progress) if folder is None else compose.restore(backup, folder, progress)
    added = None
    settings = options.settings(data=folder, archive=archive)
    if folder is not None and settings.archive is not None:
        with bar("rolling forward", as_json) as progress:
            added = compose.roll_forward(settings, progress)
    if as_json:
        told = {**_told(manifest), "data": str(folder) if folder else None, "rolled_forward": added}
        sys.stdout.write(json.dumps(told) + "\n")
    elif folder is None:
        sys.stdout.write(f"{backup} is whole: {_sentence(manifest)}\n")
    else:
        sys.stdout.write(f"{folder} is restored and verified: {_sentence(manifest)}\n")
        if added is not None:
            options.say(
                f"tally: {added:,} entries came from the archive; the journal ends at {manifest.position + added:,}"
            )
        options.say(f"tally: `tally up --data {folder}` starts it; see that the original does not run")
    return Exit.DONE


def _told(manifest: "Manifest") -> dict[str, object]:
    return {
        "position": manifest.position,
        "made_at": _iso(manifest.made_at_ns),
        "undecided_commands": manifest.undecided_commands,
        "lanes": len(manifest.lanes),
        "segments": len(manifest.journal.segments),
        "bytes": manifest.size,
    }


def _sentence(manifest: "Manifest") -> str:
    undecided = f", and {manifest.undecided_commands:,} undecided commands" if manifest.undecided_commands else ""
    return f"{manifest.position:,} entries{undecided}, as of {_iso(manifest.made_at_ns)}, {_mb(manifest.size)}"


def _iso(instant_ns: int) -> str:
    return datetime.fromtimestamp(instant_ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
