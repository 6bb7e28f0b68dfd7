"""The intake in block files: the embedded default (DESIGN §6).

The folder holds a block file for each lane, named by its id and sort, the lock `lanes.lock` and the register
`lanes`, which counts lanes opened. A gateway checks and repairs a lane only while it holds `lanes.lock`. The engine
takes that lock once before it first receives and repairs the lanes nobody holds: so every durable end it then reads
was set after the last power cut, and no acknowledged block waits for a gateway that never comes back.

Lane folders are never deleted, so a journaled position above 0 of a lane that is not here is `Corrupt`, unless a
restore lost it (`intake.lost`).
"""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from tallystick.blockfile.cursor import Cursor
from tallystick.blockfile.disk import Disk, Register
from tallystick.blockfile.reader import BlockReader
from tallystick.blockfile.writer import BlockWriter
from tallystick.clock import Clock, Entropy
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown
from tallystick.intake import lost
from tallystick.intake.port import LaneId
from tallystick.intake.turns import Turns
from tallystick.records.blocks import HEADER_SIZE, Bytes, CommandBlock, command_block, parse_header
from tallystick.records.commands import COMMAND_SIZE, COMMANDS_MAX

LANES_LOCK_NAME = "lanes.lock"
LANES_COUNT_NAME = "lanes"
PAY_SUFFIX = ".pay"
CONTROL_SUFFIX = ".control"
_ORIGIN = 1
_BLOCK_BYTES_MAX = HEADER_SIZE + COMMANDS_MAX * COMMAND_SIZE
_TRIM_EVERY_NS = 1_000_000_000


def lane_folders(folder: Path, disk: Disk) -> dict[LaneId, str]:
    """The lanes of an intake's folder: by id, the name of each one's own folder."""
    found = {}
    for name in disk.list(folder):
        stem, dot, sort = name.partition(".")
        if dot + sort in (PAY_SUFFIX, CONTROL_SUFFIX) and len(stem) == 32:
            found[bytes.fromhex(stem)] = name
    return found


class FileLane:
    """The writing end of one lane: a block file under its exclusive lock."""

    prompt = True

    def __init__(self, id: LaneId, control: bool, writer: BlockWriter, shard: int, spent: set[LaneId]) -> None:
        """`spent` gets the id if a submit ends unknown: this process then opens the lane no more."""
        self.id = id
        self.control = control
        self._writer = writer
        self._shard = shard
        self._spent = spent
        _refuse_foreign(id, shard, writer.last)

    def submit(self, commands: Bytes) -> int:
        number = self._writer.next
        buffers = command_block(self.id, number, commands, self._shard)
        try:
            self._writer.append(parse_header(buffers[0]), buffers)
        except OutcomeUnknown:
            self._spent.add(self.id)
            raise
        return number

    def prepare(self) -> bool:
        """Fill a bit more of the next segment with zeros, in the background; returns whether there is more to do."""
        return self._writer.prepare()

    def close(self) -> None:
        self._writer.close()


def _refuse_foreign(lane: LaneId, shard: int, block: object) -> None:
    if block is None:
        return
    if not isinstance(block, CommandBlock) or block.header.lane != lane or block.header.shard != shard:
        raise Corrupt(f"lane {lane.hex()}: it holds a block that is not its own")


