"""Where the projection lies in a data folder, and whether what lies there is what the journal says."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tallystick.journal.port import JournalReader

FOLDER_NAME = "projector"
FILE_NAME = "projection.db"


def difference(folder: Path, journal: JournalReader) -> str | None:
    """The first difference between the projection in `folder` and the journal, in words; None also where none is kept.

    Takes as long, and while it runs as much disk, as making it anew. Raises `Unavailable` if the disk is full.
    """
    from tallystick.projector.verification import first_difference

    if not (folder / FILE_NAME).exists():
        return None
    with TemporaryDirectory(dir=folder) as scratch:
        return first_difference(folder / FILE_NAME, journal, Path(scratch) / FILE_NAME)
