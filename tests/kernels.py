"""The compiled rules as tests run them: with bounds checked, in a cache of the checkout's own.

`python -m tests.kernels` compiles them, for half a minute, and is a part of `make setup`. What changes later is
compiled by the tests themselves, once before several workers start.
"""

import os
import subprocess
import sys
from pathlib import Path

# Out-of-bounds reads return garbage in compiled code, unless this is set before Numba is imported.
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")

from tallystick.compose import kernel_cache

PLACE = Path(__file__).parents[1] / ".pytest_cache" / "kernels-boundscheck"

if "NUMBA_CACHE_DIR" not in os.environ:  # mutants bring their own
    # In the environment too: processes that tests start must find what is compiled already.
    os.environ["NUMBA_CACHE_DIR"] = str(kernel_cache.activate(PLACE))


def compile_all() -> int:
    """Compile what is not yet, in a process of its own; its exit code."""
    warm = "from tallystick.compose.library import Ledger; Ledger.in_memory().close()"
    return subprocess.run([sys.executable, "-c", warm], check=False).returncode


if __name__ == "__main__":
    sys.exit(compile_all())
