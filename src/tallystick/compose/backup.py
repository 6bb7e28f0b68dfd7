"""`tally backup` and `tally restore`: a data folder of block files, copied while it is in use; and made of a copy.

What is derived from the journal is left out: a start makes it again. `KEPT` and `LEFT_OUT` name all that a data
folder may hold, and a test holds them against a running one, so that nothing new is forgotten.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from tallystick.acts import sqlite
from tallystick.acts.port import LOGS
from tallystick.backup import making, restoring
from tallystick.backup.making import BackupMaker, Made, Progress, Source
from tallystick.backup.manifest import Manifest
from tallystick.blockfile.disk import Disk, SystemDisk
from tallystick.blockfile.writer import BlockWriter
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import acting, archiving, moved, relay, texts
from tallystick.compose.following import alone
from tallystick.compose.journals import Place
from tallystick.errors import Fenced, Invalid, Unavailable
from tallystick.intake import lost
from tallystick.intake.files import LANES_LOCK_NAME, lane_folders
from tallystick.notifier import copying
from tallystick.notifier.schema import FILE, FOLDER, LOCK
from tallystick.settings import Settings

KEYS_PLACE = "keys.json"
SIGNER_PLACES = tuple(
    f"{folder}/{name}" for folder in ("signer", *(f"signer/{log}" for log in LOGS)) for name in ("signed", "keys")
)
LOST_PLACE = f"intake/{lost.NAME}"
KEPT = frozenset({"journal", "intake", "signer", acting.FOLDER, texts.PLACE[0], KEYS_PLACE, FOLDER, relay.FOLDER})
"""Names in a data folder that a backup has."""
LEFT_OUT = frozenset(
    {
        texts.KEYS_FOLDER,
        *("engine", "index", "snapshots", "projector", "cursor.key", "audit", "witness", "run"),
        *(moved.NAME, "keys.json.lock"),
    }
)
"""Names that it has not: made again from the journal, or about processes that run now. A witness that came back from a
backup would have forgotten what it cosigned; a person's key that came back would undo an erasure."""
NICE = 10
"""A backup must not take the engine's CPU from it."""


def make(settings: Settings, to: Path, to_move: bool, progress: Progress | None = None, bytes_s_max: float = 0) -> Made:
    """A backup of the data folder in `to`, new or on top of the one there. Raises as `BackupMaker.make`.

    `bytes_s_max`: copy no faster, since payments wait for the same disk; 0: as fast as it goes.
    With `to_move` also `Fenced` if anything uses the data folder.
    """
    disk, clock = SystemDisk(), SystemClock()
    if to.resolve() == settings.data.resolve() or settings.data.resolve() in to.resolve().parents:
        raise Invalid("", f"{to} is inside of what is to be copied; name a folder elsewhere, best on another disk")
    if Place.of(settings).url:
        raise Invalid("TALLY_JOURNAL", "is a database, which is copied by its own tools: see docs/postgresql.md")
    if not disk.list(settings.path("journal")):
        raise Invalid("", f"{settings.data} holds no journal; name the folder of one with --data")
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    began_ns, waiting = clock.monotonic_ns(), threading.Event()

    def pace(copied: int) -> None:
        if bytes_s_max:
            waiting.wait(max(0.0, copied / bytes_s_max - (clock.monotonic_ns() - began_ns) / 1e9))

    with ExitStack() as stack:
        if to_move:
            stack.enter_context(_stopped(settings, disk))
        source = Source(
            settings.data,
            settings.shard,
            lambda: _lanes(settings, disk),
            _files(settings),
            to_move,
            lost.read(settings.path("intake"), disk),
        )
        made = BackupMaker(source, to, disk, clock.wall_ns, version("tallystick"), progress, pace).make()
        if to_move:
            moved.mark(settings, to)
        return made


def check(backup: Path, progress: Progress | None = None) -> Manifest:
    """Read all of a backup, and change nothing. Raises as `restoring.check`."""
    return restoring.check(backup, SystemDisk(), progress)


