"""What all services ask before they keep their tables in the database of `TALLY_SERVICES`."""

from pathlib import Path

from tallystick.errors import Invalid

SETTING = "TALLY_SERVICES"


def needs_driver() -> None:
    """Raises `Invalid` if the driver is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise Invalid(SETTING, 'PostgreSQL needs psycopg: pip install "tallystick[postgresql]"') from error


def refuse_left_behind(path: Path) -> None:
    """Raises `Invalid` if there is a file at `path`: what is not derived would seem to be gone, and be begun anew."""
    if path.exists():
        raise Invalid(
            SETTING,
            f"is a database, and {path} holds what was kept before: say TALLY_SERVICES=files again, or move it there "
            "(docs/postgresql.md)",
        )
