"""The notifier's file: tables, indexes, and how SQLite is set up and its errors told.

Unlike a projection it is **not derived**: subscriptions, their keys and what was delivered stand here alone, so a
backup must hold it (`copying`). Numbers of a tenant are SQLite's signed integers with the same 64 bits.
"""

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from tallystick.errors import Corrupt
from tallystick.sqlitefiles import translated, whole, write_ahead

FOLDER = "notifier"
FILE, LOCK = (FOLDER, "notifier.db"), (FOLDER, "lock")
"""Places in the data folder."""
VERSION = 1
_APPLICATION_ID = 0x7A11_57E8
_LOG_BYTES_KEPT = 16_777_216
FILE_MODE = 0o600
"""Keys that sign stand in it."""

_TABLES = (
    """
CREATE TABLE subscriptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    tenant INTEGER NOT NULL,
    url TEXT NOT NULL,
    types TEXT NOT NULL,                -- patterns, as JSON
    description TEXT NOT NULL,
    signature TEXT NOT NULL,            -- v1, v1a
    enabled INTEGER NOT NULL,
    reason TEXT NOT NULL,               -- why it is not
    created_at INTEGER NOT NULL,        -- ns, as all times here
    changed_at INTEGER NOT NULL,
    version INTEGER NOT NULL,           -- of what its tenant can change; for If-Match
    since_seq INTEGER NOT NULL,         -- told of no entry before it
    behind_seq INTEGER,                 -- NULL: told as far as the cursor; else the first that it was not told of
    failing_since INTEGER               -- NULL: the last attempt succeeded, or there was none
)""",
    """
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    key TEXT NOT NULL,                  -- whsec_ or whsk_
    expires_at INTEGER                  -- NULL: the newest
)""",
    """
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    seq INTEGER,                        -- of the entry; NULL: a test
    webhook_id TEXT NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    state INTEGER NOT NULL,             -- notifier.deliveries.State
    tries INTEGER NOT NULL,             -- of the schedule at hand
    attempts INTEGER NOT NULL,          -- in all
    made_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    done_at INTEGER,
    reason TEXT NOT NULL
)""",
    """
CREATE TABLE attempts (
    delivery INTEGER NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID""",
    """
CREATE TABLE replays (                  -- ranges of the journal that a subscription is told of again
    number INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    next_seq INTEGER NOT NULL,
    until_seq INTEGER NOT NULL
)""",
    """
CREATE TABLE requests (                 -- what a tenant's POST was answered, for when it comes again
    tenant INTEGER NOT NULL,
    request_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    body BLOB NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, request_id)
) WITHOUT ROWID""",
    """
CREATE TABLE cursor (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next_seq INTEGER NOT NULL,          -- the first entry that nobody was told of
    block_hash BLOB                     -- of the block before it
)""",
    "CREATE INDEX subscriptions_by_tenant ON subscriptions (tenant)",
    "CREATE INDEX keys_by_subscription ON keys (subscription)",
    "CREATE UNIQUE INDEX deliveries_by_entry ON deliveries (subscription, seq) WHERE seq NOT NULL",
    "CREATE UNIQUE INDEX deliveries_by_webhook ON deliveries (subscription, webhook_id)",
    "CREATE INDEX deliveries_due ON deliveries (subscription, due_at, number) WHERE state = 0",
    "CREATE INDEX deliveries_by_state ON deliveries (subscription, state, number)",
    "CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at NOT NULL",
    "CREATE INDEX replays_by_subscription ON replays (subscription)",
    "CREATE INDEX requests_by_time ON requests (made_at)",
)


def connect(path: Path) -> sqlite3.Connection:
    """The file at `path`, made if it is not there, for its owner alone; its folder must exist.

    Raises `Corrupt` if it is none of ours or of another version, `Unavailable` if it cannot be opened.
    """
    with telling(path):
        path.touch(FILE_MODE)
        path.chmod(FILE_MODE)  # one that was restored may be readable to more
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    write_ahead(connection, path)
    for pragma in (
        "synchronous = NORMAL",
        "foreign_keys = ON",
        f"journal_size_limit = {_LOG_BYTES_KEPT}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    [application], [version] = (connection.execute(f"PRAGMA {name}").fetchone() for name in _MARKS)
    if (application, version) == (_APPLICATION_ID, VERSION):
        return
    if application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise Corrupt(f"{path}: holds no webhooks of version {VERSION}; take the right file from a backup")
    with whole(connection):
        set_up_tables(connection)
        mark(connection)


def set_up_tables(connection: sqlite3.Connection) -> None:
    """All tables and indexes, empty."""
    for statement in _TABLES:
        connection.execute(statement)


def mark(connection: sqlite3.Connection) -> None:
    """Say that it is a file of ours, of this version."""
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


_MARKS = ("application_id", "user_version")


def telling(path: Path) -> AbstractContextManager[None]:
    """Turns SQLite's errors into ours (`sqlitefiles.translated`)."""
    return translated(path, "take it from a backup")
