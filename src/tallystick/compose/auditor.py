"""The auditor process: `Settings` → a running auditor, until SIGTERM or SIGINT.

One thread: take in what is durable, publish when it is due, wait. It looks a few times a second only, since every look
that finds something costs syncs, which payments wait for too.
"""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass

import structlog

from tallystick.acts.port import LOGS, ActLog
from tallystick.answers.addresses import address
from tallystick.archive.port import ActArchive
from tallystick.auditor.acts import ACTS_AT_ONCE, ActLogReader, ActSequencer
from tallystick.auditor.archiving import ArchivedFirst, archive_acts
from tallystick.auditor.asking import HttpWitnesses
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.auditor.serving import PUBLISHED, STATE, TREE, WITNESSED, LogReader
from tallystick.auditor.witnesses import Gatherer
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.compose import archives, logs
from tallystick.compose.acting import LazyActs, open_acts
from tallystick.compose.journals import Place
from tallystick.compose.signer import LEDGER, SOCKET
from tallystick.errors import Invalid, InvalidProof, TallystickError, Unavailable
from tallystick.journal import progress
from tallystick.journal.follow import Effects, Follower
from tallystick.settings import Settings
from tallystick.signer.sockets import SignerClient
from tallystick.tlog.policies import parse_policy

FOLDER, LOCK = "audit", "lock"
EVERY_S = 0.25
SIGNER_AGAIN_S = 1.0
WITNESSES_AGAIN_S = 1.0
PROGRESS_EVERY_NS = 1_000_000_000

_log = structlog.get_logger("tallystick.compose.auditor")


def open_log(settings: Settings) -> LogReader:
    """The log of this data folder, for readers: of this machine's gateways and tools."""
    disk = SystemDisk()
    return LogReader(settings.path(FOLDER), disk, Place.of(settings).reader(disk))