def restore(backup: Path, data: Path, progress: Progress | None = None) -> Manifest:
    """The data folder `data` made of a backup: it is there whole, or not at all. Raises as `restoring.restore`.

    It ends where the backup does; `roll_forward` takes it on to the end of its archive.
    """
    disk = SystemDisk()
    restoring.read(backup, disk)
    if disk.list(data):
        raise Invalid("", f"{data} is not empty; name a folder that is, or none that exists")
    scratch = data.absolute().with_name(f".{data.absolute().name}.restoring")
    try:
        scratch.mkdir(parents=True)
    except FileExistsError as error:
        raise Invalid("", f"{scratch} is left from a restore that was killed; delete it, then restore again") from error
    try:
        manifest = restoring.restore(backup, disk, scratch, progress)
        try:
            os.replace(scratch, data.absolute())
        except OSError as error:
            raise Unavailable(f"{scratch} is restored, but cannot be renamed to {data}: {error.strerror}") from error
        disk.sync_folder(data.absolute().parent)
        return manifest
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def roll_forward(settings: Settings, progress: Progress | None = None) -> int:
    """Bring the restored folder up to its archive, `TALLY_ARCHIVE`; returns how many entries that added.

    A start does the same; this way it is seen before anything is started. Raises as `archiving.Rolling`.
    """
    disk, clock = SystemDisk(), SystemClock()
    return archiving.prepare(settings, disk, clock, system_entropy, progress)


def _lanes(settings: Settings, disk: Disk) -> dict[bytes, str]:
    """The lanes of the intake, by id: their folders, from the data folder. Those that a restore lost are left out."""
    gone = lost.read(settings.path("intake"), disk)
    found = lane_folders(settings.path("intake"), disk).items()
    return {id: f"intake/{name}" for id, name in found if id not in gone}


def _files(settings: Settings) -> dict[str, bytes]:
    """Small files, as they are now. Keys are replaced whole when they change, so none is ever seen in part.

    What the signer signed last is read before the position of the backup is settled, so a restored log never ends
    before it: a signer that forgot would sign another history. Its record is two copies, one of which is whole.
    """
    places = {KEYS_PLACE: settings.keys_path, **{place: settings.path(place) for place in (*SIGNER_PLACES, LOST_PLACE)}}
    found = {}
    for place, path in places.items():
        with suppress(FileNotFoundError):
            found[place] = path.read_bytes()
    for log in LOGS:  # after what the signer signed of them, so that none is shorter than that
        acts = sqlite.copied(settings.path(acting.FOLDER, log + sqlite.SUFFIX))
        if acts is not None:
            found[f"{acting.FOLDER}/{log}{sqlite.SUFFIX}"] = acts
    kept_texts = sqlite.copied(settings.path(*texts.PLACE))
    if kept_texts is not None:
        found["/".join(texts.PLACE)] = kept_texts
    # Read before the position is settled, too: these cursors are not beyond that.
    for cursor in settings.path(relay.FOLDER).glob(f"*{relay.SUFFIX}"):
        found[f"{relay.FOLDER}/{cursor.name}"] = cursor.read_bytes()
    webhooks = copying.copied(settings.path(*FILE))
    if webhooks is not None:
        found["/".join(FILE)] = webhooks
    return found


@contextmanager
def _stopped(settings: Settings, disk: Disk) -> Iterator[None]:
    """Hold every lock of the data folder, its block files checked and repaired as a start would. Raises `Fenced`."""
    with ExitStack() as stack:
        try:
            lock = disk.lock(settings.path("intake", LANES_LOCK_NAME))
            stack.callback(lock.release)
            if settings.path(FOLDER).exists():
                stack.callback(disk.lock(settings.path(*LOCK)).release)
            if settings.path(relay.FOLDER).exists() and settings.path("run").exists():
                stack.enter_context(alone(disk, settings.path("run"), relay.NAME))
            folders = [("journal", 0), *((folder, making.LANE_ORIGIN) for folder in _lanes(settings, disk).values())]
            for folder, origin in folders:
                stack.callback(BlockWriter(settings.path(folder), disk, settings.segment_bytes, origin).close)
        except Fenced as error:
            raise Fenced(
                f"{settings.data} is in use ({error}); stop `tally up` before it moves, or leave out --to-move"
            ) from error
        yield
