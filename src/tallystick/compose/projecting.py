"""Where the projection of one shard is kept, how one gets at it, and whether it is what the journal says."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tallystick.blockfile.disk import Disk
from tallystick.clock import Clock, SystemClock
from tallystick.compose import services
from tallystick.errors import Corrupt
from tallystick.journal.port import JournalReader
from tallystick.projector.port import Tables, WritableTables
from tallystick.settings import Settings

if TYPE_CHECKING:
    from tallystick.projector.postgresql.tables import PostgresTables

FOLDER_NAME = "projector"
FILE_NAME = "projection.db"
NAME = "projector"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the projection of one shard is: a file."""

    folder: Path
    """Below the data folder."""

    @classmethod
    def of(cls, settings: Settings) -> "Kept | KeptInPostgres":
        """As the settings say. Raises `Invalid` if the driver is missing."""
        folder = settings.path(FOLDER_NAME)
        if settings.services == services.FILES:
            return cls(folder)
        services.needs_driver()
        return KeptInPostgres(folder, settings.services, settings.shard, settings.services_reader)

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


@dataclass(frozen=True, slots=True)
class KeptInPostgres:
    """The same in a database."""

    folder: Path
    """For what is made to compare with."""
    url: str = field(repr=False)
    shard: int
    reader_role: str

    def exists(self) -> bool:
        """Whether there is one. Raises `Unavailable` if the database does not say."""
        from tallystick.projector.postgresql.tables import PostgresReader

        return PostgresReader(self.url, self.shard, "tallystick", SystemClock()).exists()

    def writer(self, disk: Disk, say: Callable[[str], None]) -> WritableTables:
        """See `Kept.writer`. Raises `Unavailable` when first used, if the database is down or of a later version."""
        return self._tables(say)

    def _tables(self, say: Callable[[str], None]) -> "PostgresTables":
        from tallystick.projector.postgresql.tables import PostgresTables

        return PostgresTables(self.url, self.shard, SystemClock(), self.reader_role, say)

    def reader(self, clock: Clock) -> Tables:
        """See `Kept.reader`."""
        from tallystick.projector.postgresql.tables import PostgresReader

        return PostgresReader(self.url, self.shard, "tallystick reader", clock)

    def remove(self, disk: Disk) -> None:
        """Empty the tables; who may read them stays."""
        with closing(self._tables(lambda said: None)) as tables:
            tables.clear()


def difference(kept: Kept | KeptInPostgres, journal: JournalReader, clock: Clock) -> str | None:
    """The first difference between the projection and the journal, in words; None also where none is kept.

    Takes as long, and while it runs as much disk, as making it anew. Raises `Unavailable` if the disk is full.
    """
    from tallystick.projector.sqlite import SqliteTables
    from tallystick.projector.verification import first_difference

    if not kept.exists():
        return None
    kept.folder.mkdir(exist_ok=True)
    try:
        with (
            TemporaryDirectory(dir=kept.folder) as scratch,
            closing(kept.reader(clock)) as tables,
            closing(SqliteTables(Path(scratch) / FILE_NAME)) as anew,
        ):
            return first_difference(tables, journal, anew)
    except Corrupt as error:
        return str(error)
