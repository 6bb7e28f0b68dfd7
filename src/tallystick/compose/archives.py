"""Where the archive is: a folder, or `s3://BUCKET/PREFIX` in a store that speaks S3; of blocks, and of acts."""

from pathlib import Path
from urllib.parse import urlsplit

from tallystick.archive.actfiles import FileActArchive, FileActArchiveReader
from tallystick.archive.files import FileArchive, FileArchiveReader
from tallystick.archive.objects import ObjectActArchive, ObjectArchive
from tallystick.archive.port import ActArchive, ActArchiveReader, Archive, ArchiveReader
from tallystick.auditor.places import Place
from tallystick.blockfile.disk import Disk
from tallystick.compose.exporting import SCHEME, place
from tallystick.errors import Invalid, Unavailable
from tallystick.settings import Settings

ACTS = "acts"


def folder(settings: Settings, *more: str) -> Path | None:
    """That of this shard, or a folder below it; None if there is no archive, or it is in a store."""
    if settings.archive is None or _in_a_store(settings):
        return None
    return Path(settings.archive).joinpath(str(settings.shard), *more)


def reader(settings: Settings, disk: Disk, newest: bool = False) -> ArchiveReader | None:
    """Reads the archive of this shard's blocks; None if there is none. `newest`: as `FileArchiveReader`'s.

    Raises `Invalid` naming the setting that a store wants and has not got.
    """
    if settings.archive is None:
        return None
    where = folder(settings)
    return FileArchiveReader(where, disk, newest) if where is not None else _blocks(settings)


def writer(settings: Settings, disk: Disk) -> Archive | None:
    """Its one writer. Raises as `reader`, and as the adapter."""
    if settings.archive is None:
        return None
    where = folder(settings)
    return FileArchive(where, disk) if where is not None else _blocks(settings)


def act_reader(settings: Settings, log: str, disk: Disk, newest: bool = False) -> ActArchiveReader | None:
    """As `reader`, for a log of acts."""
    if settings.archive is None:
        return None
    where = folder(settings, ACTS, log)
    return FileActArchiveReader(where, disk, newest) if where is not None else _acts(settings, log)


def act_writer(settings: Settings, log: str, disk: Disk) -> ActArchive | None:
    """As `writer`, for a log of acts."""
    if settings.archive is None:
        return None
    where = folder(settings, ACTS, log)
    return FileActArchive(where, disk) if where is not None else _acts(settings, log)


def _in_a_store(settings: Settings) -> bool:
    return urlsplit(settings.archive or "").scheme == SCHEME


def _blocks(settings: Settings) -> ObjectArchive:
    return ObjectArchive(_store(settings), str(settings.shard))


def _acts(settings: Settings, log: str) -> ObjectActArchive:
    return ObjectActArchive(_store(settings), f"{settings.shard}/{ACTS}/{log}")


def _store(settings: Settings) -> Place:
    if not urlsplit(settings.archive or "").netloc:
        raise Invalid("TALLY_ARCHIVE", f"{settings.archive!r} names no bucket; write s3://BUCKET/PREFIX")
    for name, value in (
        ("TALLY_ARCHIVE_ENDPOINT", settings.archive_endpoint),
        ("TALLY_ARCHIVE_ACCESS_KEY", settings.archive_access_key),
        ("TALLY_ARCHIVE_SECRET_FILE", settings.archive_secret_file),
    ):
        if not value:
            raise Invalid(name, "an archive in a bucket wants one")
    assert settings.archive is not None
    assert settings.archive_secret_file is not None
    try:
        secret = settings.archive_secret_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Unavailable(f"{settings.archive_secret_file} cannot be read: {error.strerror}") from error
    return place(
        settings.archive, settings.archive_endpoint, settings.archive_access_key, secret, settings.archive_region
    )
