"""The history file: one JSON object a line, in the order in which calls ended. Bytes are in base64.

Lines are for machines first and for `grep` second. A file without its `end` line was cut off, and says nothing.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tallystick.errors import Corrupt
from tallystick.lab.history.calls import VERSION, AnyCall, Block, End, ReadBlock, Record, Start, Wound
from tallystick.ledger.batches import REVIEW_TIMEOUT_S


@dataclass
class History:
    """A whole history in memory. A simulation fills one by hand; a file is read into one."""

    seed: int = 0
    calls: list[AnyCall] = field(default_factory=list)
    reads: list[ReadBlock] = field(default_factory=list)
    wounds: list[Wound] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)
    """What the run could not do on its machine."""
    review_timeout_s: int = REVIEW_TIMEOUT_S
    """How long people had for a payment in review."""

    def add(self, record: Record) -> None:
        """Take one record in."""
        if isinstance(record, Block):
            self.blocks.append(record)
        elif isinstance(record, ReadBlock):
            self.reads.append(record)
        elif isinstance(record, Wound):
            self.wounds.append(record)
        elif isinstance(record, Start):
            self.seed = record.seed
        elif isinstance(record, End):
            self.shortfalls.extend(record.shortfalls)
        else:
            self.calls.append(record)


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class HistoryFile:
    """Writes a history as it happens; threads may share it."""

    def __init__(self, path: Path, seed: int) -> None:
        """Start the file anew."""
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("wb")
        self.add(Start(seed=seed))

    def add(self, record: Record) -> None:
        """Append one record."""
        line = _encoder.encode(record) + b"\n"
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        """Write out what is buffered. Without an `End` before, the file counts as cut off."""
        self._file.close()


def write(path: Path, records: Iterable[Record], seed: int) -> None:
    """A whole history at once, from records without `Start` and `End`."""
    file = HistoryFile(path, seed)
    for record in records:
        file.add(record)
    file.add(End())
    file.close()


def read(path: Path) -> History:
    """A history file. Raises `Corrupt`, with the number of the line, for anything that is none, or no whole one."""
    history = History()
    record: Record | None = None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise Corrupt(f"{path}, line {number}: not a record of a history: {error}") from error
            if number == 1 and (not isinstance(record, Start) or record.version != VERSION):
                raise Corrupt(f"{path} is no history of version {VERSION}")
            history.add(record)
    if not isinstance(record, End):
        raise Corrupt(f"{path} does not end as a history does: it was cut off")
    return history
