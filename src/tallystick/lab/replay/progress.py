"""How far a replay is, in a file beside the history: a hint, so that the next run need not begin at the first row.

It is never needed for safety: ids come from the rows, so rows sent twice are paid once.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec


class State(msgspec.Struct, frozen=True):
    """What the file holds."""

    history: str
    fingerprint: str
    """Of all that would make the same rows other payments, or send them elsewhere: mapping, gateway, size of file."""
    rows_done: int
    """All rows before this one have their outcome, or cannot be understood."""


def read(path: Path, history: str, fingerprint: str) -> int:
    """Rows done by an earlier run of just this; 0 if there was none."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return 0
    return state.rows_done if (state.history, state.fingerprint) == (history, fingerprint) else 0


def write(path: Path, state: State) -> None:
    """Replace the file. Raises `OSError`."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_bytes(msgspec.json.encode(state) + b"\n")
    os.replace(scratch, path)


@dataclass
class Watermark:
    """The first row that is not done, as rows become done in any order."""

    at: int
    _beyond: set[int] = field(default_factory=set)

    def done(self, row: int) -> None:
        """This row is."""
        self._beyond.add(row)
        while self.at in self._beyond:
            self._beyond.discard(self.at)
            self.at += 1
