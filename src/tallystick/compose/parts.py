"""The parts of an engine, wired: journal, books, id indexes, time, poison marker. Shared by the engine's process
and the library, which differ only in where requests come from and where answers go.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import structlog

from tallystick.blockfile.disk import Disk, Register
from tallystick.clock import Clock, Entropy
from tallystick.compose import journals
from tallystick.compose.handoff import Chore
from tallystick.compose.journals import KeptJournal, Place
from tallystick.compose.warm import warm
from tallystick.engine import idkey
from tallystick.engine.deciding import Decider
from tallystick.engine.endings import FileEndings
from tallystick.engine.fetch import Fetcher
from tallystick.engine.idindex import IdIndex
from tallystick.engine.poison import Poison, Registers
from tallystick.engine.recovery import Progress, recover
from tallystick.engine.scrub import NAMES as SCRUB_NAMES
from tallystick.engine.scrub import Scrub, ScrubRegisters
from tallystick.engine.snapshot_files import FileSnapshots, Say
from tallystick.engine.snapshots import Cadence, Keeper
from tallystick.engine.timekeeping import Timekeeper
from tallystick.errors import Corrupt
from tallystick.journal.memory import MemoryJournal
from tallystick.journal.port import Journal, JournalReader
from tallystick.ledger.books import PENDINGS_MAX, Bookkeeper

SNAPSHOTS = "snapshots"
POISON_NAMES = ("deciding", "alone", "crashed-at", "crashes", "suspect", "quarantined-at")
_log = structlog.get_logger("tallystick.compose.parts")


@dataclass
class Parts:
    """What an engine runs on. `close` lets go of everything, in reverse order."""

    journal: Journal
    decider: Decider
    timekeeper: Timekeeper
    poison: Poison
    entropy: Entropy
    chores: Sequence[Chore] = ()
    closing: ExitStack = field(default_factory=ExitStack)
    capture_now: Callable[[], None] = lambda: None
    """Take a snapshot, due or not, between blocks; the chores write it."""
    snapshot_seq: Callable[[], int] = lambda: 0
    """The entry from which a start would replay."""

    def close(self) -> None:
        """Let go of files and locks."""
        self.closing.close()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large books may get, and how often they are saved."""

    accounts_max: int
    window_ids: int
    pendings_max: int = PENDINGS_MAX
    cadence: Cadence = field(default_factory=Cadence)


@dataclass(frozen=True, slots=True)
class Room:
    """Where books are made: tables, id indexes, snapshots."""

    indexes: Sequence[IdIndex]
    bookkeeper: Bookkeeper
    keeper: Keeper

    @property
    def empty(self) -> tuple[Bookkeeper, IdIndex, IdIndex]:
        """What `recover` fills."""
        return self.bookkeeper, self.indexes[0], self.indexes[1]


class Following(Protocol):
    """Books that were kept up with the journal before it was ours (`compose.standby`)."""

    def take(self, journal: JournalReader, place: ExitStack) -> tuple[Room, Decider] | None:
        """They, brought to the journal's end and closed by `place`; None if there are none that it continues."""
        ...


def open_files(
    folder: Path,
    disk: Disk,
    clock: Clock,
    entropy: Entropy,
    *,
    accounts_max: int,
    window_ids: int,
    segment_bytes: int,
    accept_clock: bool = False,
    shard: int = 0,
    crash_noted: bool = False,
    progress: Progress | None = None,
    cadence: Cadence | None = None,
    pendings_max: int = PENDINGS_MAX,
    scrub_bytes_s: int = 0,
    roll: Callable[[KeptJournal], int] | None = None,
    journal_at: str = "files",
    standby: "Following | None" = None,
) -> Parts:
    """An engine on what is kept in `folder`: compiled code warmed, lock taken, snapshot read, the tail replayed.

    The journal is there, too, or in the database whose URL `journal_at` is. `roll` may add to the journal what it
    lacks, and says how much that was. A `standby` holds the folder already, and may have followed the journal.

    Raises `Fenced` if another engine holds folder or journal, `Corrupt` if what is stored breaks a promise,
    `Unavailable` for a full disk, a server that is away or a clock far ahead of the journal.
    """
    warm()
    sizes = Sizes(accounts_max, window_ids, pendings_max, cadence or Cadence())
    with ExitStack() as stack:
        place = Place.named(folder, journal_at, shard)
        if place.url and standby is None:
            disk.make_folder(place.lock_path.parent)
            stack.callback(disk.lock(place.lock_path).release)
        journal = _journal(place, disk, segment_bytes, roll)
        stack.callback(journal.close)
        held = journals.held_before(journal, folder, disk)
        followed = standby.take(journal, stack) if standby is not None else None
        if followed is not None:
            kept, decider = followed
        else:
            if not held:
                forget_derived(folder, disk)
            kept = room(place, disk, entropy, sizes, journal.end(), stack)
            decider = recover(journal, *kept.empty, shard, progress=progress, keeper=kept.keeper)
        keeper = kept.keeper
        timekeeper = Timekeeper(clock, decider.last_timestamp, accept_clock)
        registers = Registers(*_registers(folder / "engine", disk, POISON_NAMES))
        poison = Poison(registers, crash_noted, decider.next_seq)
        chores: list[Chore] = [*journals.chores(journal, clock), *(index.step for index in kept.indexes), keeper.step]
        if scrub_bytes_s:
            chores.append(_scrub(place, disk, clock, scrub_bytes_s, stack).step)
        return Parts(
            journal,
            decider,
            timekeeper,
            poison,
            entropy,
            chores,
            stack.pop_all(),
            capture_now=keeper.capture_now,
            snapshot_seq=lambda: keeper.covered,
        )


