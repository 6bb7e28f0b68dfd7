"""The import contracts hold, and would not hold any longer if somebody broke them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(root):
    done = subprocess.run(
        [LINT, "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_the_tree_keeps_every_contract():
    code, said = lint(ROOT)
    assert code == 0, said


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("utils.py", '"""Odds and ends."""', "tallystick.utils"),
        ("intake/helpers.py", '"""Odds and ends."""', "tallystick.intake.helpers"),
        ("gateway/shortcut.py", "import tallystick.engine.loop", "gateway is not allowed to import tallystick.engine"),
        ("engine/shortcut.py", "import tallystick.compose.up", "engine is not allowed to import tallystick.compose"),
        ("engine/shortcut.py", "import tallystick.journal.files", "Only compose/ names adapters BROKEN"),
        ("engine/shortcut.py", "import tallystick.blockfile.writer", "how block files are laid out BROKEN"),
        ("records/shortcut.py", "import tallystick.ledger.books", "records is not allowed to import"),
        ("journal/port.py", "import tallystick.journal.files", "port is not allowed to import"),
    ],
)
def test_a_shortcut_breaks_a_contract(copy, path, line, complaint):
    with open(copy / "src" / "tallystick" / path, "a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    code, said = lint(copy)
    assert code != 0
    assert complaint in said
    assert "BROKEN" in said


def test_no_pure_module_may_import_what_has_effects(copy):
    forbidden = ("time", "random", "os", "socket", "sqlite3", "asyncio", "threading", "tallystick.clock")
    for module in ("ledger", "records"):
        path = copy / "src" / "tallystick" / module / "shortcut.py"
        path.write_text("".join(f"import {each}\n" for each in forbidden), encoding="utf-8")
    code, said = lint(copy)
    assert code != 0
    for module in ("ledger", "records"):
        for each in forbidden:
            assert f"tallystick.{module} is not allowed to import {each}:" in said
