"""The engine process: `Settings` → a running engine, until SIGTERM or SIGINT.

The main thread is the loop (take, decide, look up); one thread writes; one keeps house. Whatever fails ends the
process: start-up is the one recovery path.
"""

import faulthandler
import gc
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, TextIO

import numpy as np
import structlog

from tallystick import directory
from tallystick.answers import wire
from tallystick.answers.addresses import address
from tallystick.answers.engineend import EngineEnd
from tallystick.blockfile.disk import Disk, SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import archiving, kernel_cache, logs
from tallystick.compose.intake import keeps_decided, open_intake
from tallystick.errors import Fenced, Invalid
from tallystick.records.blocks import pack_positions
from tallystick.settings import Settings
from tallystick.statuses import RequestStatus

if TYPE_CHECKING:  # the kernel is imported only once its cache has a folder
    from tallystick.compose.parts import Parts
    from tallystick.compose.standby import Standby
    from tallystick.engine.deciding import Decider
    from tallystick.engine.drafts import Answer, Draft
    from tallystick.engine.timekeeping import Timekeeper
    from tallystick.engine.writer import LookedUp
    from tallystick.records.placements import Home

POLL_MS = 25
"""How long the loop sleeps without a doorbell; the slow poll is the truth, a lost bell costs this."""
EXPECT_S = 0.02
"""How long a block that travels is waited for, once a bell says that it is durable."""
DONE_EVERY_NS = 20_000_000
TELL_EVERY_NS = 1_000_000_000
LEAVE_NS = 500_000_000
"""How long a tenant that is to leave goes on, at least, so that all gateways have seen that it is on its way."""
STANDBY_S = 0.25
"""How soon a standby looks again whether the shard is free."""

_log = structlog.get_logger("tallystick.compose.engine")


