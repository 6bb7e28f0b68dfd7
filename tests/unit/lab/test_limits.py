import pytest

from tallystick.lab.limits import connections_possible


@pytest.mark.parametrize(
    ("wanted", "open_files", "possible"),
    [
        (10_000, 20_000, 10_000),
        (10_000, 12_000, 10_000),
        (10_000, 11_999, 9_800),
        (10_000, 4_096, 3_696),
        (10_000, 1_024, 624),
        (200, 1_024, 200),
        (1_000, 1_024, 624),
        (30_000, 1_048_576, 30_000),
    ],
)
def test_fewer_connections_are_tried_where_files_are_short(wanted: int, open_files: int, possible: int) -> None:
    assert connections_possible(wanted, open_files) == possible
