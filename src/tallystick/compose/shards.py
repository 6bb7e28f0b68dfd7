"""The shards of one platform on one machine: each has a data folder of its own, shard 0 the platform's (ADR 0016)."""

from pathlib import Path

from tallystick import directory
from tallystick.errors import Invalid
from tallystick.settings import Settings


def of(settings: Settings, number: int) -> Settings:
    """The platform's settings as those of one of its shards: its folder is `shards/NUMBER` below the platform's.

    API keys and persons' keys are the platform's, whatever the shard.
    """
    if number == 0:
        return settings
    return settings.model_copy(
        update={
            "data": settings.path(directory.FOLDER, str(number)),
            "shard": number,
            "keys_file": settings.keys_path,
            "person_keys": settings.person_keys_path,
        }
    )


def resolved(settings: Settings) -> Settings:
    """Settings of the one shard that `data` and `shard` name together, whichever folder was meant.

    `data` may be the platform's folder, or that of the shard itself, as `tally up` passes it to processes. A folder
    that holds a single shard with another number than 0, as there may be without `shards`, stays what it is.
    """
    if settings.shard == 0:
        return settings
    if settings.data.name == str(settings.shard) and settings.data.parent.name == directory.FOLDER:
        platform = settings.model_copy(update={"data": settings.data.parent.parent, "shard": 0})
        return of(platform, settings.shard)
    if settings.shards > 1 or settings.path(directory.FOLDER, str(settings.shard)).is_dir():
        return of(settings.model_copy(update={"shard": 0}), settings.shard)
    return settings


def there(data: Path) -> list[int]:
    """The numbers of the shards that a platform's folder holds, 0 first."""
    folder = data / directory.FOLDER
    names = [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return [0, *sorted(int(name) for name in names if name.isdecimal())]


def all_of(settings: Settings) -> list[Settings]:
    """Those of each shard that the platform's folder holds."""
    return [of(settings, number) for number in there(settings.data)]


def make_folders(settings: Settings) -> None:
    """A folder for each shard. Raises `Invalid` if there are more than the settings say: some tenant would be lost."""
    known = there(settings.data)
    if settings.shards > 1 and settings.shard:
        raise Invalid("TALLY_SHARD", "must be 0 where TALLY_SHARDS says how many there are")
    if max(known) >= settings.shards and not settings.shard:
        raise Invalid("TALLY_SHARDS", f"{settings.data} holds {max(known) + 1} shards; say so, or name another folder")
    for number in range(1, settings.shards):
        settings.path(directory.FOLDER, str(number)).mkdir(parents=True, exist_ok=True)
