"""How the kernel's functions are compiled: one decorator, so that every one is compiled alike.

The source is typed Python for Numba (ADR 0002) and runs interpreted as well (`NUMBA_DISABLE_JIT=1`). Numba keeps
compiled code on disk only where `compose.kernel_cache` has named a folder for exactly these sources: its own check
looks at one file and would miss a change in another.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])

config: Any = numba.config
_made: list[Any] = []

U64 = np.uint64
ZERO = np.uint64(0)
ONE = np.uint64(1)
U64_MAX = np.uint64(0xFFFFFFFFFFFFFFFF)


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, kept on disk where a folder is named."""
    njit: Any = numba.njit
    made = njit(cache=bool(config.CACHE_DIR), nogil=True, error_model="numpy")(function)
    _made.append(made)
    return cast(F, made)


def stop_compiling() -> None:
    """From now on a call with a signature nobody warmed raises `TypeError` instead of compiling for seconds."""
    if not config.DISABLE_JIT:
        for made in _made:
            if made.signatures:  # those that only other kernels call have none of their own
                made.disable_compile()


def records(array: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The array as kernels take it: as it is; interpreted, as a recarray, since only that reads `row.field`."""
    return array.view(np.recarray) if config.DISABLE_JIT else array
