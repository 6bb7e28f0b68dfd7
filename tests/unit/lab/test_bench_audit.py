"""The bench of the audit log runs, on a small log, and says what it should."""

import pytest

from tallystick.errors import Invalid
from tallystick.lab import bench_audit


def test_each_case_is_measured_against_hashing_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_audit, "RECEIPTS", 50)
    results = bench_audit.run(1, [], tmp_path, lambda said: None, entries=9_000)
    assert [result.case for result in results] == list(bench_audit.CASES)
    for result in results:
        assert result.rate > 0
        assert result.reference_rate > 0
        assert result.ratio == pytest.approx(result.rate / result.reference_rate)


def test_a_case_that_is_none_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no such case: sequences"):
        bench_audit.run(1, ["sequences"], tmp_path, lambda said: None)
