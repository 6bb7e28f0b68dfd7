"""Where the projection lies in a data folder, and whether what lies there is what the journal says."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tallystick.blockfile.disk import Disk
from tallystick.journal.port import JournalReader

FOLDER_NAME = "projector"
FILE_NAME = "projection.db"
NAME = "projector"


def prepare(disk: Disk, folder: Path, say: Callable[[str], None]) -> Path:
    """The projection's file in `folder`, which is made if missing. One of an earlier version is removed, and that is
    said: it is derived, and made again from the journal. Raises `Unavailable` for a full disk."""
    from tallystick.projector.schema import VERSION, is_old

    disk.make_folder(folder)
    path = folder / FILE_NAME
    if is_old(path):
        say(f"{path} is of an earlier version than {VERSION}: it is removed, and made again from the journal")
        for name in disk.list(folder):
            if name.startswith(FILE_NAME):  # SQLite's log beside it, too
                disk.remove(folder / name)
    return path


def difference(folder: Path, journal: JournalReader) -> str | None:
    """The first difference between the projection in `folder` and the journal, in words; None also where none is kept.

    Takes as long, and while it runs as much disk, as making it anew. Raises `Unavailable` if the disk is full.
    """
    from tallystick.projector.verification import first_difference

    if not (folder / FILE_NAME).exists():
        return None
    with TemporaryDirectory(dir=folder) as scratch:
        return first_difference(folder / FILE_NAME, journal, Path(scratch) / FILE_NAME)
