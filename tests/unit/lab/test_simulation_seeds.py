"""Many seeds on many processes: counted, and a failure told with its seed."""

import json

import pytest

from tallystick.cli import main
from tallystick.lab import simulation_seeds
from tallystick.lab.simulation import Simulation


@pytest.mark.service
def test_every_seed_is_lived_through_once_and_counted():
    shown = []
    report = simulation_seeds.run(100, 7, None, lambda report: shown.append(report.seeds), workers=2)
    assert (report.seeds, report.failures, report.ok) == (7, {}, True)
    assert shown == [1, 2, 3, 4, 5, 6, 7]
    assert report.happened["starts"] > 7
    assert report.by_status["account created"] > 7


@pytest.mark.service
def test_a_time_ends_it_however_many_seeds_are_left():
    report = simulation_seeds.run(0, simulation_seeds.SEEDS_MAX, 1.0, lambda report: None, workers=1)
    assert 0 < report.seeds < 1_000


def test_a_story_that_goes_wrong_is_told_with_what_was_wrong(monkeypatch):
    def forget(self):
        raise AssertionError("somebody waits for ever")

    monkeypatch.setattr(Simulation, "_drain", forget)
    lived = simulation_seeds.live(5)
    assert (lived.seed, lived.failure) == (5, "AssertionError: somebody waits for ever")
    report = simulation_seeds.Report(first_seed=5, seeds=1, failures={5: lived.failure})
    assert not report.ok


def test_nothing_lived_through_proves_nothing():
    assert not simulation_seeds.Report(first_seed=0).ok


def test_one_seed_is_told_step_by_step(capsys):
    assert main.run(["simulate-faults", "--seed", "3"]) == 0
    told = capsys.readouterr().out
    assert "the engine starts at entry 0" in told
    assert "seed 3: nothing is wrong" in told


@pytest.mark.service
def test_the_report_is_told_as_json(capsys):
    assert main.run(["simulate-faults", "--seeds", "2", "--from", "9", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["first_seed"] == 9
    assert report["seeds"] == 2
    assert report["failures"] == {}


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seconds", "0.1"], ["--seed", "-1"]])
def test_numbers_that_make_no_sense_are_refused(words):
    assert main.run(["simulate-faults", *words]) == 64
