"""The runner itself, on a project of three lines, and that every mutant of the table still applies."""

import shutil

import pytest

from tests.mutants import run as runner
from tests.mutants.table import MUTANTS, Mutant

SOURCE = '"""A promise."""\n\n\ndef kept():\n    return True\n'


def mutant(name="broken", old="return True", new="return False", tests=("test_promise.py",)):
    return Mutant(name, "it is kept", "src/tallystick/__init__.py", old, new, tests)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # three lines need none, and start three times as fast
    root = tmp_path / "project"
    for part in ("ledger", "records", "engine"):
        (root / "src" / "tallystick" / part).mkdir(parents=True)
    (root / "src" / "tallystick" / "__init__.py").write_text(SOURCE)
    (root / "src" / "tallystick" / "statuses.py").touch()
    (root / "test_promise.py").write_text("import tallystick\n\n\ndef test_kept():\n    assert tallystick.kept()\n")
    (root / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    (root / "test_skipped.py").write_text("import pytest\n\n\ndef test_skipped():\n    pytest.skip('no server')\n")
    return root


@pytest.mark.service
def test_only_a_mutant_whose_tests_run_and_fail_is_caught(project, capsys):
    assert runner.run([mutant()], project) == 0
    assert "1 of 1 mutants caught" in capsys.readouterr().out
    uncaught = [
        mutant("missed", tests=("test_nothing.py",)),
        mutant("no server", tests=("test_skipped.py",)),
        mutant("gone", old="return None"),
        mutant("twice", old="e"),
        mutant("no program", new="return ("),
    ]
    assert runner.run([mutant(), *uncaught], project) == 1
    said = capsys.readouterr().out
    lines = {each.name: next(line for line in said.splitlines() if line.startswith(each.name)) for each in uncaught}
    assert "SURVIVED" in lines["missed"]
    assert "stands 0 times" in lines["gone"]
    assert "stands 5 times" in lines["twice"]
    assert "proves nothing" in lines["no program"]
    assert "skipped, which proves nothing" in lines["no server"]
    assert "1 of 6 mutants caught" in said
    assert (project / "src" / "tallystick" / "__init__.py").read_text() == SOURCE


def test_a_mutant_whose_tests_do_not_exist_fails_the_run(project):
    assert runner.run([mutant(tests=("test_missing.py",))], project) == 1


def test_a_tree_that_fails_unchanged_proves_nothing(project, capsys):
    (project / "test_promise.py").write_text("def test_kept():\n    assert False\n")
    assert runner.run([mutant()], project) == 1
    assert "unchanged tree fails" in capsys.readouterr().out


def test_a_long_difference_takes_no_time_in_ci(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    differ = "def test_kept():\n    assert [object() for _ in range(2_000)] == [object() for _ in range(2_000)]\n"
    (project / "test_promise.py").write_text(differ)
    code, output = runner.run_tests(project, ["test_promise.py"], project / "caches", limit_s=20)
    assert code == runner.FAILED
    assert len(output) < 10_000


def test_a_changed_kernel_has_a_cache_of_its_own(project):
    package = project / "src" / "tallystick"
    before = runner.kernel_hash(project)
    (package / "engine" / "drafts.py").write_text("ONE = 1  # not compiled\n")
    assert runner.kernel_hash(project) == before
    (package / "ledger" / "u128.py").write_text("ONE = 1\n")
    assert runner.kernel_hash(project) != before


def test_an_unknown_name_is_an_error():
    with pytest.raises(SystemExit, match="no such mutant: nonsense"):
        runner.chosen(["nonsense"])


def test_names_are_unique():
    assert len({each.name for each in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("each", MUTANTS, ids=lambda each: each.name)
def test_every_mutant_still_applies_and_names_tests_that_exist(each, tmp_path):
    target = tmp_path / each.file
    target.parent.mkdir(parents=True)
    shutil.copy(runner.ROOT / each.file, target)
    runner.apply(each, tmp_path)
    assert each.tests
    assert all((runner.ROOT / test.split("::")[0]).exists() for test in each.tests)
