"""The notifier's file as a backup takes it: whole as of one commit, and small.

Subscriptions, their keys, the cursor and what waits are in it. What was delivered or given up is not: the journal has
what it told of, and a range of it can be replayed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from tallystick.notifier.schema import mark, set_up_tables, telling

_WAITING = "deliveries WHERE state = 0"
_COPIED = {
    "subscriptions": "subscriptions",
    "keys": "keys",
    "deliveries": _WAITING,
    "attempts": f"attempts WHERE delivery IN (SELECT number FROM {_WAITING})",
    "replays": "replays",
    "requests": "requests",
    "cursor": "cursor",
}


def copied(path: Path) -> bytes | None:
    """The bytes of a file like the one at `path`, which may be in use; None if there is none, or nothing in it yet.

    Raises `Unavailable` if it cannot be read now, `Corrupt` if it is damaged.
    """
    if not path.exists():
        return None
    with (
        telling(path),
        closing(sqlite3.connect(path, isolation_level=None)) as source,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as target,
    ):
        set_up_tables(target)
        source.execute("BEGIN")  # what is read is of one moment, whatever is written meanwhile
        if source.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return None  # the notifier is just making it
        for table, rows in _COPIED.items():
            found = source.execute(f"SELECT * FROM {rows}")
            places = ", ".join("?" * len(found.description))
            target.executemany(f"INSERT INTO {table} VALUES ({places})", found)
        source.execute("ROLLBACK")
        mark(target)
        return target.serialize()
