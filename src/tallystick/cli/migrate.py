"""`tally migrate`: make or upgrade the tables of a journal in PostgreSQL."""

import json
import sys
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.errors import Invalid


def migrate(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="The database, as the tables' owner; else TALLY_JOURNAL.")
    ] = None,
    engine_role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="May add blocks; neither change nor delete them.")
    ] = None,
    follower_role: Annotated[str | None, typer.Option(metavar="ROLE", help="May read.")] = None,
    as_json: options.Json = False,
) -> int:
    """Make the tables of a journal in PostgreSQL, or bring them to this program's version; then let roles use them.

    All in one transaction, and nothing if they are up to date. Engine and followers refuse to start on tables of
    another version. The roles are made by whoever runs the server; a password is better kept in a PGPASSFILE than in
    the URL.

    **Examples**

    - `tally migrate "postgresql://owner@db.example/bank?sslmode=verify-full"`
    - `tally migrate "postgresql://owner@db.example/bank" --engine-role engine --follower-role reader`
    """
    from tallystick.compose import migrating

    url = url or options.settings().journal
    if "://" not in url:
        raise Invalid("", "name a database: tally migrate postgresql://…, or set TALLY_JOURNAL")
    place, before, after = migrating.migrate(url, engine_role, follower_role)
    if as_json:
        sys.stdout.write(json.dumps({"database": place, "from": before, "to": after}) + "\n")
    elif before == after:
        sys.stdout.write(f"{place}: the tables have version {after} already\n")
    else:
        sys.stdout.write(f"{place}: the tables now have version {after}\n")
    return Exit.DONE
