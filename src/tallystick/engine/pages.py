"""Large arrays that live for a moment, in memory of their own: given back to the system when they go.

From the common heap each would leave its hole there: glibc serves what is as large as the largest array ever freed
from heaps that it keeps for each thread, and the process grows by tens of megabytes that nobody uses.
"""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros; its memory is gone with the last view of it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype).reshape(shape)
