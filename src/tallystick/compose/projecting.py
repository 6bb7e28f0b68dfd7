"""Where the projection of one shard is kept, how one gets at it, and whether it is what the journal says."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tallystick.blockfile.disk import Disk
from tallystick.clock import Clock
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.projector.port import Tables, WritableTables
from tallystick.settings import Settings

FOLDER_NAME = "projector"
FILE_NAME = "projection.db"
NAME = "projector"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the projection of one shard is."""

    folder: Path
    """Below the data folder."""

    @classmethod
    def of(cls, settings: Settings) -> "Kept":
        """As the settings say."""
        return cls(settings.path(FOLDER_NAME))

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE_NAME

    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    def writer(self, disk: Disk, say: Callable[[str], None]) -> WritableTables:
        """The tables of whoever follows, made if missing. Those of an earlier version are removed, and that is said:
        they are derived, and made again from the journal.

        Raises `Unavailable` for a full disk, `Corrupt` if what is there is no projection.
        """
        from tallystick.projector.schema import VERSION, is_old
        from tallystick.projector.sqlite import SqliteTables

        disk.make_folder(self.folder)
        if is_old(self.path):
            say(f"{self.path} is of an earlier version than {VERSION}: it is removed, and made again from the journal")
            for name in disk.list(self.folder):
                if name.startswith(FILE_NAME):  # SQLite's log beside it, too
                    disk.remove(self.folder / name)
        return SqliteTables(self.path)

    def reader(self, clock: Clock) -> Tables:
        """Tables to read, beside whoever writes. There must be some."""
        from tallystick.projector.sqlite import SqliteReader

        return SqliteReader(self.path, clock)

    def remove(self, disk: Disk) -> None:
        """Delete all of it; nobody may use it."""
        for name in disk.list(self.folder):
            disk.remove(self.folder / name)


def difference(kept: Kept, journal: JournalReader, clock: Clock) -> str | None:
    """The first difference between the projection and the journal, in words; None also where none is kept.

    Takes as long, and while it runs as much disk, as making it anew. Raises `Unavailable` if the disk is full.
    """
    from tallystick.projector.sqlite import SqliteTables
    from tallystick.projector.verification import first_difference

    if not kept.exists():
        return None
    try:
        with (
            TemporaryDirectory(dir=kept.folder) as scratch,
            closing(kept.reader(clock)) as tables,
            closing(SqliteTables(Path(scratch) / FILE_NAME)) as anew,
        ):
            return first_difference(tables, journal, anew)
    except Corrupt as error:
        return str(error)
