"""The archive of a data folder: what the engine, the gateway and `tally restore` do with it, in block files.

Without `TALLY_ARCHIVE` there is none; then a journal that was signed further than it reaches is refused all the same.
"""

import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import structlog

from tallystick.acts.port import LOGS
from tallystick.archive.port import ArchiveReader
from tallystick.archive.rolling import Progress, roll_forward
from tallystick.blockfile import slots
from tallystick.blockfile.disk import Disk
from tallystick.clock import Clock, Entropy
from tallystick.compose import archives
from tallystick.compose.acting import open_acts
from tallystick.compose.journals import KeptJournal, Place
from tallystick.compose.signer import FOLDER, SIGNED
from tallystick.errors import Corrupt, InvalidProof, TallystickError, Unavailable
from tallystick.intake.files import FileIntake
from tallystick.settings import Settings
from tallystick.tlog.checkpoints import parse_checkpoint

LOOK_S = 5.0
"""How often the engine looks how far the archive is; segments are trimmed once a day."""

_log = structlog.get_logger("tallystick.compose.archiving")


@dataclass(frozen=True, slots=True)
class Rolling:
    """Makes a journal fit to be decided on; called with its writing end, before anything is."""

    settings: Settings
    disk: Disk
    clock: Clock
    entropy: Entropy
    progress: Progress | None = None
    quiet: bool = False
    """Log nothing: who called says what was done."""

    def __call__(self, journal: KeptJournal) -> int:
        """Roll it forward from the archive, and refuse one that is shorter than what was signed.

        Returns how many entries were added: if any, it must be opened again. The lanes of which yesterday's intake has
        too little are given up first. Raises `Fenced` if a gateway writes to one, `Corrupt` if journal, archive and
        signature do not fit.
        """
        added = 0
        archive = archives.reader(self.settings, self.disk, newest=True)
        if archive is not None:
            end, begin = archive.end(), journal.tail().next_seq
            if end.next_seq > begin:
                if not self.quiet:
                    _log.warning("the journal is rolled forward from its archive", entries=begin, to=end.next_seq)
                self._give_up_lanes(end.positions)
            added = roll_forward(journal, archive, self.progress)
            for log in LOGS:
                open_acts(self.settings, log).close()  # rolls it forward, before anybody notes acts on it
        _refuse_shorter_than_signed(self.settings, self.disk, journal.tail().next_seq)
        return added

    def _give_up_lanes(self, positions: Mapping[bytes, int]) -> None:
        settings = self.settings
        if settings.intake != "files":
            return  # a broker's lanes are on machines of their own, and not of yesterday
        with closing(
            FileIntake(
                settings.path("intake"),
                self.disk,
                self.clock,
                self.entropy,
                settings.lane_segment_bytes,
                settings.intake_retention_s,
                settings.shard,
            )
        ) as intake:
            given_up = intake.give_up(positions)
            for lane in given_up if not self.quiet else ():
                _log.warning("a lane ends before what the journal took of it, and is given up", lane=lane.hex())


def prepare(settings: Settings, disk: Disk, clock: Clock, entropy: Entropy, progress: Progress | None = None) -> int:
    """Roll the journal of a folder that nothing uses forward; returns how many entries that added. As `Rolling`."""
    with closing(Place.of(settings).writer(disk, settings.segment_bytes)) as journal:
        return Rolling(settings, disk, clock, entropy, progress, quiet=True)(journal)


def refuse_behind(settings: Settings, disk: Disk) -> None:
    """For gateways: raises `Unavailable` while the journal still has to be rolled forward.

    A gateway that took requests before would number them in a lane that is about to be given up.
    """
    archive = archives.reader(settings, disk, newest=True)
    if archive is None:
        return
    reached = archive.end().next_seq
    with closing(Place.of(settings).reader(disk)) as reader:
        end = reader.end()
    if reached > end:
        raise Unavailable(
            f"the journal ends at entry {end}, its archive at {reached}: the engine rolls it forward first"
        )


class Trimming:
    """How far the intake may be trimmed: below what is journaled, and archived where there is an archive.

    The archive is looked at by a thread of its own: it may lie on a machine that hangs, and payments wait for none.
    """

    def __init__(self, settings: Settings, disk: Disk) -> None:
        """Starts looking, if there is an archive."""
        self._archived: Mapping[bytes, int] | None = {}
        self._stop = threading.Event()
        archive = archives.reader(settings, disk)
        if archive is None:
            self._archived = None
            return
        threading.Thread(target=self._look, args=(archive,), name="archive-end", daemon=True).start()

    def below(self, journaled: Mapping[bytes, int]) -> Mapping[bytes, int]:
        """The positions to trim below, of those journaled."""
        archived = self._archived
        if archived is None:
            return journaled
        return {lane: min(position, archived.get(lane, 0)) for lane, position in journaled.items()}

    def close(self) -> None:
        """Look no more. Does not wait for a look that hangs."""
        self._stop.set()

    def _look(self, archive: ArchiveReader) -> None:
        told = False
        while True:
            try:
                self._archived = archive.end().positions
                told = False
            except TallystickError as error:
                if not told:
                    _log.error("the archive cannot be read: the intake is not trimmed meanwhile", why=str(error))
                told = True
            if self._stop.wait(LOOK_S):
                return


def signed_size(settings: Settings, disk: Disk) -> int:
    """How many entries the log was signed up to, by the signer's own record; 0 before the first. Raises `Corrupt`."""
    data = slots.read(settings.path(FOLDER, SIGNED), disk)
    if data is None:
        return 0
    try:
        return parse_checkpoint(data.decode()).size
    except (InvalidProof, UnicodeDecodeError) as error:
        raise Corrupt(f"{settings.path(FOLDER, SIGNED)} is no checkpoint: {error}") from error


def _refuse_shorter_than_signed(settings: Settings, disk: Disk, end: int) -> None:
    """What was signed is out there: a journal that ends before it would decide other entries under those numbers."""
    signed = signed_size(settings, disk)
    if signed > end:
        raise Corrupt(
            f"the log was signed up to entry {signed}, but the journal ends at {end}: deciding on would fork it. Set "
            "TALLY_ARCHIVE to its archive, from which it is rolled forward; see docs/backup.md if there is none"
        )
