"""Makes a data folder of a backup, and believes nothing: every file is held against the manifest's hash, and every
block of the new folder is verified before it is called whole.
"""

from collections.abc import Callable
from pathlib import Path

from tallystick.backup.copying import Moved, put_back, verified, write_file
from tallystick.backup.making import JOURNAL, MARK_NAME, newest
from tallystick.backup.manifest import BlockFileCopy, Manifest
from tallystick.blockfile.disk import Disk
from tallystick.blockfile.reader import BlockReader
from tallystick.errors import Corrupt, Invalid
from tallystick.records.blocks import BlockKind, Header

Progress = Callable[[int, int], None]


def read(backup: Path, disk: Disk) -> Manifest:
    """The manifest of the backup in a folder. Raises `Invalid` if there is none, `Corrupt` if it was torn."""
    if MARK_NAME not in disk.list(backup):
        raise Invalid("", f"{backup} holds no backup; `tally backup {backup}` makes one")
    found = newest(backup, disk)
    if found is None:
        raise Corrupt(
            f"{backup} was not finished, or is damaged: no manifest of it is whole; make it again, or take another copy"
        )
    return found[1]


def check(backup: Path, disk: Disk, progress: Progress | None = None) -> Manifest:
    """Read every file of a backup and hold it against the manifest; changes nothing. Raises as `restore`."""
    manifest = read(backup, disk)
    moved = _counting(progress, manifest.size)
    for copy in (manifest.journal, *manifest.lanes):
        for segment in copy.segments:
            for part in verified(disk, backup / segment.name, segment.end - segment.start, segment.sha256):
                moved(len(part))
    for file in manifest.files:
        for part in verified(disk, backup / file.name, file.size, file.sha256):
            moved(len(part))
    return manifest


def restore(backup: Path, disk: Disk, data: Path, progress: Progress | None = None) -> Manifest:
    """Make the data folder `data`, which must be empty or missing, of a backup; durable, and verified, on return.

    Raises `Corrupt` if anything of the backup is not as it was written, `Invalid` if `data` holds something or there
    is no backup, `Unavailable` if the disk is full. After a failure `data` holds a part: delete it.
    """
    manifest = read(backup, disk)
    if disk.list(data):
        raise Invalid("", f"{data} is not empty; name a folder that is, or none that exists")
    disk.make_folder(data)
    moved = _counting(progress, 2 * manifest.size)
    for copy in (manifest.journal, *manifest.lanes):
        put_back(copy, backup, disk, data, moved)
    for file in manifest.files:
        place = data / file.place
        disk.make_folder(place.parent)
        parts = []
        for part in verified(disk, backup / file.name, file.size, file.sha256):
            parts.append(part)
            moved(len(part))
        write_file(disk, place, parts)
        disk.sync_folder(place.parent)
    disk.sync_folder(data)
    _verify(manifest, disk, data, moved)
    return manifest


def _verify(manifest: Manifest, disk: Disk, data: Path, moved: Moved) -> None:
    """Read every block that was put back: hashes, numbers and chain, and that it ends where the manifest says."""
    last = _walk(manifest.journal, disk, data, moved)
    if last is None or (last.next, last.hash.hex()) != (manifest.position, manifest.hash):
        raise Corrupt(f"{data / JOURNAL} does not end at entry {manifest.position}, as the manifest says")
    for lane in manifest.lanes:
        _walk(lane, disk, data, moved)


def _walk(copy: BlockFileCopy, disk: Disk, data: Path, moved: Moved) -> Header | None:
    reader = BlockReader(data / copy.folder, disk)
    last: Header | None = None
    try:
        if not copy.segments:
            return None
        start = copy.segments[0].start
        cursor = reader.cursor(start, None)
        while found := cursor.next(copy.end):
            header = found[1].header
            follows = last is None or header.kind is BlockKind.COMMANDS or header.previous == last.hash
            if not follows:
                raise Corrupt(f"{reader.folder}: block {header.first} does not continue the one before it")
            last = header
            moved(cursor.at - found[0])
        if last is None or last.next != copy.segments[-1].next:
            raise Corrupt(f"{reader.folder} does not end where the manifest says")
        return last
    finally:
        reader.close()


def _counting(progress: Progress | None, total: int) -> Moved:
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    return moved