@dataclass
class SocketGate:
    """Publishes what is durable: results to the lane they came from."""

    end: EngineEnd
    journaled: Mapping[bytes, int] = field(default_factory=dict)

    def decided(self, answers: "list[Answer]", position: int) -> None:
        for answer in answers:
            delivery = answer.delivery
            if delivery.lane:
                self.end.publish(delivery.lane, wire.BlockResults(delivery.number, answer.rows.tobytes(), position))

    def durable(self, positions: Mapping[bytes, int]) -> None:
        self.journaled = positions


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another engine has the shard."""
    logs.configure("engine")
    _Engine(settings).run()


class _Engine:
    """One run of the process."""

    def __init__(self, settings: Settings) -> None:
        kernel_cache.activate(settings.kernel_cache or kernel_cache.default_folder())
        self._settings = settings
        self._stopping = False
        self._serving = False
        self._told_to_stop = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        crash = self._settings.path("engine", "crash")
        crash.parent.mkdir(parents=True, exist_ok=True)
        crash_noted = crash.exists() and crash.stat().st_size > 0
        note = crash.open("a")
        try:
            self._serve(crash_noted, note)
        except (SystemExit, KeyboardInterrupt, Fenced):
            raise
        except BaseException as error:
            # Not of a start: a marker that a kill left, and the note of a start that failed, would make one crash.
            if self._serving:
                note.write(f"{type(error).__name__}: {error}\n")
                note.flush()
            raise
        finally:
            faulthandler.disable()
            note.close()

    def _when_it_is_ours(self, opened: "Callable[..., Parts]", standby: "Standby | None") -> "Parts":
        """The parts, at once; with a setting, wait while another engine lives, and let a `standby` follow its journal.

        Raises what `opened` raises.
        """
        said = False
        while True:
            try:
                return opened(standby=standby)
            except Fenced as error:
                if not self._settings.standby:
                    raise
                if not said:
                    said = True
                    _log.info("standing by", held=str(error))
            if standby is not None:
                standby.step()
            if self._told_to_stop.wait(STANDBY_S):
                raise SystemExit(0)

    def _standby(self, disk: Disk) -> "Standby | None":
        from tallystick.compose.journals import Place
        from tallystick.compose.parts import Sizes
        from tallystick.compose.standby import Standby

        settings, place = self._settings, Place.of(self._settings)
        if not settings.standby or not place.url:  # in files there is one folder, and its next engine has all of it
            return None
        sizes = Sizes(settings.accounts_max, settings.window_ids, settings.pendings_max)
        return Standby(place, disk, system_entropy, sizes)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._told_to_stop.set()

    def _serve(self, crash_noted: bool, note: TextIO) -> None:
        from tallystick.compose import measuring
        from tallystick.compose.handoff import Housekeeper, WriterThread
        from tallystick.compose.parts import open_files
        from tallystick.engine.loop import EngineLoop, LaneSource, all_decided
        from tallystick.engine.writer import Writer

        settings, entropy, disk = self._settings, system_entropy, SystemDisk()
        clock = SystemClock(settings.clock_offset_file)
        intake = open_intake(
            settings, disk, clock, entropy
        )  # first of all: while a broker is away, starting costs little
        started = clock.monotonic_ns()
        opened = partial(
            open_files,
            settings.data,
            disk,
            clock,
            entropy,
            accounts_max=settings.accounts_max,
            pendings_max=settings.pendings_max,
            window_ids=settings.window_ids,
            segment_bytes=settings.segment_bytes,
            accept_clock=settings.accept_clock,
            shard=settings.shard,
            journal_at=settings.journal,
            crash_noted=crash_noted,
            scrub_bytes_s=settings.scrub_bytes_s,
            roll=archiving.Rolling(settings, disk, clock, entropy),
        )
        parts = self._when_it_is_ours(opened, self._standby(disk))
        note.truncate(0)  # only now has it been counted: a start that fails, or finds the lock held, leaves it
        faulthandler.enable(file=note, all_threads=False)
        self._serving = True
        trimming = archiving.Trimming(settings, disk)
        end = EngineEnd(address(settings.data))  # only now: the journal's lock is ours
        gate = SocketGate(end)
        measures = measuring.open_measures(settings.path("run"))
        watch = measuring.Watch(measures, clock)
        writer = Writer(watch.journal(parts.journal), gate, entropy, settings.shard)

        def failed(error: BaseException) -> None:
            self._failure = self._failure or error
            end.wake()

        handoff = WriterThread(writer, failed)
        housekeeper = Housekeeper(parts.chores, failed)
        source, put = watch.source(LaneSource(intake, parts.decider)), watch.putting(handoff.put)
        loop = EngineLoop(source, parts.decider, parts.timekeeper, parts.poison, put)
        told = ToldPlacements(parts.decider, parts.timekeeper, put, end, settings)
        gc.collect()
        gc.freeze()
        seconds = (clock.monotonic_ns() - started) / 1e9
        _log.info("engine ready", entries=parts.decider.next_seq, epoch=parts.journal.epoch, start_s=round(seconds, 2))
        standing = measuring.Standing(measures, parts, settings, clock, clock.monotonic_ns() - started)
        more, done_at, told_at, kept = True, 0, 0, keeps_decided(settings)
        try:
            while not self._stopping:
                bells: dict[bytes, int] = {}
                for message in end.receive(0 if more else POLL_MS):
                    if isinstance(message, wire.Doorbell):
                        bells[message.lane] = message.number
                    elif isinstance(message, wire.Placement | wire.Carriage | wire.StandingQuery):
                        told.take(message, clock.monotonic_ns())
                    else:
                        handoff.put(partial(end.publish, message.client, reply(parts.decider, message)))
                        watch.looked_up()
                if bells:
                    told.rung.update(bells)
                    intake.expect(bells, EXPECT_S)
                decided = loop.step()
                more = decided > 0 and not all_decided(bells, parts.decider.positions)
                if told.leaving and not decided:
                    told.let_go(clock.monotonic_ns())
                if self._failure is not None:
                    raise self._failure
                if (now := clock.monotonic_ns()) - done_at > DONE_EVERY_NS:
                    done_at = now
                    intake.done(trimming.below(gate.journaled) if kept else gate.journaled)
                if now - told_at > TELL_EVERY_NS:
                    told_at = now
                    standing.tell()
                    if parts.timekeeper.jumped:
                        _log.error("the clock jumped by over a second; entries keep the time it had: check NTP")
        except Exception as error:
            watch.ends(error)
            raise
        finally:
            handoff.stop()
            housekeeper.stop()
            end.close()
            trimming.close()
            intake.close()
            parts.close()
        _log.info("engine stopped", entries=parts.decider.next_seq)


class ToldPlacements:
    """Takes in where tenants live, as `tally shard` tells it, and keeps shard 0's directory where gateways read it."""

    def __init__(
        self,
        decider: "Decider",
        timekeeper: "Timekeeper",
        put: "Callable[[Draft | LookedUp], None]",
        end: EngineEnd,
        settings: Settings,
    ) -> None:
        """Writes the directory, which may be missing or old."""
        self._decider = decider
        self._timekeeper = timekeeper
        self._put = put
        self._end = end
        self._directory = directory.path(settings.data) if settings.shard == 0 else None
        self.leaving: list[tuple[int, wire.Placement]] = []
        """When each tenant that is to leave may be fenced, by the monotonic clock."""
        self.rung: dict[bytes, int] = {}
        """By lane, the last block that its gateway said is durable; a broker may give it later."""
        if self._directory is not None and (decider.homes.known or self._directory.exists()):
            directory.write(self._directory, decider.homes.known)

    def take(self, message: wire.Told, now_ns: int) -> None:
        """Take it in; the sender hears of it once it is durable, and gateways can read it.

        A tenant that is to leave goes on until all that waits is decided (`let_go`), and so is all that gateways took
        before they saw the directory. That names it first, so that they take nothing more.
        """
        from tallystick.records.placements import Home

        homes = self._decider.homes
        if isinstance(message, wire.Placement):  # what was said last holds, also of one that is yet to leave
            self.leaving = [each for each in self.leaving if each[1].tenant != message.tenant]
        if isinstance(message, wire.Placement) and message.moving and homes.here(message.tenant):
            if self._directory is not None:
                directory.write(self._directory, {**homes.known, message.tenant: Home(message.shard, message.moving)})
            self.leaving.append((now_ns + LEAVE_NS, message))
        else:
            self._take(message)

    def let_go(self, now_ns: int) -> None:
        """Nothing waits just now: fence those that are to leave, and have had their time.

        Nobody is fenced while a broker still owes what a gateway has seen confirmed, and may have acknowledged.
        """
        if any(self._decider.positions.get(lane, 0) < number for lane, number in self.rung.items()):
            return
        due = [message for due_ns, message in self.leaving if due_ns <= now_ns]
        self.leaving = [each for each in self.leaving if each[0] > now_ns]
        for message in due:
            self._take(message)

    def _take(self, message: wire.Told) -> None:
        decider = self._decider
        draft, status, payload = None, 0, b""
        try:
            if isinstance(message, wire.StandingQuery):
                payload = _standing(decider, message.tenant)
            else:
                draft = self._drafted(message)
        except Invalid as error:
            status, payload = wire.REFUSED, error.message.encode()
        if draft is not None:
            self._put(draft)
        placed = isinstance(message, wire.Placement) and self._directory is not None
        homes = dict(decider.homes.known) if placed else None
        answer = wire.Reply(message.query, status, payload, decider.next_seq)
        self._put(partial(self._tell, message.client, answer, homes))

    def _drafted(self, message: "wire.Placement | wire.Carriage") -> "Draft | None":
        from tallystick.engine import placing
        from tallystick.records.details import DETAILS
        from tallystick.records.entries import WORK
        from tallystick.records.placements import Home

        decider = self._decider
        if isinstance(message, wire.Placement):
            now = self._timekeeper.after(decider.last_timestamp)
            return placing.place(decider, message.tenant, Home(message.shard, message.moving), now)
        if len(message.entries) % WORK.itemsize or len(message.details) % DETAILS.itemsize:
            raise Invalid("entries", "must be whole")
        entries, details = np.frombuffer(message.entries, WORK).copy(), np.frombuffer(message.details, DETAILS).copy()
        return placing.carry(decider, message.tenant, entries, details)

    def _tell(self, client: bytes, answer: wire.Reply, homes: "dict[int, Home] | None") -> None:
        if self._directory is not None and homes is not None:
            directory.write(self._directory, homes)
        self._end.publish(client, answer)