def _journal(place: Place, disk: Disk, segment_bytes: int, roll: Callable[[KeptJournal], int] | None) -> KeptJournal:
    journal = place.writer(disk, segment_bytes)
    try:
        added = roll(journal) if roll is not None else 0
    except BaseException:
        journal.close()
        raise
    if not added:
        return journal
    journal.close()  # the next epoch is above those of the blocks that were added
    return place.writer(disk, segment_bytes)


def _warn(message: str) -> None:
    """By the logger as it is set up when there is something to say, and not as it was on import."""
    _log.warning(message)


def room(
    place: Place, disk: Disk, entropy: Entropy, sizes: Sizes, end: int, stack: ExitStack, say: Say = _warn
) -> Room:
    """Empty books beside what is derived on disk from a journal that ends at `end`; `stack` closes them."""
    key = idkey.load_or_make(disk, place.folder / "index" / "key", entropy)
    indexes = [
        IdIndex(key, sizes.window_ids, disk, place.folder / "index" / name, end) for name in ("transfers", "requests")
    ]
    for index in indexes:
        stack.callback(index.close)
    bookkeeper = Bookkeeper(
        sizes.accounts_max,
        idkey.random_key(entropy),
        key,
        indexes[0].current,
        indexes[1].current,
        sizes.pendings_max,
    )
    return Room(indexes, bookkeeper, _keeper(place, disk, key, sizes.cadence, say, stack))


def forget_derived(folder: Path, disk: Disk) -> None:
    """Remove what another writer's blocks may contradict: it is made again from the journal."""
    for derived in (folder / "index" / "transfers", folder / "index" / "requests", folder / SNAPSHOTS):
        names = disk.list(derived)
        for name in names:
            disk.remove(derived / name)
        if names:
            disk.sync_folder(derived)


def open_twice(
    folder: Path,
    disk: Disk,
    entropy: Entropy,
    *,
    accounts_max: int,
    window_ids: int,
    shard: int,
    say: Say,
    stack: ExitStack,
    pendings_max: int = PENDINGS_MAX,
    journal_at: str = "files",
) -> tuple[JournalReader, Keeper, Decider, Decider]:
    """For `tally rebuild --verify`: books as a start would make them, and empty ones. The caller holds the lock.

    Nothing is deleted, and what is not used is told with `say`.
    """
    warm()
    place = Place.named(folder, journal_at, shard)
    reader = place.reader(disk)
    stack.callback(reader.close)
    key = idkey.load_or_make(disk, folder / "index" / "key", entropy)
    end = reader.end()
    indexes = [
        IdIndex(key, window_ids, disk, folder / "index" / name, end, sweep=False) for name in ("transfers", "requests")
    ]
    for index in indexes:
        stack.callback(index.close)
    keeper = _keeper(place, disk, key, Cadence(), say, stack, sweep=False)
    account_key = idkey.random_key(entropy)
    books = Bookkeeper(accounts_max, account_key, key, indexes[0].current, indexes[1].current, pendings_max)
    saved = recover(reader, books, indexes[0], indexes[1], shard, keeper=keeper)
    empty = [IdIndex(key, 16) for _ in range(2)]
    books = Bookkeeper(accounts_max, account_key, key, empty[0].current, empty[1].current, pendings_max)
    return reader, keeper, saved, Decider(books, empty[0], empty[1], Fetcher(reader), shard)


def _keeper(
    place: Place,
    disk: Disk,
    key: npt.NDArray[np.uint64],
    cadence: Cadence,
    say: Say,
    stack: ExitStack,
    sweep: bool = True,
) -> Keeper:
    """What takes snapshots, in files. It reads the journal by a reader of its own, from the housekeeper's thread."""
    reader = place.reader(disk)
    stack.callback(reader.close)
    kept = place.folder / SNAPSHOTS

    def load_endings(upto: int) -> FileEndings | None:
        endings = FileEndings.load(disk, kept, key, upto)
        if endings is not None:
            stack.callback(endings.close)
        return endings

    return Keeper(FileSnapshots(disk, kept), reader, load_endings, cadence, say, sweep)


def _scrub(place: Place, disk: Disk, clock: Clock, bytes_s: int, stack: ExitStack) -> Scrub:
    reader = place.reader(disk, fresh=True)
    stack.callback(reader.close)
    registers = ScrubRegisters(*_registers(place.folder / "engine", disk, SCRUB_NAMES))
    return Scrub(reader, registers, clock, bytes_s, _log.error)


def open_memory(clock: Clock, entropy: Entropy, *, accounts_max: int, window_ids: int) -> Parts:
    """An engine that forgets: nothing is written anywhere."""
    warm()
    journal = MemoryJournal()
    key = idkey.random_key(entropy)
    indexes = [IdIndex(key, window_ids) for _ in range(2)]
    bookkeeper = Bookkeeper(accounts_max, idkey.random_key(entropy), key, indexes[0].current, indexes[1].current)
    decider = recover(journal, bookkeeper, indexes[0], indexes[1])
    poison = Poison(Registers(*(_Remembered() for _ in range(6))), False, 0)
    return Parts(journal, decider, Timekeeper(clock, 0), poison, entropy, [index.step for index in indexes])


def _registers(folder: Path, disk: Disk, names: Sequence[str]) -> list[Register]:
    disk.make_folder(folder)
    found = []
    for name in names:
        register = disk.register(folder / name, writable=True)
        if register is None:
            raise Corrupt(f"{folder / name} cannot be opened; remove it and start again")
        found.append(register)
    return found


class _Remembered:
    """A register of a process that has no past."""

    def __init__(self) -> None:
        self._value = 0

    def load(self) -> int:
        return self._value

    def store(self, value: int) -> None:
        self._value = value

    def close(self) -> None:
        self._value = 0
