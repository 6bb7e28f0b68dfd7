"""Statements and totals as they leave: JSON, CSV (RFC 4180), a page of HTML that prints. Numbers stay whole."""

import csv
import html
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from tallystick.inquiries import reads
from tallystick.projector import columns, lines

JSON, CSV, HTML = "application/json", "text/csv", "text/html"
_COLUMNS = (
    "sequence",
    "position",
    "timestamp",
    "time",
    "type",
    "side",
    "amount",
    "balance",
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
    "transfer_id",
    "other_account_id",
    "code",
    "metadata_commitment",
)


def balances(numbers: lines.Balances) -> reads.BalancesOut:
    """Four numbers as the API shows them."""
    debits_pending, debits_posted, credits_pending, credits_posted = numbers
    return reads.BalancesOut(
        str(debits_pending),
        str(debits_posted),
        str(credits_pending),
        str(credits_posted),
        str(credits_posted - debits_posted),
    )


def statement(
    account_id: bytes,
    account: lines.Account,
    position: int,
    sequence: int,
    opening: lines.Balances,
    found: Sequence[lines.Line],
    cursor: str | None,
) -> reads.StatementOut:
    """A page: `opening` is how the account stood after line `sequence`, the one before the first."""
    shown = []
    standing = opening
    for line in found:
        standing = standing if line.balances is None else line.balances
        shown.append(_line(line, standing))
    return reads.StatementOut(
        account_id=account_id.hex(),
        ledger=account.ledger,
        code=account.code,
        position=str(position),
        sequence=str(sequence),
        opening=balances(opening),
        lines=shown,
        closing=balances(standing),
        cursor=cursor,
    )


def _line(line: lines.Line, standing: lines.Balances) -> reads.LineOut:
    moved = line.moved
    fixed = (str(line.sequence), str(line.seq), str(line.decided_at), line.type, balances(standing))
    if moved is None:
        return reads.LineOut(*fixed, value=UNSET if line.value is None else str(line.value))
    return reads.LineOut(
        *fixed,
        side="debit" if line.debited else "credit",
        amount=str(int.from_bytes(moved.amount, "big")),
        transfer_id=moved.id.hex(),
        pending_id=UNSET if moved.pending_id is None else moved.pending_id.hex(),
        other_account_id=moved.other_id.hex(),
        code=moved.code,
        user_data_128=UNSET if moved.user_data_128 is None else moved.user_data_128.hex(),
        user_data_64=UNSET if moved.user_data_64 is None else str(columns.unsigned(moved.user_data_64)),
        user_data_32=UNSET if moved.user_data_32 is None else columns.unsigned(moved.user_data_32),
        metadata_commitment=UNSET if moved.metadata is None else moved.metadata.hex(),
    )


def as_media(media: str, out: reads.StatementOut, encoder: msgspec.json.Encoder) -> bytes:
    """The page as JSON, CSV or HTML."""
    if media == CSV:
        return _csv(out).encode()
    if media == HTML:
        return _html(out).encode()
    return encoder.encode(out)


def _rows(out: reads.StatementOut) -> list[list[str]]:
    rows = []
    for line in out.lines:
        whole = {**msgspec.structs.asdict(line), **msgspec.structs.asdict(line.balances), "time": _time(line.timestamp)}
        rows.append(["" if whole[name] is UNSET else str(whole[name]) for name in _COLUMNS])
    return rows


def _standing(kind: str, shown: reads.BalancesOut, sequence: str) -> list[str]:
    whole = {**msgspec.structs.asdict(shown), "type": kind, "sequence": sequence}
    return [whole.get(name, "") for name in _COLUMNS]


def _csv(out: reads.StatementOut) -> str:
    """Opening and closing balance are rows like the others, of type `opening` and `closing`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    writer.writerow(_standing("opening", out.opening, out.sequence))
    writer.writerows(_rows(out))
    writer.writerow(_standing("closing", out.closing, out.lines[-1].sequence if out.lines else out.sequence))
    return file.getvalue()


def _time(timestamp: str) -> str:
    """RFC 3339 in UTC, to the microsecond; nothing is rounded up into the next second."""
    seconds, nanoseconds = divmod(int(timestamp), 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_SHOWN = ("sequence", "time", "type", "other_account_id", "side", "amount", "balance")
_STYLE = (
    "body{font:10pt system-ui,sans-serif;margin:2em}table{border-collapse:collapse;width:100%}"
    "th,td{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:left}"
    ".number{text-align:right;font-variant-numeric:tabular-nums}thead{display:table-header-group}"
    "tr{break-inside:avoid}@page{margin:2cm}"
)


def _html(out: reads.StatementOut) -> str:
    """No script and nothing from elsewhere: it prints as it stands."""
    numbers = {"sequence", "amount", "balance"}

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = (' class="number"' if name in numbers else "" for name in _SHOWN)
        pairs = zip(kinds, row, strict=True)
        return "<tr>" + "".join(f"<{tag}{kind}>{html.escape(text)}</{tag}>" for kind, text in pairs) + "</tr>"

    at = [_COLUMNS.index(name) for name in _SHOWN]
    whole = [_standing("opening", out.opening, out.sequence), *_rows(out)]
    whole.append(_standing("closing", out.closing, out.lines[-1].sequence if out.lines else out.sequence))
    body = "\n".join(cells("td", [row[place] for place in at]) for row in whole)
    head = cells("th", [name.replace("_", " ") for name in _SHOWN])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Statement {out.account_id}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>Statement</h1>\n"
        f"<p>Account {out.account_id}, ledger {out.ledger}, as of position {out.position}. Amounts in minor units; "
        f"the balance is posted credits less posted debits.</p>\n"
        f"<table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></body></html>\n"
    )


def ledgers(rows: Sequence[tuple[Any, ...]]) -> list[reads.LedgerTotals]:
    """Rows of `totals`, by ledger and code, as trial balances."""
    found: dict[int, list[tuple[int, list[int]]]] = {}
    for _, ledger, code, accounts, *sums in rows:
        found.setdefault(ledger, []).append((code, [accounts, *(int.from_bytes(each, "big") for each in sums)]))
    return [_ledger(ledger, codes) for ledger, codes in found.items()]


def _ledger(ledger: int, codes: list[tuple[int, list[int]]]) -> reads.LedgerTotals:
    sums = [sum(column) for column in zip(*(numbers for _, numbers in codes), strict=True)]
    accounts, debits_pending, debits_posted, credits_pending, credits_posted = sums
    return reads.LedgerTotals(
        ledger=ledger,
        accounts=str(accounts),
        debits_pending=str(debits_pending),
        debits_posted=str(debits_posted),
        credits_pending=str(credits_pending),
        credits_posted=str(credits_posted),
        balanced=debits_pending == credits_pending and debits_posted == credits_posted,
        codes=[_code(code, numbers) for code, numbers in codes],
    )


def _code(code: int, numbers: list[int]) -> reads.CodeTotals:
    accounts, debits_pending, debits_posted, credits_pending, credits_posted = numbers
    return reads.CodeTotals(
        code=code,
        accounts=str(accounts),
        debits_pending=str(debits_pending),
        debits_posted=str(debits_posted),
        credits_pending=str(credits_pending),
        credits_posted=str(credits_posted),
        balance=str(credits_posted - debits_posted),
    )