def _standing(decider: "Decider", tenant: int) -> bytes:
    from tallystick.engine import placing

    stands = placing.standing(decider, tenant)
    home = stands.home.number if stands.home is not None else 0
    return home.to_bytes(8, "little") + stands.accounts.to_bytes(8, "little") + stands.digest


def reply(decider: "Decider", message: wire.Question) -> wire.Reply:
    """What a look-up shows now; the writer sends it once all of that is durable."""
    from tallystick.engine import lookups

    position = decider.next_seq
    if not isinstance(message, wire.PositionsQuery) and not decider.homes.here(message.tenant):
        return wire.Reply(message.query, RequestStatus.TENANT_ELSEWHERE, b"", position)
    if isinstance(message, wire.ResultsQuery):
        found = lookups.results(
            decider, message.tenant, int.from_bytes(message.request_id, "little"), message.fingerprint
        )
        return wire.Reply(message.query, found.status or 0, found.results.tobytes(), position)
    if isinstance(message, wire.AccountsQuery):
        shown, extra = lookups.accounts(decider, message.tenant, _ids(message.ids))
        rows = [row.tobytes() + more.tobytes() for row, more in zip(shown, extra, strict=True)]
        return wire.Reply(message.query, 0, b"".join(rows), position)
    if isinstance(message, wire.TransfersQuery):
        found_transfers = lookups.transfers(decider, message.tenant, _ids(message.ids))
        return wire.Reply(message.query, 0, found_transfers.tobytes(), position)
    if isinstance(message, wire.SeqsQuery):
        found_seqs = lookups.seqs(decider, message.tenant, _ids(message.ids))
        return wire.Reply(message.query, 0, found_seqs.astype("<u8").tobytes(), position)
    return wire.Reply(message.query, 0, pack_positions(decider.positions), position)


def _ids(packed: bytes) -> list[int]:
    return [lo | hi << 64 for lo, hi in wire.unpack_ids(packed).tolist()]