class _LaneReader:
    """How far one lane was read. `waiting` are blocks read but not yet known to be journaled, in order."""

    def __init__(self, id: LaneId, control: bool, reader: BlockReader, shard: int) -> None:
        self.id = id
        self.control = control
        self.reader = reader
        self.waiting: deque[CommandBlock] = deque()
        self._shard = shard
        self._cursor: Cursor | None = None
        self._next = _ORIGIN

    def seek(self, position: int) -> None:
        """Let `waiting` begin with the block after `position`. Raises `Corrupt` if the lane does not reach there."""
        waiting = self.waiting
        while waiting and waiting[0].header.first <= position:
            waiting.popleft()
        due = waiting[0].header.first if waiting else self._next
        if due != position + 1:
            self._find(position)

    def block(self, index: int) -> CommandBlock | None:
        """Block number `index` of those waiting, read if it is durable; else None."""
        waiting = self.waiting
        while len(waiting) <= index:
            end = self.reader.end()
            if self._cursor is None:
                if not end:
                    return None
                self._cursor = self._cursor_at_segment_of(self._next, end)
                self._skip_to(self._next, end)
            elif self._cursor.at == end:
                return None
            found = self._cursor.next(end)
            if found is None:
                return None
            block = found[1]
            _refuse_foreign(self.id, self._shard, block)
            assert isinstance(block, CommandBlock)
            waiting.append(block)
            self._next = block.header.next
        return waiting[index]

    def _find(self, position: int) -> None:
        """Go to the block after `position`, forwards or backwards, by the segments' first blocks."""
        end = self.reader.end()
        self.waiting.clear()
        self._cursor = self._cursor_at_segment_of(position + 1, end) if end else None
        self._next = position + 1
        self._skip_to(position + 1, end)

    def _cursor_at_segment_of(self, number: int, end: int) -> Cursor:
        for start in reversed(self.reader.starts(end)):
            found = self.reader.cursor(start, _ORIGIN if start == 0 else None).next_header(end)
            if found and found[1].first <= number:
                return self.reader.cursor(start, found[1].first)
        raise Corrupt(f"lane {self.id.hex()}: block {number} is due, but was deleted as journaled")

    def _skip_to(self, number: int, end: int) -> None:
        cursor = self._cursor
        at = _ORIGIN if cursor is None else cursor.expected
        while cursor is not None and cursor.expected != number and cursor.next_header(end):
            at = cursor.expected
        if at != number:
            raise Corrupt(f"lane {self.id.hex()}: journaled up to block {number - 1}, but it ends before block {at}")

    def trim(self, position: int, written_before_ns: int) -> None:
        """Delete the oldest segments whose blocks are all at or below `position`, but never that of the last block."""
        end = self.reader.end()
        starts = self.reader.starts(end) if end else []
        done = []
        for start, following in pairwise(starts):
            if self._cursor is not None and self._cursor.at < following:
                break  # all of it is taken, but the way to the next segment leads past its end
            found = self.reader.cursor(following, None).next_header(end)
            if not found or found[1].first > position + 1 or self.reader.modified_ns(start) > written_before_ns:
                break
            done.append(start)
        if done:
            self.reader.trim(done)


