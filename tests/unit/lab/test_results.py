import io
import json

import pytest
from rich.console import Console

from tallystick.lab.results import Result, median, percentiles_ms, ratio, render

FIELDS = ["case", "rate", "unit", "cpu_us", "reference", "reference_rate", "ratio", "p50_ms", "p95_ms", "p99_ms"]


def result(**changes: object) -> Result:
    values = {
        "case": "64 connections",
        "rate": 20_000.0,
        "unit": "payments",
        "cpu_us": 31.5,
        "reference": "no-op route",
        "reference_rate": 40_000.0,
        "ratio": 0.5,
    }
    return Result(**(values | changes))


def printed(results: list[Result], as_json: bool) -> str:
    out = io.StringIO()
    render(results, as_json, Console(file=out, width=200))
    return out.getvalue()


def test_json_output_is_a_list_of_flat_objects_with_the_agreed_fields_first() -> None:
    (only,) = json.loads(printed([result(extra={"lost": 0})], as_json=True))
    assert list(only) == [*FIELDS, "lost"]
    assert only["rate"] == 20_000.0
    assert only["p99_ms"] is None


def test_a_long_json_output_is_not_wrapped_at_the_width_of_a_terminal() -> None:
    text = printed([result(extra={"note": "x" * 500})], as_json=True)
    assert json.loads(text)[0]["note"] == "x" * 500


def test_people_get_one_line_a_case_and_its_extras_below() -> None:
    text = printed([result(p50_ms=1.25, extra={"rate_max": 12_345.5, "errors": 0, "slope": None})], as_json=False)
    for part in ("64 connections", "20,000 payments/s", "31.50", "0.50", "1.25"):
        assert part in text
    assert text.splitlines()[-1].strip() == (
        "64 connections: against no-op route 40,000/s · rate max 12,345.500 · errors 0"
    )


def test_a_percentile_is_the_smallest_latency_that_the_share_does_not_exceed() -> None:
    assert percentiles_ms([n * 1_000_000 for n in range(100, 0, -1)]) == (50.0, 95.0, 99.0)
    assert percentiles_ms([7_000_000]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        percentiles_ms([])


def test_a_ratio_without_reference_is_none() -> None:
    assert ratio(10.0, 40.0) == 0.25
    assert ratio(10.0, None) is None
    assert ratio(10.0, 0.0) is None


def test_the_median_of_an_even_number_of_runs_lies_between_the_middle_two() -> None:
    assert median([1.0, 9.0, 2.0, 4.0]) == 3.0
