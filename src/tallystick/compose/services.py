"""What all services ask before they keep their tables in the database of `TALLY_SERVICES`."""

from contextlib import closing
from pathlib import Path

from tallystick.errors import Invalid
from tallystick.settings import Settings

SETTING = "TALLY_SERVICES"
FILES = "files"
NOT_DERIVED = ("notifier", "acts", "texts")
"""Services whose tables no journal makes again."""


ANSWER_S_MAX = 10.0


def needs_driver() -> None:
    """Raises `Invalid` if the driver is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise Invalid(SETTING, 'PostgreSQL needs psycopg: pip install "tallystick[postgresql]"') from error


def place(settings: Settings) -> str:
    """The database, for people; empty if there is none. Raises `Invalid`."""
    if settings.services == FILES:
        return ""
    needs_driver()
    from tallystick.postgresql.connecting import shown

    return shown(settings.services, SETTING)


def kept_there(settings: Settings) -> list[str]:
    """The services whose tables stand in the database already. Raises `Unavailable`, `Invalid`."""
    where = place(settings)
    from tallystick.postgresql import making
    from tallystick.postgresql.connecting import opened

    with closing(opened(settings.services, where, "tallystick", ANSWER_S_MAX, lambda connection: None)) as connection:
        names = ("projector", *NOT_DERIVED)
        return [name for name in names if making.is_there(connection, making.schema_of(name, settings.shard))]


def refuse_left_behind(path: Path) -> None:
    """Raises `Invalid` if there is a file at `path`: what is not derived would seem to be gone, and be begun anew."""
    if path.exists():
        raise Invalid(
            SETTING,
            f"is a database, and {path} holds what was kept before: move it there by `tally services move`, or say "
            "TALLY_SERVICES=files again",
        )


def moved(path: Path) -> Path:
    """What a file is called once all of it stands in a database."""
    return path.with_name(f"{path.name}.moved")


def refuse_moved(path: Path) -> None:
    """Raises `Invalid` if what was in the file at `path` stands in a database now: begun anew here, it would be two."""
    if moved(path).exists():
        raise Invalid(
            SETTING,
            f"is files, and what {path} held was moved to a database: name that one. To do without what came to it "
            f"there, give {moved(path)} its name back",
        )
