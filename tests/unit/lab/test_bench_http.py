import pytest

from tallystick.errors import Invalid, Unavailable
from tallystick.lab import bench_http, wrk


def test_cases_are_chosen_by_name_in_the_order_asked() -> None:
    assert [case.name for case in bench_http.choose(["json batch", "64 connections"])] == [
        "json batch",
        "64 connections",
    ]
    assert bench_http.choose([]) == list(bench_http.CASES)
    with pytest.raises(Invalid, match="binary batch"):
        bench_http.choose(["bianry batch"])


def test_the_cases_that_the_issue_asks_for_are_there() -> None:
    names = {case.name for case in bench_http.CASES}
    wanted = {"64 connections", "1,000 connections", "10,000 connections", "json batch", "binary batch"}
    assert wanted | {"5,000 arrivals/s", "no-op route"} <= names


def test_memory_that_grows_is_told_per_100_000_payments_and_the_first_run_is_warm_up() -> None:
    memory = [(50_000, 1, 999_999_999)] + [(50_000 * n, 7 * 50_000 * n, 10**8) for n in range(2, 6)]
    slopes = bench_http.rss_slopes(memory)
    assert slopes["gateway_rss_slope_bytes_per_100k"] == pytest.approx(700_000, rel=1e-6)
    assert slopes["engine_rss_slope_bytes_per_100k"] == pytest.approx(0, abs=1)
    assert set(bench_http.rss_slopes(memory[:2]).values()) == {None}


def test_errors_of_wrk_are_added_up_and_no_acknowledgements() -> None:
    told = wrk.WrkRun(
        duration_us=1, requests=100, connect=1, read=2, write=3, status=4, timeout=5, p50_us=1, p95_us=1, p99_us=1
    )
    assert (told.answered, told.errors) == (96, 15)


def test_without_wrk_the_bench_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="apt-get install wrk"):
        wrk.find()


def test_each_measure_is_a_rate_and_a_cost() -> None:
    measure = bench_http.Measure(units=1000, seconds=2.0, cpu_us=30_000, p50_ms=1, p95_ms=2, p99_ms=3)
    assert (measure.rate, measure.unit_cpu_us) == (500.0, 30.0)
    series = bench_http._Series(bench_http.CASES[1], [measure] * 5, [reference_of(measure)] * 5)
    result = bench_http._result(series)
    assert (result.ratio, result.extra["cpu_ratio"], result.extra["lost"]) == (0.25, 3.0, 0)


def reference_of(measure: bench_http.Measure) -> bench_http.Measure:
    """A reference four times as quick at a third of the cost."""
    return bench_http.Measure(4000, measure.seconds, 40_000, 1, 1, 1)


def test_a_case_says_what_it_counts() -> None:
    units = {case.name: case.unit for case in bench_http.CASES}
    assert (units["no-op route"], units["64 connections"], units["json batch"]) == ("requests", "payments", "transfers")
