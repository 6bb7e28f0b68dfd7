"""`tally migrate`: the tables of a journal in PostgreSQL, made or brought to this program's version."""

from tallystick.journal.postgresql import schema
from tallystick.postgresql.connecting import shown


def migrate(url: str, engine_role: str | None, follower_role: str | None) -> tuple[str, int, int]:
    """Returns where, for people, and the versions before and after. Raises `Invalid`, `Unavailable`."""
    place = shown(url, "TALLY_JOURNAL")
    return (place, *schema.migrate(url, engine_role, follower_role))
