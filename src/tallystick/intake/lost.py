"""Lanes that a restore lost: the journal has taken more of them than the intake still holds.

It happens where a journal is rolled forward from its archive and the intake is of yesterday. All that such a lane holds
is decided; a block added to it now would have the number of one that is decided too, and would be passed over as a
redelivery. So nobody writes to it or reads it again. The journal's positions go on naming it.
"""

from collections.abc import Iterable
from pathlib import Path

from tallystick.blockfile import slots
from tallystick.blockfile.disk import Disk
from tallystick.intake.port import LaneId

NAME = "lost"
_ID_SIZE = 16


def read(folder: Path, disk: Disk) -> frozenset[LaneId]:
    """The lost lanes of the intake in `folder`."""
    data = slots.read(folder / NAME, disk) or b""
    return frozenset(data[at : at + _ID_SIZE] for at in range(0, len(data), _ID_SIZE))


def add(folder: Path, disk: Disk, lanes: Iterable[LaneId]) -> None:
    """Note that these are lost, too. Durable on return. The caller holds the lanes' lock."""
    known = read(folder, disk)
    if more := frozenset(lanes) - known:
        record = slots.Slots(folder / NAME, disk)
        try:
            record.store(b"".join(sorted(known | more)))
        finally:
            record.close()
