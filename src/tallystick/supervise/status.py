"""The status file, `<data>/run/supervisor.json`: which processes run, by pid. For people, tools and the next start.

Written whole and renamed into place at every change, so a reader sees one state or the next. It is not synced:
after a power cut no process is left for it to tell about.
"""

import os
from pathlib import Path

import msgspec

FILE_NAME = "supervisor.json"


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process under supervision."""

    name: str
    state: str
    """`waiting` (to be started), `running` or `ended` (for good)."""
    pid: int | None
    start_ticks: int | None
    started_at_ns: int
    """Of the latest start, nanoseconds since the epoch; 0 before the first."""
    starts: int
    last_exit: int | None
    """Exit code of the latest end, minus the signal's number if one ended it."""


class SupervisorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor and what it watches."""

    pid: int
    processes: list[ProcessStatus]

    def pid_of(self, name: str) -> int | None:
        """The pid of the process called `name`, None if it does not run."""
        return next((process.pid for process in self.processes if process.name == name), None)


def write(folder: Path, status: SupervisorStatus) -> None:
    """Replace the status file in `folder`."""
    scratch = folder / f".{FILE_NAME}.new"
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(status), indent=2))
    os.replace(scratch, folder / FILE_NAME)


def read(folder: Path) -> SupervisorStatus | None:
    """The status file in `folder`; None if there is none, or one that this version cannot read."""
    try:
        return msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=SupervisorStatus)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def remove(folder: Path) -> None:
    """Take the status file away: nothing runs."""
    (folder / FILE_NAME).unlink(missing_ok=True)
