"""`tally statement`: what happened in one account, over HTTP: as a table here, as JSON, CSV or a page to print."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.errors import Invalid, TallystickError, Unavailable

FORMATS = ("table", "json", "csv", "html")
PAGE = 1_000


def statement(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Id of the account: 32 hex digits, or a UUID.")],
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Decided at this time or later.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Decided before this time.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, csv or html.")] = "table",
    limit: Annotated[int | None, typer.Option(min=1, help="Lines at most; all if left out.")] = None,
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Print an account's statement: opening balance, every line with its number and the balance after it, closing.

    Times are RFC 3339 or nanoseconds since the epoch. CSV and HTML come page by page as the API makes them.

    **Examples**

    - `tally statement 00000000000000000000000000050ff`
    - `tally statement ACCOUNT --from 2026-01-01 --to 2026-02-01 --format csv > january.csv`
    - `tally statement ACCOUNT --limit 20 --json`
    """
    from tallystick import ids
    from tallystick.client.http import Api

    chosen = "json" if as_json else form
    if chosen not in FORMATS:
        raise Invalid("--format", f"must be one of {', '.join(FORMATS)}")
    asked = {name: value for name, value in (("from", since), ("to", until)) if value is not None}
    path = f"/v1/accounts/{ids.show(ids.parse(account, 'ACCOUNT'))}/statement"
    api = Api(url, options.api_key(key, key_file))
    try:
        if chosen in ("csv", "html"):
            for number, body in enumerate(_bodies(api, f"{path}.{chosen}", asked, limit)):
                # The column names stand once; a page of HTML is whole in itself.
                sys.stdout.write(body.split("\r\n", 1)[1] if number and chosen == "csv" else body)
        else:
            pages = list(_pages(api, path, asked, limit))
            sys.stdout.write(_json(pages) if chosen == "json" else _table(pages))
    finally:
        api.close()
    return Exit.DONE


def _get(api: Any, path: str) -> Any:
    answer = api.ask("GET", path)
    if answer.status == 200:
        return answer
    told = answer.json()
    text = f"{told.get('title', 'no answer')}: {told.get('detail', f'HTTP {answer.status}')}"
    raise Unavailable(text) if answer.status >= 500 else TallystickError(text)


def _links(api: Any, path: str, asked: dict[str, str], limit: int | None) -> Iterator[tuple[Any, int | None]]:
    """Answers page by page, each with how many lines may still follow it."""
    left = limit
    following = f"{path}?{urlencode({**asked, 'limit': str(min(PAGE, left or PAGE))})}"
    while following:
        answer = _get(api, following)
        left = None if left is None else left - PAGE
        yield answer, left
        link = answer.headers.get("link", "")
        following = link[1 : link.index(">")] if link and (left is None or left > 0) else ""


def _bodies(api: Any, path: str, asked: dict[str, str], limit: int | None) -> Iterator[str]:
    for answer, _ in _links(api, path, asked, limit):
        yield answer.body.decode()


def _pages(api: Any, path: str, asked: dict[str, str], limit: int | None) -> Iterator[dict[str, Any]]:
    for answer, left in _links(api, path, asked, limit):
        page = answer.json()
        if left is not None and left < 0:
            page["lines"] = page["lines"][: PAGE + left]
        yield page


def _json(pages: list[dict[str, Any]]) -> str:
    """All pages as one statement."""
    import json

    whole = {**pages[0], "lines": [line for page in pages for line in page["lines"]]}
    whole["closing"], whole["cursor"] = pages[-1]["closing"], pages[-1]["cursor"]
    return json.dumps(whole, indent=2) + "\n"


def _table(pages: list[dict[str, Any]]) -> str:
    from io import StringIO

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("line", "time", "what", "other account"):
        table.add_column(heading, no_wrap=True)
    for heading in ("debit", "credit", "balance"):
        table.add_column(heading, justify="right", no_wrap=True)
    first, last = pages[0], pages[-1]
    table.add_row("", "", "opening", "", "", "", first["opening"]["balance"])
    for line in (line for page in pages for line in page["lines"]):
        sides = {line.get("side"): line.get("amount", "")}
        table.add_row(
            line["sequence"],
            _time(int(line["timestamp"])),
            line["type"],
            line.get("other_account_id", ""),
            sides.get("debit", ""),
            sides.get("credit", ""),
            line["balances"]["balance"],
        )
    table.add_row("", "", "closing", "", "", "", last["closing"]["balance"])
    file = StringIO()
    Console(file=file, width=160).print(table)
    return file.getvalue()


def _time(timestamp_ns: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
