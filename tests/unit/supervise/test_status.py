from pathlib import Path

from tallystick.supervise import status


def sample() -> status.SupervisorStatus:
    row = status.ProcessStatus(
        name="engine", state="running", pid=7, start_ticks=99, started_at_ns=1, starts=2, last_exit=-9
    )
    return status.SupervisorStatus(pid=6, processes=[row])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    status.write(tmp_path, sample())
    assert status.read(tmp_path) == sample()
    assert [path.name for path in tmp_path.iterdir()] == ["supervisor.json"]


def test_no_file_and_a_damaged_file_both_mean_nothing_known(tmp_path: Path) -> None:
    assert status.read(tmp_path) is None
    (tmp_path / status.FILE_NAME).write_text('{"pid": "six"')
    assert status.read(tmp_path) is None


def test_removing_twice_is_harmless(tmp_path: Path) -> None:
    status.write(tmp_path, sample())
    status.remove(tmp_path)
    status.remove(tmp_path)
    assert status.read(tmp_path) is None
