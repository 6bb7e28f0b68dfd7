"""`tally reconcile` and `tally rebuild projector`: the projection held against the journal, or made from it anew.

Neither needs the engine to be down: the journal is only read. To be made anew, the projector must not run.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tallystick.archive.rolling import check_holds
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.compose import archives, projecting
from tallystick.compose.auditor import open_log
from tallystick.compose.following import alone
from tallystick.compose.journals import Place
from tallystick.errors import Corrupt, Invalid, InvalidProof, TallystickError, Unavailable
from tallystick.journal.follow import Follower
from tallystick.projector.projection import COMMITTED_AT_ONCE, Projection
from tallystick.projector.reconciling import first_difference
from tallystick.settings import Settings
from tallystick.tlog.auditing import check_whole
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.notes import parse_note
from tallystick.tlog.tiles import Tile

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was gone through."""

    entries: int
    seconds: float
    difference: str | None = None
    """The first one, in words."""


def reconcile(settings: Settings, progress: Progress) -> Reconciled:
    """Compare the projection with the journal, row by row, beside a projector that runs. Changes nothing.

    Raises `Invalid` if there is no projection, `Corrupt` if the journal is damaged.
    """
    kept = projecting.Kept.of(settings)
    if not kept.exists():
        raise Invalid("", f"{settings.data} holds no projection; `tally up projector` makes one")
    clock = SystemClock()
    started, seen = clock.monotonic_ns(), 0

    def told(done: int, of: int) -> None:
        nonlocal seen
        seen = done
        progress(done, of)

    with closing(Place.of(settings).reader(SystemDisk())) as journal, closing(kept.reader(clock)) as tables:
        difference = first_difference(tables, journal, told)
    return Reconciled(seen, (clock.monotonic_ns() - started) / 1e9, difference)


def rebuild(settings: Settings, progress: Progress) -> Reconciled:
    """Remove the projection and make it anew, up to the journal's end. An engine may run.

    Raises `Fenced` while a projector runs, `Invalid` if there is no journal, `Corrupt` if that is damaged.
    """
    disk, clock = SystemDisk(), SystemClock()
    Place.of(settings).refuse_empty(disk)
    started = clock.monotonic_ns()
    run_folder, kept = settings.path("run"), projecting.Kept.of(settings)
    disk.make_folder(run_folder)
    with alone(disk, run_folder, projecting.NAME):
        kept.remove(disk)
        journal = Place.of(settings).reader(disk)
        projection = Projection(kept.writer(disk, lambda said: None), journal)
        try:
            follower = Follower(journal, projection, clock, COMMITTED_AT_ONCE)
            while not follower.step():
                seen = follower.progress()
                progress(seen.next_seq, seen.end)
            if trouble := follower.progress().trouble:
                raise TallystickError(trouble)
            return Reconciled(projection.next_seq, (clock.monotonic_ns() - started) / 1e9)
        finally:
            projection.close()
            journal.close()


def tree_difference(settings: Settings, progress: Progress) -> str | None:
    """The first difference between the journal's entries, the tree's tiles and the signed root; None if there is none.

    Raises `Unavailable` if no checkpoint is published yet.
    """
    with closing(open_log(settings)) as log:
        note = log.checkpoint()
        if note is None:
            raise Unavailable("no checkpoint is published yet: start `tally up`, or wait a second")

        def read(tile: Tile) -> bytes:
            found = log.tile(tile)
            if found is None:
                raise InvalidProof(f"{tile.path} is not there")
            return found

        try:
            check_whole(parse_checkpoint(parse_note(note).text), read, progress)
        except (InvalidProof, Corrupt) as error:
            return str(error)
        return None


def archive_difference(settings: Settings) -> str | None:
    """What is wrong with the archive as this journal's; None if nothing is, or there is none."""
    disk = SystemDisk()
    archive = archives.reader(settings, disk)
    if archive is None:
        return None
    with closing(Place.of(settings).reader(disk)) as journal:
        try:
            end = archive.end()
            if end.next_seq > journal.end():
                return f"the journal ends at entry {journal.end()}, its archive at {end.next_seq}"
            check_holds(journal, end.next_seq, end.hash)
        except Corrupt as error:
            return str(error)
        return None
