"""The progress file of a follower, `<data>/run/NAME.progress`: how far it is, for whoever asks while it may be stopped.

The follower writes it now and then, whole, and renames it into place; it is not synced, since after a power cut no
follower is running whose progress it tells. Lag is worked out by the reader, who knows the journal's end and the time.
"""

import os
from pathlib import Path

import msgspec

SUFFIX = ".progress"


class ProgressFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower says of itself."""

    name: str
    pid: int
    next_seq: int
    """The first entry that it has not taken in."""
    since_ns: int
    """Nothing that it lacks was decided before, ns since the epoch; 0: it does not know yet."""
    written_at_ns: int
    trouble: str = ""
    """Why it does not come on, if it knows."""


class Lag(msgspec.Struct, frozen=True):
    """How far a follower is behind."""

    entries: int
    seconds: float
    """Nothing that it lacks is older."""


def write(folder: Path, progress: ProgressFile) -> None:
    """Replace the progress file in `folder`. Raises `OSError` if it cannot be written: a later one will do."""
    scratch = folder / f".{progress.name}{SUFFIX}.new"
    scratch.write_bytes(msgspec.json.encode(progress) + b"\n")
    os.replace(scratch, folder / f"{progress.name}{SUFFIX}")


def read(folder: Path) -> dict[str, ProgressFile]:
    """By name, what each follower of this data folder wrote last; those that cannot be read are left out."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            progress = msgspec.json.decode(path.read_bytes(), type=ProgressFile)
        except (OSError, msgspec.DecodeError):
            continue
        found[progress.name] = progress
    return found


def lag(progress: ProgressFile, end: int, now_ns: int) -> Lag:
    """How far behind a follower is, of a journal that ends at `end`, at `now_ns` since the epoch."""
    entries = max(0, end - progress.next_seq)
    if not entries:
        return Lag(0, 0.0)
    since_ns = progress.since_ns or progress.written_at_ns
    return Lag(entries, max(0, now_ns - since_ns) / 1e9)
