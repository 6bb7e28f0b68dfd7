"""Wounds are noted, leave nothing behind, and say what a machine does not allow."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tallystick.clock import OFFSET_BYTES, SystemClock, write_offset
from tallystick.lab.history import file
from tallystick.lab.history.calls import End
from tallystick.lab.torture.pulse import Pulse
from tallystick.lab.torture.wounds import Wounds


class Patient:
    """An instance of one process, which does nothing."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def groups(self) -> dict[str, int]:
        return {"engine": self.process.pid}


@pytest.fixture
def patient() -> Iterator[Patient]:
    patient = Patient()
    yield patient
    patient.process.kill()
    patient.process.communicate()


@pytest.fixture
def wounds(patient: Any, tmp_path: Path) -> Wounds:
    write_offset(tmp_path / "offset", 5)
    stopped = threading.Event()
    stopped.set()  # nothing lasts
    history = file.HistoryFile(tmp_path / "h", 1)
    clock = SystemClock()
    return Wounds(patient, Random(1), history, clock, tmp_path / "offset", stopped, Pulse(lambda: 0, clock))


def noted(wounds: Wounds) -> list[str]:
    wounds.history.add(End())
    wounds.history.close()
    return [wound.what for wound in file.read(wounds.history.path).wounds]


def test_a_full_disk_ends_again(wounds: Wounds, patient: Patient) -> None:
    before = resource.prlimit(patient.process.pid, resource.RLIMIT_FSIZE)
    wounds._fill()
    assert resource.prlimit(patient.process.pid, resource.RLIMIT_FSIZE) == before
    full, room = noted(wounds)
    assert "disk full" in full
    assert "room" in room
    assert wounds.shortfalls == []


def test_a_limit_from_outside_stops_writes_of_a_running_process(tmp_path: Path) -> None:
    """That is what a full disk is made of; if it stopped nothing, torture would be gentler than it says."""
    program = (
        "import sys\n"
        "file = open(sys.argv[1], 'wb', buffering=0)\n"
        "input()\n"
        "try:\n"
        "    while file.write(bytes(700)): pass\n"
        "except OSError as error: print(error.errno, file.tell())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, hard))
    told, _ = process.communicate("\n", timeout=30)
    assert told.split() == ["27", "1000"]  # EFBIG, and what fitted was written


def test_what_a_machine_does_not_allow_is_said_once(wounds: Wounds, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(resource, "prlimit", forbidden)
    wounds._fill()
    wounds._fill()
    assert wounds.shortfalls == ["could not fill the disk on this machine: not yours"]
    assert noted(wounds) == []


def test_the_clock_is_right_again_when_all_is_over(wounds: Wounds) -> None:
    wounds._jump()
    assert wounds.offset_file.read_bytes() != (5).to_bytes(OFFSET_BYTES, "little")
    wounds.run()
    assert wounds.offset_file.read_bytes() == bytes(OFFSET_BYTES)
