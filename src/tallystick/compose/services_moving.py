"""What services keep in SQLite files, and no journal makes again, moved into the database of `TALLY_SERVICES`.

A file at a time, each in one transaction: refused while anybody has it open, copied, read back and held against the
file, committed, and only then renamed, so that it is neither used nor left behind. What is cut off is done again: rows
that stand in the database already must be the file's very rows.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.acts.port import LOGS
from tallystick.acts.sqlite import SUFFIX
from tallystick.auditor.serving import PUBLISHED
from tallystick.blockfile import slots
from tallystick.blockfile.disk import SystemDisk
from tallystick.compose import acting, auditor, services, shards, signer, texts, up
from tallystick.errors import Corrupt, Fenced, Invalid, InvalidProof, Unavailable
from tallystick.notifier import schema as notifier
from tallystick.settings import Settings
from tallystick.sqlitefiles import translated
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.merkle import EMPTY_ROOT, leaf_hash, node_hash
from tallystick.tlog.notes import parse_note

if TYPE_CHECKING:  # psycopg is an extra
    from tallystick.postgresql.connecting import Connection
    from tallystick.postgresql.filling import Sum, Table

ANSWER_S_MAX = 600.0
"""A commit of millions of rows, and a standby that must have them, take their time."""
WAIT_S = 1.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one file."""

    shard: int
    service: str
    file: Path
    rows: int
    again: bool
    """All of it had been moved before, and only the file's new name was missing."""
    root: str = ""
    """Of the transparency log that a log of acts is: before and after, it is the same."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One file, and where its rows go."""

    service: str
    path: Path
    schema: str
    ready: Callable[["Connection"], AbstractContextManager[object]]
    """Makes the tables, if they are not there, and keeps others out of them."""
    look: Callable[[Path], None] = lambda path: None
    """Raises `Corrupt` for a file that is none of the service's."""
    where: str = ""
    given: Sequence[tuple[str, str]] = ()
    """As `filling.Table` has them."""
    after: str = ""
    """A statement that follows the rows; `{rows}` is how many there are of the first table."""
    is_a_log: bool = False
    signed: Sequence[Checkpoint] = ()
    """Of a log: what was signed of it, by the signer's own record and as it is published."""


def move(settings: Settings, to: str, shard: int | None, progress: Progress) -> list[Moved]:
    """Move what the files of one shard hold, or of all of them, to the database `to`; returns what was moved.

    Raises `Unavailable` while something runs that may use it, or if the database does not take it: then that file is as
    it was. `OutcomeUnknown`: do it again. `Invalid` if the database holds other rows, `Corrupt` for a damaged file.
    """
    services.needs_driver()
    all_shards = shards.all_of(settings)
    if shard is not None and shard >= len(all_shards):
        raise Invalid("--shard", f"there are {len(all_shards)} here, counted from 0")
    found = []
    settings.path("run").mkdir(parents=True, exist_ok=True)
    with up.alone(settings):
        for each in all_shards if shard is None else [all_shards[shard]]:
            with _no_notifier(each):
                found += _shard(each.model_copy(update={"services": to}), progress)
    return found


@contextmanager
def _no_notifier(settings: Settings) -> Iterator[None]:
    """One that was started by itself, and not by `tally up`."""
    if not settings.path(*notifier.FILE).exists():
        yield
        return
    try:
        lock = SystemDisk().lock(settings.path(*notifier.LOCK))
    except Fenced as error:
        raise Unavailable(f"a notifier runs in {settings.data}: stop it first") from error
    try:
        yield
    finally:
        lock.release()


def _shard(settings: Settings, progress: Progress) -> list[Moved]:
    from tallystick.postgresql.connecting import opened, shown
    from tallystick.postgresql.sessions import make_durable

    place = shown(settings.services, services.SETTING)
    warnings: list[str] = []

    def prepare(connection: "Connection") -> None:
        nonlocal warnings
        warnings = make_durable(connection, place)

    found = []
    with ExitStack() as stack:
        for part in _parts(settings, place):
            if part.path.exists():
                name = f"tallystick moving {settings.shard}"
                connection = stack.enter_context(closing(opened(settings.services, place, name, ANSWER_S_MAX, prepare)))
                found.append(_move(part, settings.shard, connection, place, warnings, progress))
    return found


