"""Options that several commands share, and how they become `Settings`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.errors import Invalid

if TYPE_CHECKING:
    from tallystick.settings import Settings

Json = Annotated[
    bool, typer.Option("--json", help="Machine output: JSON on standard output; progress stays on standard error.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Folder of everything that is kept. [env TALLY_DATA; tally-data]"),
]
Shard = Annotated[
    int | None,
    typer.Option(
        "--shard", min=0, metavar="NUMBER", help="Which shard of the platform in that folder. [env TALLY_SHARD; 0]"
    ),
]
OnServer = Annotated[
    str,
    typer.Option("--journal", metavar="URL", help="A PostgreSQL server; databases are made there, and dropped."),
]
OnServices = Annotated[
    str,
    typer.Option("--services", metavar="URL", help="A PostgreSQL server; databases are made there, and dropped."),
]
OnBroker = Annotated[
    str,
    typer.Option(
        "--intake", metavar="URL", help="A broker, as TALLY_INTAKE has it; topics or queues are made, and left there."
    ),
]
Url = Annotated[str, typer.Option("--url", envvar="TALLY_URL", help="Where the gateway listens.", show_default=True)]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="File that holds the API key. Else TALLY_API_KEY is used."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="TALLY_API_KEY", help="The API key; others can see it in the process list: prefer --key-file."
    ),
]
DEFAULT_URL = "http://127.0.0.1:7400"


def settings(**given: Any) -> "Settings":
    """Settings from the environment and tally.toml, with what was given on the command line in their place.

    Where a shard is named, they are those of that shard, its folder included. Raises `Invalid` naming each setting that
    makes no sense, and where it stands.
    """
    from pydantic import ValidationError

    from tallystick.settings import Settings, place_of

    try:
        found = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = "_".join(map(str, fault["loc"]))
            place = f"TALLY_{name.upper()}" if given.get(name) is not None else place_of(name)
            said = "there is no such setting" if fault["type"] == "extra_forbidden" else fault["msg"]
            faults.append(f"{place}: {said}")
        raise Invalid("", "settings: " + "; ".join(faults)) from error
    from tallystick.compose.shards import resolved

    return resolved(found)


def api_key(key: str | None, key_file: Path | None) -> str:
    """The API key to use. Raises `Invalid` if there is none, or it cannot be one."""
    found = key_file.read_text().strip() if key_file else (key or "").strip()
    if not found:
        raise Invalid("", "no API key: set TALLY_API_KEY or use --key-file; `tally key new NAME` makes one")
    if not found.isascii() or not found.isprintable() or " " in found:
        raise Invalid("", "the API key holds characters that no key has; did another file get its name?")
    return found


def say(message: str) -> None:
    """One line for people, on standard error."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
