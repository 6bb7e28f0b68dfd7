import pytest

from tallystick.errors import Invalid
from tallystick.lab import bench_size
from tallystick.lab.bench_size import Reading


def readings(residents):
    return [Reading(50_000 * (at + 1), 1.0, 1.0, resident) for at, resident in enumerate(residents)]


def test_the_slope_is_that_of_the_second_half():
    warming = [10_000_000 * at for at in range(10)]
    steady = [200_000_000 + 500_000 * at for at in range(10)]
    assert bench_size.slope_bytes(readings(warming + steady)) == pytest.approx(500_000 / 50_000)


def test_memory_that_stays_has_no_slope():
    assert bench_size.slope_bytes(readings([1 << 30] * 8)) == 0


def test_an_unknown_case_or_a_part_of_a_window_is_refused_before_anything_is_filled(tmp_path):
    with pytest.raises(Invalid, match="no such case"):
        bench_size.run(100_000, ["late"], tmp_path, lambda message: None)
    with pytest.raises(Invalid, match="multiple"):
        bench_size.run(120_000, [], tmp_path, lambda message: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.service
def test_a_small_one_measures_every_case_and_finds_no_difference(tmp_path):
    results = {result.case: result for result in bench_size.run(100_000, [], tmp_path, lambda message: None)}
    assert set(results) == set(bench_size.CASES)
    assert results["start"].extra["start_s"] > 0
    assert results["rebuild"].extra["entries"] == results["start"].extra["entries"]
    assert results["verify"].extra["difference"] is None
