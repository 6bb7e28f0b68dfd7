"""Makes a backup of a data folder that may be in use: the platform as of one position of its journal.

In this order, which is what makes it consistent: files of followers were copied by the caller; then the position is
settled, the journal's durable end; then each lane is copied up to where that position had taken it; then the journal.
So the copy's lanes reach exactly as far as its journal knows, and no follower is ahead of it.

What lanes hold beyond is left out on purpose: the original will decide it, and a copy that decided it too would tell
another story of the same requests. Only where the original is down, and stays so, it is taken along (`to_move`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.backup import manifest as manifests
from tallystick.backup.copying import Target, copy_blocks, last_block, write_file
from tallystick.backup.manifest import BlockFileCopy, FileCopy, Manifest, SegmentCopy
from tallystick.blockfile.disk import Disk
from tallystick.blockfile.reader import BlockReader
from tallystick.errors import Corrupt, Invalid
from tallystick.records.blocks import EntryBlock

JOURNAL = "journal"
MARK_NAME = "TALLYSTICK-BACKUP"
MARK = b"A backup of a Tallystick data folder. Leave its files as they are: `tally restore` reads them.\n"
LOCK_NAME = "lock"
SETTLED_MAX = 5
"""How often a position is settled anew because a lane was trimmed between settling and copying."""
LANE_ORIGIN = 1
PACED_BYTES = 1 << 18

Progress = Callable[[int, int], None]
"""Called with bytes copied and bytes to copy, as far as known."""


@dataclass(frozen=True, slots=True)
class Source:
    """What to copy."""

    data: Path
    shard: int
    lanes: Callable[[], Mapping[bytes, str]]
    """The lanes there are now: id → folder, from `data`."""
    files: Mapping[str, bytes]
    """Small files that are no block files: place → content, read before the position is settled."""
    to_move: bool = False
    """Nothing uses `data`, and nothing will: take along what its lanes hold beyond the journal."""
    lost: frozenset[bytes] = frozenset()
    """Lanes that an earlier restore lost: the journal names them, and they are not copied."""


@dataclass(frozen=True, slots=True)
class Made:
    """What making a backup did."""

    manifest: Manifest
    copied_bytes: int
    kept_bytes: int
    """Of segments that an earlier backup in the same folder had copied whole."""


@dataclass
class _Position:
    """Where the journal ended when the position was settled."""

    end: int
    block: EntryBlock


@dataclass
class BackupMaker:
    """Makes one backup in folder `backup`, alone there."""

    source: Source
    backup: Path
    disk: Disk
    wall_ns: Callable[[], int]
    made_by: str
    progress: Progress | None = None
    pace: Callable[[int], None] = lambda copied: None
    """Called now and then with bytes copied so far; returns when it may go on."""
    _copied: int = field(init=False, default=0)
    _total: int = field(init=False, default=0)

    def make(self) -> Made:
        """A new generation beside the one that is there, and then instead of it. Durable, and whole, on return.

        Raises `Invalid` if the folder holds something else or the backup of another journal, `Corrupt` if a block
        does not verify or the journal lost entries that the backup has, `Fenced` if another backup is being made
        there, `Unavailable` if the disk is full. Whatever happens, an earlier backup there stays whole.
        """
        claim(self.backup, self.disk)
        lock = self.disk.lock(self.backup / LOCK_NAME)
        try:
            return self._make()
        finally:
            lock.release()

    def _make(self) -> Made:
        earlier = newest(self.backup, self.disk)
        generation, before = earlier if earlier is not None else (0, None)
        generation += 1
        journal = BlockReader(self.source.data / JOURNAL, self.disk)
        try:
            position, made_at_ns, lanes = self._settle(journal, before, generation)
            kept = [] if before is None else self._kept(before.journal, position.end)
            begin = segment_after(kept, journal.segments.segment_bytes)
            self._total = self._copied + max(0, position.end - begin)
            copied = copy_blocks(journal, kept, begin, 0, position.end, None, self._target(JOURNAL, generation))
        finally:
            journal.close()
        made = Manifest(
            version=manifests.VERSION,
            made_at_ns=made_at_ns,
            made_by=self.made_by,
            shard=self.source.shard,
            position=position.block.header.next,
            hash=position.block.header.hash.hex(),
            undecided_commands=sum(undecided for _, undecided in lanes),
            journal=copied,
            lanes=tuple(lane for lane, _ in lanes),
            files=self._files(generation),
        )
        self.disk.sync_folder(self.backup)
        write_file(self.disk, self.backup / manifests.name_of(generation), [manifests.encode(made)])
        self.disk.sync_folder(self.backup)
        sweep(self.backup, self.disk, generation, made)
        return Made(made, self._copied, sum(segment.end - segment.start for segment in kept))

    def _settle(
        self, journal: BlockReader, before: Manifest | None, generation: int
    ) -> tuple[_Position, int, list[tuple[BlockFileCopy, int]]]:
        """The position, when it was settled, and the lanes copied for it, each with what it holds beyond."""
        for tries in range(SETTLED_MAX):
            end = journal.end()
            if not end:
                raise Invalid("", f"{self.source.data} holds no journal with entries; name the folder of one")
            made_at_ns = self.wall_ns()
            block = last_block(journal, end)
            if not isinstance(block, EntryBlock) or block.header.shard != self.source.shard:
                raise Invalid("", f"{journal.folder} is no journal of shard {self.source.shard}; set TALLY_SHARD")
            if before is not None:
                self._refuse_other(journal, end, before)
            try:
                return _Position(end, block), made_at_ns, self._lanes(block.positions, generation)
            except Corrupt:
                # Segments of lanes are deleted once they are decided and old. The next position is past that.
                if tries + 1 == SETTLED_MAX or journal.end() == end:
                    raise
        raise AssertionError("unreachable")

    def _refuse_other(self, journal: BlockReader, end: int, before: Manifest) -> None:
        """An earlier backup must be of this journal, and hold nothing that it lacks."""
        if before.journal.end > end:
            raise Corrupt(
                f"{journal.folder} ends at byte {end}, but the backup of it has {before.journal.end}: entries were "
                f"lost; restore {self.backup} into another folder before anything else is paid"
            )
        try:
            same = last_block(journal, before.journal.end).header.hash.hex() == before.hash
        except Corrupt:
            same = False
        if not same or before.shard != self.source.shard:
            raise Invalid("", f"{self.backup} is the backup of another journal; name another folder for this one")

    def _lanes(self, positions: Mapping[bytes, int], generation: int) -> list[tuple[BlockFileCopy, int]]:
        folders = self.source.lanes()
        positions = {lane: position for lane, position in positions.items() if lane not in self.source.lost}
        if missing := [lane.hex() for lane, position in positions.items() if position and lane not in folders]:
            raise Corrupt(
                f"lane {missing[0]} is missing, but journaled up to block {positions[bytes.fromhex(missing[0])]}"
            )
        made = []
        for lane in sorted(folders):
            position = positions.get(lane, 0)
            if position or self.source.to_move:
                reader = BlockReader(self.source.data / folders[lane], self.disk)
                try:
                    made.append(self._lane(reader, position, self._target(folders[lane], generation)))
                finally:
                    reader.close()
        return made

    def _lane(self, lane: BlockReader, position: int, target: Target) -> tuple[BlockFileCopy, int]:
        """From the segment that holds block `position`: what lies before is decided, and nobody's to ask for."""
        end = lane.end()
        begin, first = (0, LANE_ORIGIN) if not position else _segment_of(lane, position, end)
        copied = copy_blocks(lane, [], begin, first, end, None if self.source.to_move else position, target)
        reached = copied.segments[-1].next - 1 if copied.segments else 0
        if reached < position:
            raise Corrupt(f"{lane.folder} ends at block {reached}, but is journaled up to block {position}")
        return copied, _commands_beyond(lane, copied, position) if reached > position else 0

    def _kept(self, copied: BlockFileCopy, end: int) -> list[SegmentCopy]:
        """Copies that need not be made again: of segments that are whole, or have nothing new."""
        kept: list[SegmentCopy] = []
        for segment in copied.segments:
            file = self.disk.open(self.backup / segment.name)
            if file is None:
                break
            size = file.size()
            file.close()
            if size != segment.end - segment.start or not (segment.whole or segment.end == end):
                break
            kept.append(segment)
        return kept

    def _files(self, generation: int) -> tuple[FileCopy, ...]:
        made = []
        for place, data in sorted(self.source.files.items()):
            name = f"{place.replace('/', '-')}.{generation:010d}"
            size, digest = write_file(self.disk, self.backup / name, [data])
            made.append(FileCopy(name=name, place=place, size=size, sha256=digest))
        return tuple(made)

    def _target(self, folder: str, generation: int) -> Target:
        return Target(self.disk, self.backup, folder, generation, self._moved)

    def _moved(self, size: int) -> None:
        before, self._copied = self._copied, self._copied + size
        if before // PACED_BYTES != self._copied // PACED_BYTES:
            self.pace(self._copied)
        if self.progress is not None and self._total:
            self.progress(self._copied, self._total)


