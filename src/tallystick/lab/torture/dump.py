"""The journal as evidence: read while the platform runs, as a follower does, and whole at the end."""

import threading
from contextlib import suppress

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.reader import BlockReader
from tallystick.clock import SystemClock
from tallystick.compose.journals import Place
from tallystick.errors import Unavailable
from tallystick.intake.files import CONTROL_SUFFIX, PAY_SUFFIX
from tallystick.lab.history.calls import Block, ReadBlock
from tallystick.lab.history.file import HistoryFile
from tallystick.lab.instance import pause

POLL_S = 0.05


def follow(place: Place, history: HistoryFile, clock: SystemClock, stopped: threading.Event) -> None:
    """Note every block as soon as it is durable, until told to stop. Raises `Corrupt` for one that is damaged."""
    reader = place.reader(SystemDisk())
    seq = 0
    try:
        while not stopped.wait(POLL_S):
            start_ns = clock.monotonic_ns()
            with suppress(Unavailable):  # its server was killed just now
                for block in reader.read(seq):
                    header = block.header
                    history.add(
                        ReadBlock(start_ns=start_ns, end_ns=clock.monotonic_ns(), first=header.first, hash=header.hash)
                    )
                    seq = header.next
    finally:
        reader.close()


def dump(place: Place, history: HistoryFile) -> int:
    """The whole journal into the history; returns how many entries. Raises `Corrupt` if a block fails."""
    reader = place.reader(SystemDisk())
    seq = 0
    try:
        for block in reader.read(0):
            header = block.header
            entries, details = block.entries.tobytes(), block.details.tobytes()
            history.add(Block(first=header.first, hash=header.hash, entries=entries, details=details))
            seq = header.next
    finally:
        reader.close()
    return seq


def wait_drained(place: Place, clock: SystemClock, seconds: float) -> bool:
    """Wait until all that any lane holds is decided; whether "not decided" means "never" now. Raises `Unavailable`.

    What a broker's lanes hold only the engine is told: there it never means that.
    """
    if not (place.folder / "intake").exists():
        return False
    until_ns = clock.monotonic_ns() + round(seconds * 1e9)
    while waiting := _waiting(place):
        if clock.monotonic_ns() > until_ns:
            raise Unavailable(f"after {seconds:.0f} s of rest, blocks still wait in {', '.join(waiting)}")
        pause(POLL_S)
    return True


def _waiting(place: Place) -> list[str]:
    """Lanes that hold a durable block which the journal does not know yet."""
    ends = {}
    for folder in (place.folder / "intake").iterdir():
        if folder.suffix in (PAY_SUFFIX, CONTROL_SUFFIX):
            reader = BlockReader(folder, SystemDisk())
            try:
                ends[bytes.fromhex(folder.stem)] = _last(reader)
            finally:
                reader.close()
    positions = _positions(place)
    return [lane.hex() for lane, last in ends.items() if last > positions.get(lane, 0)]


def _last(reader: BlockReader) -> int:
    """Number of the last durable block of a lane, 0 for none."""
    end = reader.end()
    if not end:
        return 0
    cursor, last = reader.cursor(reader.starts(end)[-1], None), 0
    while found := cursor.next_header(end):
        last = found[1].first
    return last


def _positions(place: Place) -> dict[bytes, int]:
    reader = place.reader(SystemDisk())
    positions: dict[bytes, int] = {}
    try:
        end = reader.end()
        for block in reader.read(max(end - 1, 0)):
            positions = block.positions
    finally:
        reader.close()
    return positions
