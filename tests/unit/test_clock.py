from pathlib import Path

import pytest

from tallystick.clock import SystemClock, write_offset
from tallystick.errors import Invalid

HOUR_NS = 3_600_000_000_000


def test_the_wall_clock_follows_the_offset_file_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    write_offset(file, 0)
    true, put_off = SystemClock(), SystemClock(file)
    for hours in (0, 5, -5, 0):
        write_offset(file, hours * HOUR_NS)
        before = true.wall_ns()
        away = put_off.wall_ns() - before - hours * HOUR_NS
        assert 0 <= away < HOUR_NS


def test_the_monotonic_clock_does_not_jump(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    write_offset(file, 0)
    clock = SystemClock(file)
    before = clock.monotonic_ns()
    write_offset(file, HOUR_NS)
    assert 0 <= clock.monotonic_ns() - before < HOUR_NS


def test_without_a_file_it_is_the_machine_s_clock() -> None:
    before = SystemClock().wall_ns()
    assert SystemClock(None).wall_ns() >= before - HOUR_NS


@pytest.mark.parametrize("content", [None, b"", b"1234567"])
def test_an_offset_file_that_is_none_is_refused_by_the_name_of_its_setting(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "offset"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Invalid, match="TALLY_CLOCK_OFFSET_FILE"):
        SystemClock(file)