def segment_after(kept: list[SegmentCopy], segment_bytes: int) -> int:
    """Where the first segment begins of which there is no copy yet."""
    return kept[-1].start + segment_bytes if kept else 0


def _segment_of(lane: BlockReader, number: int, end: int) -> tuple[int, int]:
    """Where the segment begins that holds block `number` of a lane, and which block begins it."""
    for start in reversed(lane.starts(end)):
        found = lane.cursor(start, LANE_ORIGIN if start == 0 else None).next_header(end)
        if found and found[1].first <= number:
            return start, found[1].first
    raise Corrupt(f"{lane.folder}: block {number} is journaled, but not there")


def _commands_beyond(lane: BlockReader, copied: BlockFileCopy, position: int) -> int:
    cursor, count = lane.cursor(copied.segments[0].start, None), 0
    while found := cursor.next_header(copied.end):
        count += found[1].count if found[1].first > position else 0
    return count


def claim(backup: Path, disk: Disk) -> None:
    """Make sure that a folder is a backup's, or becomes one. Raises `Invalid` if it holds other things."""
    names = disk.list(backup)
    if MARK_NAME in names:
        return
    if names:
        raise Invalid("", f"{backup} holds other things than a backup; name a new folder, or an empty one")
    disk.make_folder(backup)
    write_file(disk, backup / MARK_NAME, [MARK])
    disk.sync_folder(backup)


