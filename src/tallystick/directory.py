"""The directory of tenants as gateways read it: a file in the data folder of shard 0, derived from its journal.

Shard 0's engine writes it, whole, once a placement is durable, and again when it starts; so it may be old by a moment,
or be missing, and never tells what was not durable. A gateway that goes by an old one is told so by the shard that it
turns to, which goes by its own journal (ADR 0016).
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tallystick.errors import Corrupt, Unavailable
from tallystick.records.placements import Home

FOLDER, FILE_NAME = "shards", "directory.json"


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: int
    shard: int
    moving: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenants: list[_Row]


def path(data: Path) -> Path:
    """Where it stands in the data folder of shard 0."""
    return data / FOLDER / FILE_NAME


def write(where: Path, homes: Mapping[int, Home]) -> None:
    """Replace it. Raises `Unavailable` if it cannot be written."""
    rows = [_Row(tenant, home.shard, home.moving) for tenant, home in sorted(homes.items())]
    scratch = where.with_suffix(".new")
    try:
        where.parent.mkdir(exist_ok=True)
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(_File(rows)), indent=2) + b"\n")
        os.replace(scratch, where)
    except OSError as error:
        raise Unavailable(f"the directory of tenants {where} could not be written: {error}") from error


def read(where: Path) -> dict[int, Home]:
    """By tenant, where each lives that was placed; empty if there is none. Raises `Corrupt`, `Unavailable`."""
    try:
        found = msgspec.json.decode(where.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise Corrupt(f"{where} is no directory of tenants: {error}; remove it and start shard 0's engine") from error
    except OSError as error:
        raise Unavailable(f"the directory of tenants {where} cannot be read: {error}") from error
    return {row.tenant: Home(row.shard, row.moving) for row in found.tenants}
