"""Writes the pages that are made from code, or with `--check` says which are out of date. Run by `make docs`."""

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic.fields import FieldInfo

from tallystick import statuses
from tallystick.records import layouts
from tallystick.relay import asyncapi
from tallystick.settings import Settings

HERE = Path(__file__).parent

CONFIGURATION_HEAD = """\
# Settings

<!-- Generated from src/tallystick/settings.py by `make docs`. Do not edit. -->

Each is an environment variable, or a line of the file `tally.toml` in the folder where a process starts, read once
then. `TALLY_CONFIG` names another file. In it the names are small and without the prefix; the environment goes before
the file, and an option of a command before both. Sizes are bytes, times seconds.

```toml
data = "/var/lib/tallystick"
journal = "postgresql://tally_engine@127.0.0.1/bank?sslmode=verify-full"
http_port = 7400
```

| variable | default | bounds | meaning |
|---|---|---|---|
"""

CLIENT_TAIL = """
Commands that talk to a gateway (`tally pay`) read two more:

| variable | default | meaning |
|---|---|---|
| `TALLY_URL` | `http://127.0.0.1:7400` | Where the gateway listens. |
| `TALLY_API_KEY` | – | The API key, unless `--key-file` names a file that holds it. |
"""


def _bounds(info: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):,}"
        for limit in info.metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    return ", ".join(found)


def _default(info: FieldInfo) -> str:
    value = info.get_default()
    return "–" if value is None else f"`{value}`"


def configuration() -> str:
    """docs/configuration.md, whole."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(info)} | {_bounds(info)} | {info.description} |\n"
        for name, info in Settings.model_fields.items()
    ]
    return CONFIGURATION_HEAD + "".join(rows) + CLIENT_TAIL


STATUSES_HEAD = """\
# Statuses

<!-- Generated from src/tallystick/statuses.py by `make docs`. Do not edit. -->

What the ledger says about each command, in order of precedence: the first that applies is told. Names and numbers
are TigerBeetle's; those from 1001 on are ours. None is ever renamed or given to something else.

A *transient* refusal is one that another moment might not have given. It spends the transfer's id all the same: a new
try needs a new request, or it gets the first answer again. HTTP is the answer to a request for one command; a batch is
200, with a status for each.
"""

STATUS_TABLES = {
    "Of transfers": statuses.TransferStatus,
    "Of accounts": statuses.AccountStatus,
    "Of control commands": statuses.ControlStatus,
    "Of whole requests": statuses.RequestStatus,
}


def all_statuses() -> str:
    """docs/statuses.md, whole."""
    parts = [STATUSES_HEAD]
    for title, table in STATUS_TABLES.items():
        parts.append(f"\n## {title}\n\n| status | number | HTTP | transient |\n|---|---|---|---|\n")
        for status in table:
            # A control command that was applied made nothing: the API answers 200.
            http = 200 if status is statuses.ControlStatus.APPLIED else statuses.http(status)
            transient = "yes" if statuses.transient(status) else ""
            parts.append(f"| `{statuses.name(status)}` | {int(status)} | {http} | {transient} |\n")
    return "".join(parts)


def verifier() -> str:
    """docs/pages/verify-receipt.html, whole: one file, whose own policy lets it run its script and ask nobody."""
    names = {statuses.stored(status): statuses.name(status) for status in statuses.TransferStatus}
    parts = {name: (HERE / "verifier" / name).read_text(encoding="utf-8") for name in ("verify.js", "page.css")}
    script = f"\n{parts['verify.js']}\nconst STATUSES = {json.dumps(names)};\n"
    style = f"\n{parts['page.css']}"
    page = (HERE / "verifier" / "page.html").read_text(encoding="utf-8")
    filled = {"script_hash": _source(script), "style_hash": _source(style), "style": style, "script": script}
    for name, content in filled.items():
        page = page.replace("{" + name + "}", content)
    return page


def _source(content: str) -> str:
    """What a Content-Security-Policy calls this very script or style (W3C CSP3 §2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "pages/asyncapi.json": asyncapi.page,
    "pages/verify-receipt.html": verifier,
    "records.md": layouts.page,
    "statuses.md": all_statuses,
}


def main(arguments: list[str]) -> int:
    """Write every page, or check it; returns the exit code."""
    stale = [name for name, page in PAGES.items() if not _current(HERE / name, page())]
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is out of date: run `make docs`\n")
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(PAGES[name](), encoding="utf-8")
    return 0


def _current(path: Path, wanted: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
