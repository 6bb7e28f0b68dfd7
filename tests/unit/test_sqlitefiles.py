"""SQLite's errors, of real files, in our words."""

import fcntl
import os
import sqlite3
from contextlib import closing

import pytest

from tallystick.errors import Corrupt, Unavailable
from tallystick.sqlitefiles import translated, write_ahead


def test_a_file_that_another_writes_to_is_unavailable_now(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as one:
        one.execute("CREATE TABLE t (x)")
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked") as found, translated(path, "no remedy"):
            sqlite3.connect(path, timeout=0).execute("INSERT INTO t VALUES (1)")
    assert str(path) in str(found.value)


def test_wrong_bytes_are_corrupt_and_what_to_do_is_said(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"no database" * 1_000)
    with (
        pytest.raises(Corrupt, match="not a database; take it from a backup"),
        translated(path, "take it from a backup"),
    ):
        sqlite3.connect(path).execute("SELECT * FROM t")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(Unavailable), translated(tmp_path / "a" / "b.db", ""):
        (tmp_path / "a" / "b").mkdir()


def test_one_process_at_a_time_turns_a_file_to_a_write_ahead_log(tmp_path):
    def others_wait():
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(folder)
        return False

    waited = []
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.set_trace_callback(lambda _: waited.append(others_wait()))
        write_ahead(connection, tmp_path / "a.db")
        assert (waited, others_wait()) == ([True], False)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
