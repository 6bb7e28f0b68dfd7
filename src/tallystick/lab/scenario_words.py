"""The words of a scenario table: lines, names, numbers, durations, and what is packed of them (`lab.scenarios`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tallystick.errors import Invalid
from tallystick.records.commands import EVENTS, Kind, Side
from tallystick.statuses import AccountStatus, ControlStatus, Status, TransferStatus

TABLES: dict[Kind, type[TransferStatus] | type[AccountStatus] | type[ControlStatus]] = {
    Kind.TRANSFER: TransferStatus,
    Kind.ACCOUNT: AccountStatus,
    Kind.CONTROL: ControlStatus,
}
_NUMBER = re.compile(r"(max|(\d+)\^(\d+)|[\d,_]+)(?:([+-])(\d+))?")
_DURATION = re.compile(r"(-?\d+)(ns|us|ms|s|m|h|d|y)")
_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_NS["y"] = 365 * _NS["d"]
SUCCESS = ("created", "applied", "opened", "posted", "pending", "voided", "approved", "rejected")
"""What a table may call it when something is done."""
SIDES = {"debits": Side.DEBITS, "credits": Side.CREDITS, "both": Side.BOTH, "nothing": Side(0)}


@dataclass(frozen=True)
class Line:
    """One line of a table, as it stands and taken apart."""

    number: int
    text: str
    words: list[str]
    expected: str | None

    def fail(self, message: str) -> AssertionError:
        """What did not come true."""
        return AssertionError(f"line {self.number}: {self.text}\n  {message}")

    def invalid(self, message: str) -> Invalid:
        """What cannot be read."""
        return Invalid(f"line {self.number}: {self.text}", message)


def lines_of(table: str) -> Iterator[Line]:
    """Its lines, comments and empty ones left out."""
    for number, raw in enumerate(table.splitlines(), 1):
        text = raw.split("#")[0].strip()
        if text:
            asked, _, expected = text.partition("->")
            yield Line(number, text, asked.split(), expected.strip() or None)


@dataclass
class Names:
    """Ids of names, in order of appearance; both halves of each are used."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, word: str) -> int:
        """The id of a name; a number is its own."""
        if is_number(word):
            return number(word)
        if word not in self.known:
            place = len(self.known) + 1
            self.known[word] = place << 64 | place
        return self.known[word]


def number(word: str) -> int:
    """An amount or id as tables write it. Raises `ValueError`."""
    found = _NUMBER.fullmatch(word)
    if found is None:
        raise ValueError(f"{word} is no number")
    whole, base, exponent, sign, more = found.groups()
    if whole == "max":
        value = (1 << 128) - 1
    elif base is not None:
        value = int(base) ** int(exponent)
    else:
        value = int(whole.replace(",", "").replace("_", ""))
    if sign is not None:
        value += int(more) if sign == "+" else -int(more)
    if not 0 <= value < 1 << 128:
        raise ValueError(f"{word} does not fit 128 bits")
    return value


def is_number(word: str) -> bool:
    """Whether the word is a number, and no name."""
    return _NUMBER.fullmatch(word) is not None


def duration(word: str) -> int:
    """Nanoseconds. Raises `ValueError`."""
    found = _DURATION.fullmatch(word)
    if found is None:
        raise ValueError(f"{word} is no duration")
    return int(found[1]) * _NS[found[2]]


def side(words: list[str]) -> Side:
    """Which side a freeze names; both if none. Raises `KeyError`."""
    named = [word for word in words if "=" not in word and word != "linked"]
    return SIDES[named[0]] if named else Side.BOTH


def packed(kind: Kind, events: list[dict[str, int]]) -> bytes:
    """The events' bytes, n × 128."""
    rows = np.zeros(len(events), EVENTS[kind])
    for row, event in zip(rows, events, strict=True):
        for name, value in event.items():
            if f"{name}_lo" in (rows.dtype.names or ()):
                row[f"{name}_lo"], row[f"{name}_hi"] = value & 0xFFFFFFFFFFFFFFFF, value >> 64
            else:
                row[name] = value
    return rows.tobytes()


def whole_field(row: Any, name: str) -> int:
    """A 128-bit field."""
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def name_of(status: Status) -> str:
    """The status as tables spell it."""
    return status.name.lower()


def expected_status(line: Line, kind: Kind) -> str:
    """The name of the status; success is spelled as the table likes."""
    success = "applied" if kind is Kind.CONTROL else "created"
    expected = line.expected or success
    if expected in SUCCESS:
        return success
    if expected.upper() not in TABLES[kind].__members__:
        raise line.invalid(f"{expected} is no status of a {kind.name.lower()}")
    return expected
