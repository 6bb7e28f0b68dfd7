"""Measures in a memory-mapped file, `<data>/run/NAME.measures`: they outlive the process that made them.

The file says itself what stands in it, so that a gateway of another version shows what it has never heard of. It
begins anew with each start of its process, as Prometheus expects of counters, and is never synced.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tallystick.measures.table import Counted, Family, Measures, size_of

SUFFIX = ".measures"
_MAGIC = b"TALLYMSR"
_HEAD_BYTES = 16  # magic, version, bytes of the description
VERSION = 1
_DESCRIPTION = msgspec.json.Decoder(tuple[Family, ...])


def create(folder: Path, name: str, families: Sequence[Family]) -> Measures:
    """A new file of zeros in `folder`, in place of an older one. Raises `OSError` if it cannot be written."""
    described = msgspec.json.encode(families)
    described += b" " * (-len(described) % 8)
    head = _MAGIC + VERSION.to_bytes(4, "little") + len(described).to_bytes(4, "little")
    scratch = folder / f".{name}{SUFFIX}.new"
    scratch.write_bytes(head + described + bytes(8 * size_of(families)))
    with scratch.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    os.replace(scratch, folder / f"{name}{SUFFIX}")  # only now, so that nobody reads half of a description
    return Measures(families, memoryview(mapped)[_HEAD_BYTES + len(described) :].cast("Q"))


def read(folder: Path) -> dict[str, list[Counted]]:
    """By process, what stands in each file of `folder` now; files that cannot be understood are left out."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found[path.name.removesuffix(SUFFIX)] = _parsed(path.read_bytes())
        except (OSError, ValueError, msgspec.DecodeError):
            continue
    return found


def _parsed(data: bytes) -> list[Counted]:
    if data[:8] != _MAGIC or int.from_bytes(data[8:12], "little") != VERSION:
        raise ValueError("no measures of this version")
    at = _HEAD_BYTES + int.from_bytes(data[12:16], "little")
    families = _DESCRIPTION.decode(data[_HEAD_BYTES:at])
    return Measures(families, memoryview(bytearray(data[at:])).cast("Q")).read()
