"""The projector process: `Settings` → tables that follow the journal, and answers from them, until SIGTERM or SIGINT.

The main thread follows; the ends of an inquiry have threads and connections of their own. Nothing of it is on the way
of a payment: stop it, kill it, and the journal knows nothing of it.
"""

import sys

import structlog

from tallystick.answers.addresses import address
from tallystick.blockfile.disk import Disk, SystemDisk
from tallystick.clock import Entropy, SystemClock, system_entropy
from tallystick.compose import following, logs, projecting
from tallystick.compose.following import Walk, alone
from tallystick.compose.journals import Place
from tallystick.errors import Corrupt
from tallystick.inquiries.serverend import ServerEnd
from tallystick.journal.follow import Follower
from tallystick.journal.port import JournalReader
from tallystick.projector.cursors import KEY_BYTES
from tallystick.projector.projection import COMMITTED_AT_ONCE, Projection
from tallystick.projector.reading import Reached, Reader
from tallystick.settings import Settings

WORKERS = 3
"""Answers at once: they share this process's lock on Python with the follower, so few."""
SWITCH_S = 0.0005
"""How long the follower may keep that lock while an answer waits for it, instead of Python's 5 ms."""
SPEED = 50_000
"""Entries a second, about, that it takes in (`tally bench follow --case projector`)."""
KEY_NAME = "cursor.key"

_log = structlog.get_logger("tallystick.compose.projector")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another projector has the folder."""
    logs.configure(projecting.NAME)
    sys.setswitchinterval(SWITCH_S)
    disk, clock = SystemDisk(), SystemClock(settings.clock_offset_file)
    where = address(settings.data, projecting.NAME)
    run_folder = settings.path("run")
    disk.make_folder(run_folder)
    with alone(disk, run_folder, projecting.NAME):
        kept = projecting.Kept.of(settings)
        key = load_or_make_key(disk, settings, system_entropy)

        def read_journal() -> JournalReader:
            return Place.of(settings).reader(disk)

        journal = read_journal()
        projection = Projection(kept.writer(disk, _log.warning), journal)
        pace = following.pace(settings, clock, SPEED)
        follower = Follower(journal, projection, clock, COMMITTED_AT_ONCE, pace)
        walk = Walk(projecting.NAME, follower, run_folder, clock)
        reached = Reached()
        server = ServerEnd(
            projecting.NAME,
            where,
            lambda: Reader(kept.reader(clock), key, clock, reached, read_journal()),
            clock,
            walk.fail,
            WORKERS,
        )
        _log.info("projector ready", next_seq=projection.next_seq, end=journal.end())
        try:
            walk.run(reached.move)
        finally:
            server.close()
            projection.close()
            journal.close()
    _log.info("projector stopped", next_seq=projection.next_seq)


def load_or_make_key(disk: Disk, settings: Settings, entropy: Entropy) -> bytes:
    """The key that signs cursors, made at the first start. Raises `Corrupt` if the file holds none."""
    path = settings.path(KEY_NAME)
    file = disk.open(path)
    if file is None:
        file = disk.create(path, private=True)
        file.write(0, [entropy(KEY_BYTES)])
        file.sync()
        disk.sync_folder(settings.data)
    key = file.read(0, KEY_BYTES + 1)
    file.close()
    if len(key) != KEY_BYTES:
        raise Corrupt(f"{path} is no key: delete it, and cursors that clients hold are refused")
    return key
