"""`tally rebuild`: what is derived from a journal, deleted and made anew; or held against the journal, row by row.

Offline: it takes the journal's lock, so that no engine runs meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tallystick.blockfile.disk import Disk, SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import kernel_cache, projecting, services
from tallystick.compose.journals import Place
from tallystick.settings import Settings

Progress = Callable[[int, int], None]
DERIVED = (("index", "transfers"), ("index", "requests"), ("snapshots",), (projecting.FOLDER_NAME,))
"""Folders that may be deleted: all in them is made from the journal. The key of the index stays. So may the projection,
wherever it is."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What `rebuild` or `verify` went through."""

    entries: int
    seconds: float
    started_from: int = 0
    """`verify`: the entry from which a start would replay."""
    difference: str | None = None
    """`verify`: the first one, in words; None: all is as the journal says."""
    notes: tuple[str, ...] = ()
    """`verify`: derived files that a start would not use, and why."""


def rebuild(settings: Settings, progress: Progress | None = None) -> Rebuilt:
    """Delete what is derived from the journal in `settings.data` and make it anew from entry 0.

    The projector makes its own part when it runs next.
    Raises `Fenced` while an engine runs, `Corrupt` if the journal is damaged, `Invalid` if there is none.
    """
    kernel_cache.activate(settings.kernel_cache or kernel_cache.default_folder())
    from tallystick.compose import parts

    disk, clock = SystemDisk(), SystemClock()
    started = clock.monotonic_ns()
    with _locked(settings, disk):
        projection = projecting.Kept.of(settings)
        if settings.services != services.FILES and projection.exists():
            projection.remove(disk)  # a projector that runs notices, and begins again
        for folder in (settings.path(*names) for names in DERIVED):
            names = disk.list(folder)
            for name in names:
                disk.remove(folder / name)
            if names:
                disk.sync_folder(folder)
    made = parts.open_files(
        settings.data,
        disk,
        clock,
        system_entropy,
        accounts_max=settings.accounts_max,
        pendings_max=settings.pendings_max,
        window_ids=settings.window_ids,
        segment_bytes=settings.segment_bytes,
        accept_clock=True,
        shard=settings.shard,
        journal_at=settings.journal,
        progress=progress,
    )
    try:
        made.capture_now()
        for chore in made.chores:
            while chore():
                pass
        return Rebuilt(made.decider.next_seq, (clock.monotonic_ns() - started) / 1e9)
    finally:
        made.close()


def verify(settings: Settings, progress: Progress | None = None) -> Rebuilt:
    """Compare what a start would begin with (snapshot, id runs, endings, the tail) with a rebuild from entry 0; and
    the projection, if there is one.

    Changes no file of the journal, and none that is derived from it. Raises as `rebuild`.
    """
    kernel_cache.activate(settings.kernel_cache or kernel_cache.default_folder())
    from tallystick.compose import parts
    from tallystick.engine.verification import first_difference

    disk, clock = SystemDisk(), SystemClock()
    started = clock.monotonic_ns()
    notes: list[str] = []
    with _locked(settings, disk), ExitStack() as stack:
        reader, keeper, saved, anew = parts.open_twice(
            settings.data,
            disk,
            system_entropy,
            accounts_max=settings.accounts_max,
            pendings_max=settings.pendings_max,
            window_ids=settings.window_ids,
            shard=settings.shard,
            journal_at=settings.journal,
            say=notes.append,
            stack=stack,
        )
        difference = first_difference(reader, saved, anew, progress)
        if difference is None:
            difference = projecting.difference(projecting.Kept.of(settings), reader, clock)
    seconds = (clock.monotonic_ns() - started) / 1e9
    return Rebuilt(saved.next_seq, seconds, keeper.covered, difference, tuple(dict.fromkeys(notes)))


@contextmanager
def _locked(settings: Settings, disk: Disk) -> Iterator[None]:
    place = Place.of(settings)
    place.refuse_empty(disk)
    with place.held(disk):
        yield
