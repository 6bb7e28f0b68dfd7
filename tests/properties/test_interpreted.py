"""The kernel's source decides the same compiled and interpreted, to the last byte."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.properties.deciding import everything

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("seed", "commands"),
    [(3, 2_000), pytest.param(4, 20_000, marks=[pytest.mark.service, pytest.mark.timeout(600)])],
    ids=["few", "many"],
)
def test_compiled_equals_interpreted_on_random_commands(tmp_path, seed, commands):
    file = tmp_path / "interpreted.npz"
    arguments = [sys.executable, "-m", "tests.properties.deciding", str(seed), str(commands), str(file)]
    interpreter = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    compiled = everything(seed, commands)
    assert interpreter.wait() == 0
    interpreted = np.load(file)
    assert len(compiled["commands"]) >= commands * 256
    assert len(compiled["pendings"])
    for name, array in compiled.items():
        assert interpreted[name].tobytes() == array.tobytes(), name
