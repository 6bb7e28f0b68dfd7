"""Where compiled code is kept, and how it is made ready before money depends on it (ADR 0002).

Numba's own cache looks for changes in one file only: a fix in `u128.py` would not reach the kernel that calls it.
So the folder is named by a hash of every source that is compiled, and of the NumPy and Numba versions.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import numba
import numpy as np

_config: Any = numba.config
PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = ("ledger", "records", "engine", "statuses.py")
"""What compiled code is made from, constants included; of `engine`, the files that compile anything."""
_COMPILES = re.compile(rb"^@(compiled|inlined|outlined)\b", re.MULTILINE)


def fingerprint(package: Path | None = None) -> str:
    """32 hex digits that change with any source that compiled code is made from: of this package, or of a copy."""
    digest = hashlib.sha256(f"numba {numba.__version__} numpy {np.__version__}".encode())
    for source in SOURCES:
        path = (package or PACKAGE) / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            text = file.read_bytes()
            if source != "engine" or _COMPILES.search(text):
                digest.update(file.name.encode() + b"\0" + text)
    return digest.hexdigest()[:32]


def default_folder() -> Path:
    """Where a user's compiled code is kept unless settings say otherwise."""
    return Path.home() / ".cache" / "tallystick" / "kernels"


def activate(folder: Path) -> Path:
    """Keep compiled code in `folder`, from now on. Call it before anything of `ledger` or `engine` is imported.

    Where NUMBA_CACHE_DIR is set, that stands (tests and mutants bring their own).
    """
    if _config.CACHE_DIR:
        return Path(_config.CACHE_DIR)
    here = folder / fingerprint()
    here.mkdir(parents=True, exist_ok=True)
    _config.CACHE_DIR = str(here)
    return here
