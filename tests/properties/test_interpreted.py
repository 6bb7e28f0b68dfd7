"""The kernel's source decides the same compiled and interpreted, to the last byte."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.properties.deciding import everything

COMMANDS = 5_000
ROOT = Path(__file__).parents[2]


def test_compiled_equals_interpreted_on_5_000_random_commands(tmp_path):
    file = tmp_path / "interpreted.npz"
    arguments = [sys.executable, "-m", "tests.properties.deciding", "3", str(COMMANDS), str(file)]
    interpreter = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    compiled = everything(3, COMMANDS)
    assert interpreter.wait() == 0
    interpreted = np.load(file)
    assert len(compiled["commands"]) >= COMMANDS * 256
    for name, array in compiled.items():
        assert interpreted[name].tobytes() == array.tobytes(), name
