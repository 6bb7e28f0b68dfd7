"""Where acts are noted: by the gateway, many at once; by commands, one."""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from tallystick.acts.entries import NONCE_SIZE, Act, encode
from tallystick.acts.port import CONTROL, LOGS, ActLog
from tallystick.acts.sqlite import SUFFIX, SqliteActs
from tallystick.archive.port import ActArchiveReader
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import archives, services
from tallystick.errors import Corrupt, TallystickError
from tallystick.settings import Settings

FOLDER = "acts"


def open_acts(settings: Settings, log: str, create: bool = True) -> ActLog:
    """The log as the settings say, created if it is not there unless told otherwise.

    One that was restored from a backup is rolled forward from its archive first: whoever noted acts on it as it was
    would give them numbers that were signed as others'. Raises `Corrupt` if archive and log tell two histories.
    """
    acts = _opened(settings, log, create)
    try:
        archive = archives.act_reader(settings, log, SystemDisk(), newest=True)
        if archive is not None:
            _roll_forward(acts, archive, settings.path(FOLDER, log))
    except BaseException:
        acts.close()
        raise
    return acts


def _opened(settings: Settings, log: str, create: bool) -> ActLog:
    path = settings.path(FOLDER, log + SUFFIX)
    if settings.services == services.FILES:
        services.refuse_moved(path)
        return SqliteActs(path, create)
    services.needs_driver()
    services.refuse_left_behind(path)
    from tallystick.acts.postgresql import PostgresActs

    return PostgresActs(settings.services, settings.shard, log, create)


def _roll_forward(acts: ActLog, archive: ActArchiveReader, path: Path) -> None:
    end = acts.end()
    if archive.end().count <= end:
        return
    # The last act that is there must be the archive's, too: each has a random nonce.
    checked = max(0, end - 1)
    number = checked
    for entries in archive.read(checked):
        there = acts.read(number, len(entries))
        if there != entries[: len(there)]:
            raise Corrupt(f"{path}{SUFFIX} tells another history than its archive before act {number + len(there)}")
        if len(there) < len(entries):
            acts.append(entries[len(there) :], expected=number + len(there))
        number += len(entries)


class LazyActs:
    """As `acts.port.ActReader`: opens the log when it is first asked. Threads may share it, one at a time."""

    def __init__(self, settings: Settings, log: str) -> None:
        self._opening = partial(open_acts, settings, log)
        self._acts: ActLog | None = None

    def end(self) -> int:
        return self._opened().end()

    def read(self, first: int, count: int) -> list[bytes]:
        return self._opened().read(first, count)

    def close(self) -> None:
        if self._acts is not None:
            self._acts.close()
            self._acts = None

    def _opened(self) -> ActLog:
        if self._acts is None:
            self._acts = self._opening()
        return self._acts


def note_command(
    settings: Settings, act: str, target: str, more: Mapping[str, str] | None = None, result: str = "asked"
) -> int:
    """Note in the log `control` what a command is about to do; returns the act's number. **Durable on return.**

    Raises `Unavailable` if it cannot be: then the command must not go on.
    """
    noted = Act(
        act=act,
        at_ns=SystemClock().wall_ns(),
        by=f"uid:{os.getuid()}",
        via="cli",
        nonce=system_entropy(NONCE_SIZE),
        target=target,
        result=result,
        more=more or {},
    )
    with closing(open_acts(settings, CONTROL)) as log:
        return log.append([encode(noted)])


class ActAppender:
    """Appends for coroutines of one event loop. Those that come together share a commit."""

    def __init__(self, settings: Settings) -> None:
        self._logs = {log: _Log(partial(open_acts, settings, log)) for log in LOGS}

    async def append(self, log: str, entry: bytes) -> None:
        """Durable on return. Raises `Unavailable`, `Corrupt` as `ActLog.append`."""
        await self._logs[log].append(entry)

    def close(self) -> None:
        """Let go of the files, once nothing is appended any more."""
        for log in self._logs.values():
            log.close()


class _Log:
    def __init__(self, opening: "partial[ActLog]") -> None:
        self._opening = opening
        self._executor = ThreadPoolExecutor(1, "acts")
        self._acts: ActLog | None = None
        self._begun = False
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._draining: asyncio.Task[None] | None = None

    async def append(self, entry: bytes) -> None:
        loop = asyncio.get_running_loop()
        noted: asyncio.Future[None] = loop.create_future()
        self._waiting.append((entry, noted))
        if self._draining is None or self._draining.done():
            self._draining = loop.create_task(self._drain(loop))
        await noted

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await loop.run_in_executor(self._executor, self._commit, [entry for entry, _ in batch])
            except Exception as error:  # whatever it is, nobody may be answered as if it had been noted
                failure = error
            for _, noted in batch:
                if noted.done():
                    continue  # who waited has gone
                if failure is None:
                    noted.set_result(None)
                else:
                    noted.set_exception(failure)

    def _commit(self, entries: list[bytes]) -> None:
        if self._acts is None:
            # One that was deleted meanwhile is not begun anew: nobody would notice what is gone.
            self._acts = self._opening(create=not self._begun)
            self._begun = True
        try:
            self._acts.append(entries)
        except TallystickError:
            acts, self._acts = self._acts, None  # opened anew next time
            acts.close()
            raise

    def close(self) -> None:
        self._executor.shutdown()
        if self._acts is not None:
            self._acts.close()
            self._acts = None
