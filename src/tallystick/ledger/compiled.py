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
_called_from_python: list[Any] = []

U64 = np.uint64
ZERO = np.uint64(0)
ONE = np.uint64(1)
U64_MAX = np.uint64(0xFFFFFFFFFFFFFFFF)


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, kept on disk where a folder is named.

    For what Python calls. It takes `Books`, `Batch` and the like apart at its top and hands arrays on: a named tuple
    handed to a helper costs two atomic additions for each of its arrays (look_up: 125 ns a transfer, 25 without). What
    each block calls is better handed the arrays that it uses: 0.1 µs each, where a whole named tuple costs 3 to 5 µs.
    """
    made = _compile(function, forceinline=False)
    if function.__module__.startswith("tallystick."):  # a test's own kernels are its own business
        _called_from_python.append(made)
    return made


def inlined(function: F) -> F:
    """Compile into whatever calls it. For the helpers of a kernel."""
    return _compile(function, forceinline=True)


def outlined(function: F) -> F:
    """Compile beside its kernel and call it. For rare branches: inlined, they would slow and delay the common one."""
    return _compile(function, forceinline=False)


def _compile(function: F, forceinline: bool) -> F:
    njit: Any = numba.njit
    return cast(
        F, njit(cache=bool(config.CACHE_DIR), nogil=True, error_model="numpy", forceinline=forceinline)(function)
    )


def stop_compiling() -> None:
    """From now on a call with an array that nobody warmed raises `TypeError` instead of compiling for seconds.

    A scalar of another type is converted to the one that was warmed, as C would: pass the right ones. Raises
    `RuntimeError` for a kernel that was not warmed at all.
    """
    if config.DISABLE_JIT:
        return
    for made in _called_from_python:
        if not made.signatures:
            raise RuntimeError(f"{made.__module__}.{made.__name__} was not warmed: compose.warm must call it")
        made.disable_compile()


ROWS: Any = np.recarray if config.DISABLE_JIT else np.ndarray
"""What makes rows as kernels take them, of (count, dtype, memory): see `records`."""


def records(array: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The array as kernels take it: as it is; interpreted, as a recarray, since only that reads `row.field`."""
    return array.view(np.recarray) if config.DISABLE_JIT else array
