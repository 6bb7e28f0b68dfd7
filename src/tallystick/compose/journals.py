"""Where a shard's journal is kept, and how one gets at it: block files in the data folder, or PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tallystick.blockfile.disk import Disk
from tallystick.blockfile.segments import LOCK_NAME
from tallystick.clock import Clock, SystemClock
from tallystick.errors import Invalid
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.port import Journal, JournalReader
from tallystick.records.blocks import Bytes
from tallystick.settings import Settings

if TYPE_CHECKING:
    from tallystick.journal.postgresql.writing import PostgresJournal

FOLDER = "journal"
HELD = ("engine", "journal")
"""Below the data folder: which journal in a database it last wrote to, and in which epoch."""
BEAT_NS = 500_000_000


class KeptJournal(Journal, Protocol):
    """One that outlives its process, and can be rolled forward from an archive."""

    def adopt(self, block: list[Bytes], expected_seq: int) -> None:
        """Append a block of another writer as that one made it. **Durable on return**, whole or not at all."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the journal of one shard is."""

    folder: Path
    """The data folder."""
    url: str = field(default="", repr=False)
    """Of the database; empty: it is in block files in the data folder."""
    shard: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Place":
        """As the settings say. Raises `Invalid` for a journal that forgets."""
        return cls.named(settings.data, settings.journal, settings.shard)

    @classmethod
    def named(cls, folder: Path, journal: str, shard: int = 0) -> "Place":
        """By `files` or the URL of a database. Raises `Invalid` for anything else."""
        if journal == "files":
            return cls(folder, "", shard)
        if not journal.startswith(("postgresql://", "postgres://")):
            raise Invalid("TALLY_JOURNAL", "must be files or postgresql://…; memory is for `Ledger.in_memory`")
        return cls(folder, journal, shard)

    def reader(self, disk: Disk, fresh: bool = False) -> JournalReader:
        """A reader of its own. `fresh`: it reads files from the disk itself, not what the system has in memory."""
        if not self.url:
            return FileJournalReader(self.folder / FOLDER, disk, fresh)
        _needs_driver()
        from tallystick.journal.postgresql.reading import PostgresJournalReader

        return PostgresJournalReader(self.url, self.shard, clock=SystemClock())

    def writer(self, disk: Disk, segment_bytes: int) -> KeptJournal:
        """The one writer. Raises as the adapter's `open`."""
        if not self.url:
            return FileJournal.open(self.folder / FOLDER, disk, segment_bytes, self.shard)
        _needs_driver()
        from tallystick.journal.postgresql.writing import PostgresJournal

        return PostgresJournal.open(self.url, self.shard)

    def refuse_empty(self, disk: Disk) -> None:
        """Raises `Invalid` if there is no journal, `Unavailable` if the database does not say."""
        if not self.url:
            if not disk.list(self.folder / FOLDER):
                raise Invalid("", f"{self.folder} holds no journal; name the folder of one")
            return
        reader = self.reader(disk)
        try:
            if not reader.end():
                raise Invalid("TALLY_JOURNAL", "the database holds no entry of this shard yet")
        finally:
            reader.close()

    @contextmanager
    def held(self, disk: Disk) -> Iterator[None]:
        """Keep engines away from data folder and journal. Raises `Fenced` while one runs."""
        disk.make_folder(self.lock_path.parent)
        lock = disk.lock(self.lock_path)
        try:
            yield
        finally:
            lock.release()

    @property
    def lock_path(self) -> Path:
        """Locked by whoever writes in the data folder. In files it is the journal's own."""
        return self.folder / "engine" / "lock" if self.url else self.folder / FOLDER / LOCK_NAME


class Beating:
    """A chore: the writer in a database says now and then that it lives, so that none takes its place."""

    def __init__(self, journal: "PostgresJournal", clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._beat_ns = clock.monotonic_ns()

    def step(self) -> bool:
        """Raises `Fenced` if another took its place."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._journal.beat()
        return False


def chores(journal: KeptJournal, clock: Clock) -> list[Callable[[], bool]]:
    """What a writer must do beside appending."""
    if isinstance(journal, FileJournal):
        return [journal.prepare]
    from tallystick.journal.postgresql.writing import PostgresJournal

    assert isinstance(journal, PostgresJournal)
    return [Beating(journal, clock).step]


def held_before(journal: KeptJournal, folder: Path, disk: Disk) -> bool:
    """Whether this data folder's engine was the journal's last writer before this one; notes that it is so now.

    If another wrote meanwhile, ids and snapshots here may come from a block that this folder's engine decided and that
    was lost in a fail-over: none of what is derived may be used. In files the folder is the journal's own.
    """
    if isinstance(journal, FileJournal):
        return True
    from tallystick.journal.postgresql.writing import PostgresJournal

    assert isinstance(journal, PostgresJournal)
    path = folder.joinpath(*HELD)
    said = f"{journal.identity} {journal.epoch}\n"
    before = path.read_text() if path.exists() else ""
    disk.make_folder(path.parent)
    scratch = path.with_suffix(".new")
    scratch.write_text(said)
    scratch.replace(path)
    disk.sync_folder(path.parent)
    return before == f"{journal.identity} {journal.epoch - 1}\n"


def _needs_driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise Invalid("TALLY_JOURNAL", 'PostgreSQL needs psycopg: pip install "tallystick[postgresql]"') from error
