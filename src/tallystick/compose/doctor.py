"""`tally doctor`: reads the machine and the data folder, and has `tallystick.doctor` judge them.

Safe beside a running platform: it takes no lock, and writes nothing but a file of 160 KB that it deletes again.
"""

import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import urllib3
import urllib3.exceptions

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.compose import archives, moved, services
from tallystick.compose.archiving import signed_size
from tallystick.compose.journals import Place
from tallystick.doctor import folder, machine
from tallystick.doctor.finding import Finding, look, to_fix
from tallystick.errors import TallystickError, Unavailable
from tallystick.gateway import auth
from tallystick.intake.files import lane_folders
from tallystick.journal import progress
from tallystick.records.blocks import EntryBlock
from tallystick.settings import Settings, unknown_variables
from tallystick.supervise import status
from tallystick.supervise.processes import start_ticks

PACKAGES = ("tallystick", "numpy", "numba")
ACCOUNT_BYTES = 256
READY_S = 2.0


def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order of the walk from the machine to the followers. Raises nothing on purpose."""
    found: list[Finding] = []
    for check in (_machine, _disk, _clock_and_journal, _folder, _running):
        try:
            found.extend(check(settings))
        except Exception as error:  # one thing that cannot be looked at must not hide the others
            found.append(look(check.__name__.strip("_"), f"could not be examined: {error}", "look at it by hand"))
    return found


def _machine(settings: Settings) -> Iterator[Finding]:
    yield machine.versions(sys.version_info[:3], {name: version(name) for name in PACKAGES})
    if platform.system() != "Linux":
        yield to_fix("system", platform.system(), "run it on Linux: it counts on fdatasync, flock and /proc")
    yield machine.processors(len(os.sched_getaffinity(0)))
    yield machine.open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    overcommit = int(Path("/proc/sys/vm/overcommit_memory").read_text())
    reserved = ACCOUNT_BYTES * (settings.accounts_max + settings.pendings_max)
    yield from machine.memory(sizes["MemAvailable"], sizes["MemTotal"], overcommit, reserved)
    yield folder.variables(unknown_variables())


def _disk(settings: Settings) -> Iterator[Finding]:
    data = settings.data.absolute()
    there = next(path for path in (data, *data.parents) if path.is_dir())
    yield machine.file_system(*machine.mounted(there.resolve(), Path("/proc/mounts").read_text()))
    yield machine.free_space(SystemDisk().free_share(there), settings.disk_free_min, shutil.disk_usage(there).free)
    if not data.is_dir():
        yield look("data folder", f"{data} does not exist yet", "`tally up` makes it; or name another with --data")
        return
    try:
        yield machine.syncs(machine.time_syncs(data, SystemClock().monotonic_ns))
    except OSError as error:
        yield to_fix("disk sync", f"{data} cannot be written: {error.strerror}", "give its owner the right to write")


def _clock_and_journal(settings: Settings) -> Iterator[Finding]:
    last_ns, entries, problem = 0, 0, ""
    is_away = False
    try:
        block = _last_block(settings)
    except TallystickError as error:
        block, problem, is_away = None, str(error), isinstance(error, Unavailable)
    if block is not None:
        last_ns, entries = int(block.entries["timestamp"].max()), block.header.next
    yield from machine.clock(SystemClock().wall_ns(), last_ns, machine.clock_is_kept())
    yield folder.journal(entries, problem, is_away)


def _last_block(settings: Settings) -> EntryBlock | None:
    with closing(Place.of(settings).reader(SystemDisk())) as reader:
        end = reader.end()
        return next(iter(reader.read(end - 1))) if end else None


def _folder(settings: Settings) -> Iterator[Finding]:
    mark = settings.path(moved.NAME)
    yield from folder.moved(mark.read_text().strip() if mark.exists() else None, mark)
    damaged = _register(settings, "scrub-damaged")
    yield folder.scrub(damaged - 1 if damaged else None)
    yield _archive(settings)
    yield from _services(settings)
    yield folder.crashes(_register(settings, "crashes"))
    yield folder.lanes(len(lane_folders(settings.path("intake"), SystemDisk())))
    path, problem, scopes = settings.keys_path, "", []
    try:
        scopes = [record.scopes for record in auth.list_keys(path)] if path.exists() else []
    except TallystickError as error:
        problem = str(error)
    yield folder.keys(path, path.stat().st_mode if path.exists() else None, scopes, problem)


def _archive(settings: Settings) -> Finding:
    if settings.archive is None:
        return folder.archive(None, 0, 0, "", same_disk=False)
    where, problem, entries = archives.folder(settings), "", 0
    signed = signed_size(settings, SystemDisk())  # before the archive, which is ahead of it while both grow
    try:
        archive = archives.reader(settings, SystemDisk())
        entries = archive.end().next_seq if archive is not None else 0
    except TallystickError as error:
        problem = str(error)
    same_disk = False
    if where is not None and settings.data.exists():
        there = next(path for path in (where.absolute(), *where.absolute().parents) if path.exists())
        same_disk = there.stat().st_dev == settings.data.stat().st_dev
    return folder.archive(settings.archive, entries, signed, problem, same_disk)


def _services(settings: Settings) -> Iterator[Finding]:
    if settings.services == services.FILES:
        return
    found: list[str] = []
    problem = where = ""
    try:
        where = services.place(settings)
        found = services.kept_there(settings)
    except TallystickError as error:
        problem = str(error)
    yield folder.services(where, found, problem)


def _register(settings: Settings, name: str) -> int:
    register = SystemDisk().register(settings.path("engine", name))
    if register is None:
        return 0
    with closing(register):
        return register.load()


def _running(settings: Settings) -> Iterator[Finding]:
    run, now_ns = settings.path("run"), SystemClock().wall_ns()
    known = status.read(run)
    rows = known.processes if known else []
    alive = {row.name: row.pid is not None and start_ticks(row.pid) == row.start_ticks for row in rows}
    states = {row.name: (row.state, alive[row.name], row.starts, row.last_exit) for row in rows}
    yield from folder.processes(states, any(alive.values()))
    for number in range(settings.gateways):
        name = "gateway" if number == 0 else f"gateway-{number + 1}"
        port = settings.http_port + number
        yield folder.port(port, alive.get(name, False), _is_free(settings.http_host, port), _ready(settings, port))
    block = _last_block(settings)
    end = block.header.next if block is not None else 0
    for said in progress.read(run).values():
        yield folder.follower(said, progress.lag(said, end, now_ns), alive.get(said.name, False), now_ns)


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def _ready(settings: Settings, port: int) -> str | None:
    """ "" if a gateway there is ready, why not if it says so, None if none answers."""
    try:
        answer = urllib3.request("GET", f"http://{settings.http_host}:{port}/ready", timeout=READY_S, retries=False)
        if answer.status == 200:
            return ""
        return str(answer.json().get("detail", f"HTTP {answer.status}"))
    except (urllib3.exceptions.HTTPError, ValueError, AttributeError):
        return None