class FileIntake:
    """All lanes of a shard in one folder. A gateway opens lanes, the engine receives. Not safe for concurrent calls."""

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        clock: Clock,
        entropy: Entropy,
        segment_bytes: int,
        retention_s: float,
        shard: int = 0,
    ) -> None:
        """Create the folder if missing. `retention_s`: how long decided blocks are kept at least."""
        self.folder = folder
        self._disk = disk
        self._clock = clock
        self._entropy = entropy
        self._segment_bytes = segment_bytes
        self._retention_ns = int(retention_s * 1e9)
        self._shard = shard
        disk.make_folder(folder)
        register = disk.register(folder / LANES_COUNT_NAME, writable=True)
        assert register is not None
        self._lanes_count: Register = register
        self._lanes: dict[LaneId, _LaneReader] = {}
        self._known: set[LaneId] = set()  # those, and the lost ones
        self._turns = Turns()
        self._seen = -1
        self._repaired = False
        self._spent: set[LaneId] = set()
        self._done: dict[LaneId, int] = {}
        self._trim_at_ns = 0

    def open_lane(self, control: bool) -> FileLane:
        lock = self._disk.lock(self.folder / LANES_LOCK_NAME, wait=True)
        try:
            lane = self._adopt(control) or self._mint(control)
            self._lanes_count.store(self._lanes_count.load() + 1)
            return lane
        finally:
            lock.release()

    def _adopt(self, control: bool) -> FileLane | None:
        for id, lane_control in self.lanes():
            if lane_control == control and id not in self._spent:
                try:
                    return self._open(id, control)
                except Fenced:
                    continue
                except OutcomeUnknown:
                    self._spent.add(id)  # its disk place fails: leave the lane to a later process
        return None

    def _mint(self, control: bool) -> FileLane:
        return self._open(self._entropy(16), control)

    def _open(self, id: LaneId, control: bool) -> FileLane:
        writer = BlockWriter(self._path(id, control), self._disk, self._segment_bytes, _ORIGIN, _BLOCK_BYTES_MAX)
        try:
            return FileLane(id, control, writer, self._shard, self._spent)
        except Corrupt:
            writer.close()
            raise

    def _path(self, id: LaneId, control: bool) -> Path:
        return self.folder / (id.hex() + (CONTROL_SUFFIX if control else PAY_SUFFIX))

    def lanes(self) -> list[tuple[LaneId, bool]]:
        """Id of every lane there is, and whether it carries control commands; without those that a restore lost."""
        gone = lost.read(self.folder, self._disk)
        found = lane_folders(self.folder, self._disk).items()
        return [(id, name.endswith(CONTROL_SUFFIX)) for id, name in found if id not in gone]

    def give_up(self, positions: Mapping[LaneId, int]) -> list[LaneId]:
        """Give up each lane that does not reach its position: returns them, durably lost (`intake.lost`).

        For a journal that is rolled forward to `positions`, before it is. Raises `Fenced` if a gateway writes to one.
        """
        lock = self._disk.lock(self.folder / LANES_LOCK_NAME, wait=True)
        try:
            kinds, short = dict(self.lanes()), []
            for id, position in positions.items():
                if position and (id not in kinds or not self._reaches(id, kinds[id], position)):
                    short.append(id)
            lost.add(self.folder, self._disk, short)
            return short
        finally:
            lock.release()

    def _reaches(self, id: LaneId, control: bool, position: int) -> bool:
        writer = BlockWriter(self._path(id, control), self._disk, self._segment_bytes, _ORIGIN, _BLOCK_BYTES_MAX)
        try:
            return writer.next > position
        finally:
            writer.close()

    def receive(self, positions: Mapping[LaneId, int], control_max: int, commands_max: int) -> list[CommandBlock]:
        if self._seen != self._lanes_count.load() and not self._look_for_lanes():
            return []
        if not positions.keys() <= self._known:
            self._refuse_missing(positions)
        for lane in self._lanes.values():
            lane.seek(positions.get(lane.id, 0))
        return self._turns.take(control_max, commands_max)

    def _look_for_lanes(self) -> bool:
        """List the lanes; before the first time, repair. False if a gateway is repairing one: ask again soon."""
        if not self._repaired:
            try:
                lock = self._disk.lock(self.folder / LANES_LOCK_NAME)
            except Fenced:
                return False
            try:
                for id, control in self.lanes():
                    self._repair(id, control)
            finally:
                lock.release()
            self._repaired = True
        self._seen = self._lanes_count.load()
        for id, control in self.lanes():
            if id not in self._lanes:
                lane = _LaneReader(id, control, BlockReader(self._path(id, control), self._disk), self._shard)
                self._lanes[id] = lane
                self._turns.add(lane)
        self._known = self._lanes.keys() | lost.read(self.folder, self._disk)
        return True

    def _repair(self, id: LaneId, control: bool) -> None:
        try:
            self._open(id, control).close()
        except Fenced:
            return  # its writer lives, and repaired it before it let go of the lanes' lock

    def _refuse_missing(self, positions: Mapping[LaneId, int]) -> None:
        for id, position in positions.items():
            if position and id not in self._known:
                raise Corrupt(f"lane {id.hex()} is missing, but journaled up to block {position}")

    def expect(self, positions: Mapping[LaneId, int], timeout_s: float) -> bool:
        return True  # what is durable can be read

    def done(self, positions: Mapping[LaneId, int]) -> None:
        self._done.update(positions)
        now = self._clock.monotonic_ns()
        if now < self._trim_at_ns:
            return
        self._trim_at_ns = now + _TRIM_EVERY_NS
        written_before_ns = self._clock.wall_ns() - self._retention_ns
        try:
            lock = self._disk.lock(self.folder / LANES_LOCK_NAME)
        except Fenced:
            return  # a gateway examines a lane, and may be about to read what would be deleted
        try:
            for id, position in self._done.items():
                if lane := self._lanes.get(id):
                    lane.trim(position, written_before_ns)
        finally:
            lock.release()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.reader.close()
        self._lanes.clear()
        self._turns = Turns()
        self._seen = -1
        self._lanes_count.close()