def newest(backup: Path, disk: Disk) -> tuple[int, Manifest] | None:
    """The newest manifest that is whole, and its generation; None if there is none."""
    generations = sorted(int(found[1]) for name in disk.list(backup) if (found := manifests.NAME.fullmatch(name)))
    for generation in reversed(generations):
        file = disk.open(backup / manifests.name_of(generation))
        if file is None:
            continue
        try:
            return generation, manifests.decode(file.read(0, file.size()))
        except Corrupt:
            continue  # torn: the one before it is still there, and whole
        finally:
            file.close()
    return None


def sweep(backup: Path, disk: Disk, generation: int, manifest: Manifest) -> None:
    """Delete what belongs to older generations, and what torn ones left."""
    wanted = manifest.names()
    for place in (backup, *_folders_below(backup, disk)):
        removed = False
        for name in disk.list(place):
            path = (place / name).relative_to(backup).as_posix()
            found = manifests.NAME.fullmatch(path)
            of_a_backup = name.rpartition(".")[2].isdigit() or found
            if of_a_backup and path not in wanted and not (found and int(found[1]) >= generation):
                disk.remove(place / name)
                removed = True
        if removed:
            disk.sync_folder(place)


def _folders_below(backup: Path, disk: Disk) -> list[Path]:
    lanes = [backup / "intake" / name for name in disk.list(backup / "intake")]
    return [backup / JOURNAL, *lanes]