def _move(
    part: _Part, shard: int, connection: "Connection", place: str, warnings: list[str], progress: Progress
) -> Moved:
    from tallystick.postgresql import filling
    from tallystick.postgresql.sessions import whole

    part.look(part.path)
    with _alone_with(part.path) as source, _telling(place), part.ready(connection):
        tables = filling.tables(source, part.where, part.given)
        total = 3 * sum(filling.count(source, table) for table in tables)
        done = 0

        def step(rows: int) -> None:
            nonlocal done
            done += rows
            progress(done, total)

        progress(0, total)
        if part.is_a_log:
            _root(part, filling.in_file(source, tables[0]))
        wanted = [filling.summed(filling.in_file(source, table), step) for table in tables]
        with whole(connection, place, warnings, "BEGIN ISOLATION LEVEL READ COMMITTED"):
            names = ", ".join(f"{part.schema}.{table.name}" for table in tables)
            connection.execute(f"lock table {names} in exclusive mode".encode())
            there = _in_database(connection, part.schema, tables, lambda rows: None)
            again = any(each.rows for each in there)
            if again and there != wanted:
                raise Invalid(
                    services.SETTING,
                    f"{place} has other rows in {part.schema} than {part.path}: nothing was changed. Name the right "
                    "database; if nobody needs what is there, drop that schema",
                )
            if again:
                # The commit that brought them may not have been waited for: one that writes waits for them, too.
                connection.execute(f"update {part.schema}.about set version = version".encode())
            else:
                for table in tables:
                    filling.fill(connection, part.schema, source, table, step)
                if part.after:
                    connection.execute(part.after.format(rows=wanted[0].rows).encode())
                if _in_database(connection, part.schema, tables, step) != wanted:
                    raise Unavailable(f"{place}: what was read back is not what {part.path} holds; nothing was moved")
            root = _root(part, filling.in_database(connection, part.schema, tables[0])) if part.is_a_log else ""
        part.path.rename(services.moved(part.path))
        SystemDisk().sync_folder(part.path.parent)
        progress(total, total)
    return Moved(shard, part.service, part.path, sum(each.rows for each in wanted), again, root)


def _in_database(
    connection: "Connection", schema: str, tables: "Sequence[Table]", step: Callable[[int], None]
) -> "list[Sum]":
    from tallystick.postgresql import filling

    return [filling.summed(filling.in_database(connection, schema, table), step) for table in tables]


def _root(part: _Part, rows: Iterator[Sequence[object]]) -> str:
    """The root of the log's tree over these rows. Raises `Corrupt` if they are not those that were signed."""
    sizes = [each.size for each in part.signed]
    count, roots = _tree(_dense(rows, part.path), sizes)
    for each in part.signed:
        if each.size > count:
            raise Corrupt(
                f"{part.path}: {each.size} acts were signed, and only {count} are there; nothing was moved. Take the "
                "file from a backup; where there is an archive, `tally up` brings back what it lacks"
            )
        if roots[each.size] != each.root:
            raise Corrupt(
                f"{part.path}: the first {each.size} acts are not those that were signed; nothing was moved. Take the "
                "file from a backup, and find out who changed this one"
            )
    return roots[count].hex()


def _dense(rows: Iterator[Sequence[object]], path: Path) -> Iterator[bytes]:
    for expected, (number, entry) in enumerate(rows):
        if number != expected or not isinstance(entry, bytes):
            raise Corrupt(f"{path}: act {expected} is not there; take the file from a backup")
        yield entry


