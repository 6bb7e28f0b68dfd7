"""What SQLite's errors mean here, for every service that keeps a file of its own: said once, in our own words."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.errors import Corrupt, Unavailable


@contextmanager
def translated(path: Path | str, remedy: str) -> Iterator[None]:
    """Raises `Unavailable` for a file that is busy, gone or on a full disk, and `Corrupt` for bytes that are wrong.

    `remedy` says what to do about wrong bytes. SQLite rolls back what it was at, or its caller does.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"{path}: {error}; {remedy}") from error
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from error


@contextmanager
def whole(connection: sqlite3.Connection) -> Iterator[None]:
    """One that writes, on a connection that begins none by itself: committed at the end, or nothing of it is there."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors end it by themselves
            connection.execute("ROLLBACK")
        raise


def write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Set the file to a write-ahead log, while no other process does so: a lock on its folder keeps them in turn.

    When two turn a new file to that log together, SQLite calls it busy at once, however long it shall wait otherwise.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        os.close(folder)
