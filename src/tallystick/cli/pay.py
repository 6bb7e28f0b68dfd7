"""`tally pay FILE.csv`: run a file of payouts. Safe to run twice."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit, fail
from tallystick.cli.options import say
from tallystick.errors import Invalid

if TYPE_CHECKING:
    from tallystick.cli.payout_file import Fault, Payout
    from tallystick.cli.payouts import Row, Sender

FAULTS_SHOWN = 50


def pay(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The payouts, UTF-8, columns separated by commas.")],
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    report: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where the report goes; else FILE.report.csv, beside it.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Payouts under way at once.")] = 16,
    patience: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to ask for the outcome of one row.")
    ] = 60.0,
    check: Annotated[bool, typer.Option("--check", help="Only check the file; send nothing.")] = False,
    as_json: options.Json = False,
) -> int:
    """Pay every row of a file, after the whole file has been checked.

    Columns: `batch`, `reference`, `debit_account_id`, `credit_account_id`, `amount` (minor units), `ledger`, `code`;
    if wanted `user_data_128`, `user_data_64`, `user_data_32`. If anything is wrong with any row, every fault is listed
    and nothing is sent.

    `batch` and `reference` identify a payout: run the file again, or a longer version of it, and what was decided
    before is reported again, not paid again. The same two with another amount or account are refused
    (`idempotency_key_reused`). Exit code 0 if all were created, now or before; 1 if some were refused; 2 if the
    outcome of some is not known yet: run the same command again.

    **Examples**

    - `tally pay payouts.csv`
    - `tally pay payouts.csv --check` look, but send nothing
    - `tally pay payouts.csv --report done.csv --json`
    """
    from tallystick.cli import payout_file

    payouts, faults = payout_file.read(file.read_bytes())
    if faults:
        return _tell_faults(file, faults, as_json)
    if check:
        return _tell({"rows": len(payouts), "faults": []}, f"{file}: {len(payouts):,} payouts, no faults", as_json)
    secret = options.api_key(key, key_file)
    report = report or file.with_name(f"{file.stem}.report.csv")
    if report.resolve() == file.resolve():
        raise Invalid("--report", "would overwrite the payouts; choose another name")
    _writable(report)

    from tallystick.cli import payouts as sending
    from tallystick.client.http import Api
    from tallystick.clock import SystemClock

    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    api = Api(url, secret, connections)
    try:
        sender = sending.Sender(api, connections, patience)
        rows = _send(sender, payouts)
    finally:
        api.close()
    sending.write_report(report, rows)
    seconds = (clock.monotonic_ns() - started_ns) / 1e9
    found = sending.summary(rows)
    code = _exit_code(rows)
    if sender.denied is not None and found["not_sent"] == len(rows):
        return fail(f"nothing was paid: {sender.denied}; check the API key", Exit.NOT_DONE, as_json)
    _tell(
        {**found, "report": str(report), "seconds": round(seconds, 3), "exit_code": int(code)},
        _sentence(found, report, seconds, rows),
        as_json,
    )
    return code


def _send(sender: "Sender", payouts: "Sequence[Payout]") -> "list[Row]":
    """Send, with a progress bar on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    counts = {"refused": 0}
    columns = (TextColumn("paying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[refused]} refused"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("paying", total=len(payouts), refused=0)

        def settled(row: "Row") -> None:
            counts["refused"] += row.result == "refused"
            progress.update(task, advance=1, refused=counts["refused"])

        return sender.send(payouts, settled)


def _exit_code(rows: "Sequence[Row]") -> Exit:
    results = {row.result for row in rows}
    if results & {"unknown", "not_sent"}:
        return Exit.UNKNOWN
    return Exit.REFUSED if "refused" in results else Exit.DONE


def _sentence(found: dict[str, object], report: Path, seconds: float, rows: "Sequence[Row]") -> str:
    parts = [f"{found['created']:,} of {found['rows']:,} payouts created"]
    if found["replayed"]:
        parts.append(f"{found['replayed']:,} decided in an earlier run")
    for name in ("refused", "unknown", "not_sent"):
        if found[name]:
            parts.append(f"{found[name]:,} {name.replace('_', ' ')}")
    text = f"{', '.join(parts)}, in {seconds:.1f} s. Report: {report}"
    if found["unknown"] or found["not_sent"]:
        why = next((row.detail for row in rows if row.result in ("unknown", "not_sent") and row.detail), "interrupted")
        text += f"\nNot all outcomes are known ({why}). Run the same command again: nobody is paid twice."
    return text


def _tell(found: dict[str, object], sentence: str, as_json: bool) -> int:
    sys.stdout.write((json.dumps(found) if as_json else sentence) + "\n")
    sys.stdout.flush()
    return Exit.DONE


def _tell_faults(file: Path, faults: "Sequence[Fault]", as_json: bool) -> int:
    if as_json:
        listed = [{"line": fault.line, "column": fault.column, "what": fault.what} for fault in faults]
        sys.stdout.write(json.dumps({"error": "faults in the file", "exit_code": 3, "faults": listed}) + "\n")
        return Exit.NOT_DONE
    for fault in faults[:FAULTS_SHOWN]:
        say(f"{file}: {fault}")
    if len(faults) > FAULTS_SHOWN:
        say(f"{file}: and {len(faults) - FAULTS_SHOWN:,} more; --json lists all")
    return fail(f"nothing was sent: correct {len(faults):,} fault(s) in {file} and run it again", Exit.NOT_DONE, False)


def _writable(report: Path) -> None:
    """Find out before paying, not after, that the report cannot be written."""
    probe = report.with_name(f".{report.name}.new")
    probe.write_bytes(b"")
    probe.unlink()
