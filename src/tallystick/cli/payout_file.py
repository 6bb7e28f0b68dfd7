"""A file of payouts: read and judged whole, before anything is sent. Pure: text in, payouts or faults out.

Every row is one request of one transfer. Its request id is made from `batch` and `reference`, so the same file run
twice, or a corrected file with the rows that went through left in, pays nobody twice.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tallystick import ids, money
from tallystick.errors import Invalid

REQUIRED = ("batch", "reference", "debit_account_id", "credit_account_id", "amount", "ledger", "code")
OPTIONAL = ("user_data_128", "user_data_64", "user_data_32")
NAME_CHARACTERS_MAX = 100
"""In `batch` and in `reference`: both fit one `Idempotency-Key` of 255 characters."""


@dataclass(frozen=True, slots=True)
class Payout:
    """One row, understood."""

    line: int
    batch: str
    reference: str
    request_id: int
    transfer_id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    ledger: int
    code: int
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the file. `line` is the line of the file, from 1; `column` may be empty."""

    line: int
    column: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.what}" if self.column else f"line {self.line}: {self.what}"


def request_id(batch: str, reference: str) -> int:
    """The request id of a row, for ever: changing how it is made would pay twice.

    Both names are free of line breaks, so no two pairs meet in one key, and the key never looks like a UUID.
    """
    return ids.request_id(f"payout\n{batch}\n{reference}")


def read(data: bytes) -> tuple[list[Payout], list[Fault]]:
    """All payouts of a file and everything that is wrong with it. Send only if there are no faults."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return [], [Fault(line, "", "not UTF-8; save the file as UTF-8")]
    if "\0" in text:
        return [], [Fault(text.count("\n", 0, text.index("\0")) + 1, "", "holds a zero byte: this is no text file")]
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        return [], [Fault(1, "", f"the file is empty; its first line must name the columns: {','.join(REQUIRED)}")]
    if isinstance(first, Fault):
        return [], [first]
    header = [name.strip() for name in first[1]]
    faults = list(_header_faults(first[0], header))
    if faults:
        return [], faults
    payouts: list[Payout] = []
    lines: dict[tuple[str, str], int] = {}
    for row in rows:
        if isinstance(row, Fault):
            faults.append(row)
            continue
        line, cells = row
        if len(cells) != len(header):
            faults.append(Fault(line, "", f"has {len(cells)} cells, the first line names {len(header)} columns"))
            continue
        found = _payout(line, dict(zip(header, (cell.strip() for cell in cells), strict=True)))
        if isinstance(found, list):
            faults.extend(found)
            continue
        earlier = lines.setdefault((found.batch, found.reference), line)
        if earlier != line:
            what = f"batch {found.batch!r}, reference {found.reference!r} stands in line {earlier} already"
            faults.append(Fault(line, "reference", f"{what}; each payout needs a reference of its own"))
            continue
        payouts.append(found)
    if not payouts and not faults:
        faults.append(Fault(first[0] + 1, "", "no payouts below the column names"))
    return payouts, faults


def _rows(text: str) -> Iterator[tuple[int, list[str]] | Fault]:
    """Rows with the line they begin in; blank lines left out. A row that is no CSV is a fault and ends it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(before + 1, "", f"cannot be read as CSV ({error}); the rest of the file was not looked at")
            return
        line, before = before + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            yield line, cells


def _header_faults(line: int, header: list[str]) -> Iterator[Fault]:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        yield Fault(line, "", "columns must be separated by commas")
        return
    for name in REQUIRED:
        if name not in header:
            yield Fault(line, name, "this column is missing")
    for position, name in enumerate(header):
        if name not in REQUIRED and name not in OPTIONAL:
            yield Fault(line, name or f"column {position + 1}", f"unknown; there are {', '.join(REQUIRED + OPTIONAL)}")
        elif name in header[:position]:
            yield Fault(line, name, "named twice")


def _payout(line: int, cells: dict[str, str]) -> Payout | list[Fault]:
    """One row as a payout, or all that is wrong with it."""
    faults: list[Fault] = []

    def take(column: str, parse: Callable[[str, str], int]) -> int:
        try:
            return parse(cells[column], column)
        except Invalid as error:
            faults.append(Fault(line, column, f"{error.message}, not {cells[column][:60]!r}"))
            return 0

    def optional(column: str, parse: Callable[[str, str], int]) -> int:
        return take(column, parse) if cells.get(column) else 0

    batch = _name(line, "batch", cells, faults)
    reference = _name(line, "reference", cells, faults)
    debit = take("debit_account_id", _account_id)
    credit = take("credit_account_id", _account_id)
    if debit and debit == credit:
        faults.append(Fault(line, "credit_account_id", "is the debited account; money must go to another"))
    amount = take("amount", _amount)
    ledger = take("ledger", _whole(1, (1 << 32) - 1))
    code = take("code", _whole(1, (1 << 16) - 1))
    user_data_128 = optional("user_data_128", ids.parse)
    user_data_64 = optional("user_data_64", _whole(0, (1 << 64) - 1))
    user_data_32 = optional("user_data_32", _whole(0, (1 << 32) - 1))
    if faults:
        return faults
    request = request_id(batch, reference)
    return Payout(
        line,
        batch,
        reference,
        request,
        ids.derived(request, 0),
        debit,
        credit,
        amount,
        ledger,
        code,
        user_data_128,
        user_data_64,
        user_data_32,
    )


def _name(line: int, column: str, cells: dict[str, str], faults: list[Fault]) -> str:
    text = cells[column]
    if not text:
        faults.append(Fault(line, column, "is empty"))
    elif len(text) > NAME_CHARACTERS_MAX:
        faults.append(Fault(line, column, f"has {len(text)} characters; at most {NAME_CHARACTERS_MAX} are allowed"))
    elif not text.isprintable():
        faults.append(Fault(line, column, "holds a line break or another character that cannot be printed"))
    return text


def _account_id(text: str, column: str) -> int:
    number = ids.parse(text, column)
    if number in (0, ids.ID_MAX):
        raise Invalid(column, "must not be zero or all ones")
    return number


def _amount(text: str, column: str) -> int:
    number = money.parse(text, column)
    if number == 0:
        raise Invalid(column, "must be above zero: a payout of nothing is surely a mistake")
    return number


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(text: str, column: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
            raise Invalid(column, f"must be a whole number from {low} to {high}")
        return int(text)

    return parse
