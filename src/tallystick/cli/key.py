"""`tally key`: who may use the API. Only hashes of keys are kept; a key is shown once, when it is made."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit

if TYPE_CHECKING:
    from tallystick.gateway.auth import KeyRecord
    from tallystick.settings import Settings

EMPTIEST = "emptiest"
"""Of `--place`: in the shard with the fewest tenants."""

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, epilog=EPILOG)


@app.command("new", epilog=EPILOG)
def new(
    name: Annotated[str, typer.Argument(help="What to call the key, such as the system that will use it.")],
    tenant: Annotated[int, typer.Option(min=1, help="Whose money the key moves.")] = 1,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="read|pay|control|metrics|webhooks|audit", help="What the key may do; may be repeated. [read, pay]"
        ),
    ] = None,
    place: Annotated[
        str,
        typer.Option(
            metavar="emptiest|SHARD", help="Of a platform with shards: where the tenant is to live, if it is new."
        ),
    ] = "",
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Make a key and print it. It is not kept anywhere: store it now.

    Gateways that are running let it in within a quarter of a second. With `--place` a new tenant is placed first, as
    `tally shard add` does it, for which the engines must run; one that was never placed lives in shard 0.

    **Examples**

    - `tally key new shop`
    - `tally key new back-office --scope read --scope control --tenant 7`
    - `tally key new payroll > payroll.key` then `tally pay FILE.csv --key-file payroll.key`
    - `tally key new shop --tenant 8 --place emptiest`
    """
    from tallystick.clock import SystemClock, system_entropy
    from tallystick.gateway import auth

    settings = options.settings(data=data)
    shard = _placed(settings, tenant, place) if place else None
    path = settings.keys_path
    key = auth.make_key(system_entropy)
    scopes = scope or [auth.READ, auth.PAY]
    record = auth.add_key(path, key, tenant, name, scopes, SystemClock().wall_ns(), _noting(settings))
    if as_json:
        where = {} if shard is None else {"shard": shard}
        told = {"key": key, "name": record.name, "tenant": record.tenant, "scopes": record.scopes, **where}
        _print(json.dumps(told))
    else:
        _print(key)
        if shard is not None:
            options.say(f"tally: tenant {record.tenant} lives in shard {shard}")
        options.say(f"tally: {record.name!r} may {', '.join(record.scopes)} for tenant {record.tenant}; shown only now")
    return Exit.DONE


@app.command("list", epilog=EPILOG)
def list_keys(data: options.Data = None, as_json: options.Json = False) -> int:
    """List the keys in force, by name: never the keys themselves.

    **Examples**

    - `tally key list`
    - `tally key list --data /var/lib/tallystick --json`
    """
    from tallystick.gateway import auth

    records = auth.list_keys(options.settings(data=data).keys_path)
    if as_json:
        rows = [
            {"name": r.name, "tenant": r.tenant, "scopes": r.scopes, "created_at": r.created_at, "sha256": r.sha256}
            for r in records
        ]
        _print(json.dumps(rows))
        return Exit.DONE
    if not records:
        options.say("tally: no keys, so nobody gets in; `tally key new NAME` makes one")
        return Exit.DONE
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "tenant", "scopes", "created", header_style="bold")
    for record in records:
        table.add_row(record.name, str(record.tenant), ", ".join(record.scopes), record.created_at)
    Console().print(table)
    return Exit.DONE


@app.command("revoke", epilog=EPILOG)
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name, as `tally key list` shows it.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Let a key in no more. Running gateways follow within a quarter of a second.

    **Example**

    - `tally key revoke shop`
    """
    from tallystick.gateway import auth

    settings = options.settings(data=data)
    record = auth.revoke_key(settings.keys_path, name, _noting(settings))
    if as_json:
        _print(json.dumps({"revoked": record.name, "tenant": record.tenant}))
    else:
        options.say(f"tally: {record.name!r} gets in no more")
    return Exit.DONE


def _placed(settings: "Settings", tenant: int, place: str) -> int:
    """The shard where the tenant lives, which is the one asked for. Raises `Invalid`, `Unavailable`."""
    from tallystick.compose import directing
    from tallystick.errors import Invalid

    if place == EMPTIEST:
        return directing.add(settings, tenant)
    if not (place.isascii() and place.isdecimal()):
        raise Invalid("--place", f"must be `{EMPTIEST}` or the number of a shard, not {place!r}")
    return directing.add(settings, tenant, int(place))


def _noting(settings: "Settings") -> "Callable[[str, KeyRecord], None]":
    """Notes each change in the log `control`, before it is made."""
    from tallystick.compose.acting import note_command
    from tallystick.gateway.auth import key_id

    def note(act: str, record: "KeyRecord") -> None:
        note_command(settings, act, key_id(record), {"tenant": str(record.tenant), "scopes": " ".join(record.scopes)})

    return note


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