def _tree(entries: Iterator[bytes], sizes: Sequence[int]) -> tuple[int, dict[int, bytes]]:
    """How many there are, and the roots over so many and over the first `sizes` of them (RFC 6962 §2.1): one hash is
    kept for each perfect subtree."""
    peaks: list[tuple[int, bytes]] = []
    roots = {0: EMPTY_ROOT}
    count = 0
    for count, entry in enumerate(entries, 1):
        peaks.append((1, leaf_hash(entry)))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (size, right), (_, left) = peaks.pop(), peaks.pop()
            peaks.append((2 * size, node_hash(left, right)))
        if count in sizes:
            roots[count] = _over(peaks)
    if count:
        roots[count] = _over(peaks)
    return count, roots


def _over(peaks: Sequence[tuple[int, bytes]]) -> bytes:
    root = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def _signed(settings: Settings, log: str) -> list[Checkpoint]:
    """What was signed of a log of acts. Raises `Corrupt`; `Unavailable` where that cannot be read."""
    disk, found = SystemDisk(), []
    for path in (signer.folder_of(settings, log) / signer.SIGNED, settings.path(auditor.FOLDER, log, PUBLISHED)):
        try:
            data = slots.read(path, disk)
            if data is not None:
                body = parse_note(data).text if path.name == PUBLISHED else data.decode()
                found.append(parse_checkpoint(body))
        except (InvalidProof, UnicodeDecodeError) as error:
            raise Corrupt(f"{path} is no checkpoint: {error}") from error
        except OSError as error:
            raise Unavailable(
                f"{path}, which says what was signed, cannot be read: {error}; nothing was moved"
            ) from error
    return found


@contextmanager
def _alone_with(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, which nobody else has open; none can open it meanwhile. Raises `Unavailable`, `Corrupt`."""
    with translated(path, "take it from a backup"):
        source = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
        try:
            try:
                # Out of its write-ahead log, which SQLite grants to none but the only one that has it open.
                source.execute("PRAGMA journal_mode = DELETE").fetchone()
                source.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise Unavailable(f"{path} is in use ({error}): stop whatever runs in this data folder") from error
            yield source
        finally:
            source.close()


@contextmanager
def _telling(place: str) -> Iterator[None]:
    import psycopg

    from tallystick.postgresql.connecting import line

    try:
        yield
    except psycopg.Error as error:
        raise Unavailable(f"{place}: {line(error)}; nothing of this file was moved") from error


@contextmanager
def _made(
    make: "Callable[[Connection, int, str], None]", shard: int, place: str, connection: "Connection"
) -> Iterator[None]:
    make(connection, shard, place)
    yield


def _parts(settings: Settings, place: str) -> Iterator[_Part]:
    from tallystick.acts import postgresql as acts
    from tallystick.metadata import postgresql as metadata
    from tallystick.notifier.postgresql.tables import SERVICE, PostgresTables
    from tallystick.postgresql import making

    yield _Part(
        service="webhooks",
        path=settings.path(*notifier.FILE),
        schema=making.schema_of(SERVICE, settings.shard),
        # as long as it is open no notifier is at work in the same tables
        ready=lambda connection: closing(PostgresTables(settings.services, settings.shard)),
        look=lambda path: notifier.connect(path).close(),
    )
    schema = making.schema_of(acts.SERVICE, settings.shard)
    for log in LOGS:
        yield _Part(
            service=f"acts ({log})",
            path=settings.path(acting.FOLDER, log + SUFFIX),
            schema=schema,
            ready=partial(_made, acts.make_tables, settings.shard, place),
            where=f"log = '{log}'",
            given=[("log", log)],
            after=f"insert into {schema}.ends (log, next, durable) values ('{log}', {{rows}}, {{rows}}) "
            "on conflict (log) do update set next = excluded.next, durable = excluded.durable",
            is_a_log=True,
            signed=_signed(settings, log),
        )
    yield _Part(
        service="texts",
        path=settings.path(*texts.PLACE),
        schema=making.schema_of(metadata.SERVICE, settings.shard),
        ready=partial(_made, metadata.make_tables, settings.shard, place),
    )
