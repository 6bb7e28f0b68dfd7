"""The one file that says where the servers are: `services.json` in the folder that everything is kept in.

    {"postgresql": {"address": {"url": "postgresql://…", …}, "processes": [{"pid": 4711, "born": 1234, …}]}}

It holds passwords, and is readable by its owner only.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.server import Process

FOLDER_VARIABLE = "TALLYSTICK_SERVICES"
"""Names the folder, for `make services` and for tests."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a server that was started."""

    processes: Sequence[Process]
    address: Mapping[str, Any]

    @property
    def port(self) -> int:
        """Where it listens for clients."""
        return int(self.address["port"])


def default_folder() -> Path:
    """`$TALLYSTICK_SERVICES`, else one below the temp directory: a home that is private keeps other users out, and
    PostgreSQL runs as one. Each checkout has its own, so that none stops the servers of another.
    """
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).absolute()
    checkout = hashlib.sha256(str(Path(__file__).resolve().parents[1]).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"tallystick-services-{os.getuid()}-{checkout}"


def path(folder: Path) -> Path:
    """The file."""
    return folder / "services.json"


def read(folder: Path) -> dict[str, Kept]:
    """By name, what was started and not stopped; it may have ended by itself."""
    try:
        found = json.loads(path(folder).read_text())
    except FileNotFoundError:
        return {}
    return {
        name: Kept([Process(**process) for process in each["processes"]], each["address"])
        for name, each in found.items()
    }


def write(folder: Path, kept: Mapping[str, Kept]) -> None:
    """Replace the file."""
    scratch = path(folder).with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(json.dumps({name: asdict(each) for name, each in kept.items()}, indent=2) + "\n")
    os.replace(scratch, path(folder))
