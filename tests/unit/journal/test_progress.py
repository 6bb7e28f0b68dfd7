"""A follower's progress file is whole or not there, and its lag is told even when it has stopped."""

from tallystick.journal import progress
from tallystick.journal.progress import Lag, ProgressFile

SECOND = 10**9


def written(folder, **changes):
    given = {"name": "projector", "pid": 7, "next_seq": 100, "since_ns": 50 * SECOND, "written_at_ns": 51 * SECOND}
    progress.write(folder, ProgressFile(**{**given, **changes}))
    return progress.read(folder)


def test_what_is_written_is_read_again_and_no_scratch_file_stays(tmp_path):
    assert progress.read(tmp_path) == {}
    written(tmp_path)
    found = written(tmp_path, name="notifier", trouble="the disk is full")
    assert sorted(found) == ["notifier", "projector"]
    assert found["notifier"].trouble == "the disk is full"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notifier.progress", "projector.progress"]


def test_a_file_that_makes_no_sense_is_left_out(tmp_path):
    (tmp_path / "relay.progress").write_text("{")
    assert list(written(tmp_path)) == ["projector"]


def test_lag_is_what_is_missing_and_how_old_that_can_be(tmp_path):
    [found] = written(tmp_path).values()
    assert progress.lag(found, 100, 90 * SECOND) == Lag(0, 0.0)
    assert progress.lag(found, 99, 90 * SECOND) == Lag(0, 0.0)  # written after the end was looked at
    assert progress.lag(found, 130, 90 * SECOND) == Lag(30, 40.0)


def test_one_that_does_not_know_yet_lags_since_it_wrote(tmp_path):
    [found] = written(tmp_path, since_ns=0).values()
    assert progress.lag(found, 130, 90 * SECOND) == Lag(30, 39.0)
