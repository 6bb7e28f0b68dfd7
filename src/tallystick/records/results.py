"""The result row: one command's outcome as clients get it, 16 bytes, TigerBeetle's create result.

Its third word, reserved there, is ours: whether the row repeats the outcome of an earlier request with this id.
"""

import numpy as np

RESULT = np.dtype([("timestamp", "<u8"), ("status", "<u4"), ("replayed", "<u4")])
"""ns; number from `statuses`; 0 or 1. The timestamp of `exists` is the existing object's."""