def open_act_log(settings: Settings, log: str) -> LogReader:
    """A log of acts of this data folder, for readers. The file of acts is opened when it is first read."""
    return ActLogReader(settings.path(FOLDER, log), SystemDisk(), LazyActs(settings, log))


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it: `Damaged` (the next start makes the tree anew), `Corrupt`, …"""
    logs.configure("auditor")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    disk, clock, folder = SystemDisk(), SystemClock(settings.clock_offset_file), settings.path(FOLDER)
    disk.make_folder(folder)
    lock = disk.lock(folder / LOCK)
    journal = Place.of(settings).reader(disk)
    levels = LevelFiles(folder / TREE, disk)
    sequencer = Sequencer(levels, Slots(folder / STATE, disk))
    signer = SignerClient(address(settings.data, SOCKET).path)
    publisher = Publisher(settings.log_origin_of_shard, levels, signer, Slots(folder / PUBLISHED, disk), clock)
    effects: Effects = sequencer
    archive = archives.writer(settings, disk)
    if archive is not None:
        effects = ArchivedFirst(archive, journal, sequencer)
    follower = Follower(journal, effects, clock)
    acts = [ActTree(settings, log, signer, disk, clock) for log in LOGS]
    witnesses = Witnesses(settings, stop) if settings.log_policy else None
    _log.info("auditor ready", origin=settings.log_origin_of_shard, size=sequencer.cursor().next_seq)
    try:
        _follow(follower, publisher, acts, clock, stop, _telling(settings, follower, clock))
        if witnesses is not None and witnesses.failure is not None:
            raise witnesses.failure
    finally:
        stop.set()
        if witnesses is not None:
            witnesses.join()
        journal.close()
        levels.close()
        for tree in acts:
            tree.close()
        if archive is not None:
            archive.close()
        lock.release()
    _log.info("auditor stopped", size=levels.size)


class Witnesses:
    """Asks the policy's witnesses, in threads of its own: a slow one holds up nothing but the grade *witnessed*."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        """Starts asking. Raises `Invalid` for a policy that cannot be understood."""
        assert settings.log_policy is not None
        try:
            policy = parse_policy(settings.log_policy.read_text(encoding="utf-8"))
        except (InvalidProof, OSError) as error:
            raise Invalid("TALLY_LOG_POLICY", f"{settings.log_policy}: {error}") from error
        self.failure: BaseException | None = None
        self._stop = stop
        self._pool = ThreadPoolExecutor(max(1, len(policy.witnesses)), "witness")
        self._readers: list[LogReader] = []
        self._threads = []
        link = HttpWitnesses()
        for log in (LEDGER, *LOGS):
            known = policy.of(settings.log_origin_of(log))
            if log != LEDGER and not known.logs:
                _log.warning("this log is not witnessed: the policy has no line for it", log=log)
                continue
            reader = open_log(settings) if log == LEDGER else open_act_log(settings, log)
            folder = settings.path(FOLDER) if log == LEDGER else settings.path(FOLDER, log)
            SystemDisk().make_folder(folder)
            slots = Slots(folder / WITNESSED, SystemDisk())
            gatherer = Gatherer(known, link, reader, slots, self._pool.map)
            self._readers.append(reader)
            # Each log has a thread of its own: one that has no quorum holds up no other.
            thread = threading.Thread(target=self._run, args=(log, gatherer), name=f"witnesses-{log}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, log: str, gatherer: Gatherer) -> None:
        alarmed = False
        while not self._stop.wait(EVERY_S):
            try:
                if gatherer.gather() is not None and alarmed:
                    alarmed = False
                    _log.info("checkpoints are witnessed again", log=log)
            except Unavailable as error:
                if not alarmed:
                    alarmed = True
                    _log.error("no quorum of witnesses: the log is signed, not witnessed", log=log, why=str(error))
                self._stop.wait(WITNESSES_AGAIN_S)
            except BaseException as error:
                # What cannot be kept or read ends the whole process, as anywhere else.
                self.failure = error
                self._stop.set()

    def join(self) -> None:
        """Wait for those that are being asked."""
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()
        for reader in self._readers:
            reader.close()


class ActTree:
    """One log of acts, kept up. Whatever is wrong with it, the ledger's log goes on; an alarm is raised."""

    def __init__(
        self, settings: Settings, log: str, signer: SignerClient, disk: SystemDisk, clock: SystemClock
    ) -> None:
        """Opens nothing yet."""
        self._settings = settings
        self._log = log
        self._signer = signer
        self._disk = disk
        self._clock = clock
        self._opened: _OpenedActs | None = None
        self._trouble = ""

    def step(self) -> str:
        """Take in what waits, publish what is due; what is wrong with it, empty if nothing is."""
        try:
            if self._opened is None:
                self._opened = self._open()
            opened = self._opened
            while opened.sequencer.step() == ACTS_AT_ONCE:
                pass
            if opened.archive is not None:
                archive_acts(opened.archive, opened.acts, opened.levels)
            opened.publisher.publish()
            trouble = ""
        except TallystickError as error:
            trouble = f"the log {self._log}: {error}"
            if not self._trouble:
                tell = _log.warning if isinstance(error, Unavailable) else _log.error
                tell("a log of acts is not signed; payments and the ledger's log go on", why=trouble)
        self._trouble = trouble
        return trouble

    def close(self) -> None:
        """Let go of the files."""
        if self._opened is not None:
            self._opened.files.close()
            self._opened = None

    def _open(self) -> "_OpenedActs":
        settings, log, disk = self._settings, self._log, self._disk
        folder = settings.path(FOLDER, log)
        with ExitStack() as files:
            disk.make_folder(folder)
            acts = files.enter_context(closing(open_acts(settings, log)))
            levels = files.enter_context(closing(LevelFiles(folder / TREE, disk)))
            state = files.enter_context(closing(Slots(folder / STATE, disk)))
            published = files.enter_context(closing(Slots(folder / PUBLISHED, disk)))
            archive = archives.act_writer(settings, log, disk)
            if archive is not None:
                files.enter_context(closing(archive))
            publisher = Publisher(settings.log_origin_of(log), levels, self._signer, published, self._clock)
            sequencer = ActSequencer(acts, levels, state)
            return _OpenedActs(acts, levels, sequencer, archive, publisher, files.pop_all())


@dataclass(frozen=True, slots=True)
class _OpenedActs:
    acts: ActLog
    levels: LevelFiles
    sequencer: ActSequencer
    archive: ActArchive | None
    publisher: Publisher
    files: ExitStack


def _follow(
    follower: Follower,
    publisher: Publisher,
    acts: "list[ActTree]",
    clock: SystemClock,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    trouble, ask_at_ns = "", 0
    while not stop.is_set():
        wait_s = follower.step()
        if clock.monotonic_ns() >= ask_at_ns:
            try:
                publisher.publish()
                trouble = ""
            except Unavailable as error:
                if not trouble:
                    _log.warning("no checkpoint is signed for now; receipts wait, payments do not", why=str(error))
                trouble = str(error)
                ask_at_ns = clock.monotonic_ns() + int(SIGNER_AGAIN_S * 1e9)
        tell(" ".join(filter(None, (trouble, *(tree.step() for tree in acts)))))
        if wait_s:
            stop.wait(max(wait_s, EVERY_S))


def _telling(settings: Settings, follower: Follower, clock: SystemClock) -> Callable[[str], None]:
    """Writes the progress file now and then."""
    due_ns = 0

    def tell(trouble: str) -> None:
        nonlocal due_ns
        if clock.monotonic_ns() < due_ns:
            return
        due_ns = clock.monotonic_ns() + PROGRESS_EVERY_NS
        now = follower.progress()
        # A progress file that cannot be written is no reason to stop: a later one will do.
        try:
            progress.write(
                settings.path("run"),
                progress.ProgressFile(
                    name="auditor",
                    pid=os.getpid(),
                    next_seq=now.next_seq,
                    since_ns=now.since_ns,
                    written_at_ns=clock.wall_ns(),
                    trouble=now.trouble or trouble,
                ),
            )
        except OSError as error:
            _log.warning("the progress file cannot be written", error=str(error))

    return tell
