"""SQLite's errors, of real files, in our words."""

import sqlite3

import pytest

from tallystick.errors import Corrupt, Unavailable
from tallystick.sqlitefiles import translated


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
