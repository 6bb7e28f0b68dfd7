"""Numbers as the tables keep them, a column at a time.

A u128 is a 16-byte big-endian blob, so that its order is that of the numbers. A u64 is the signed integer with
the same 64 bits, and is only ever compared for equality. A client's own field that is zero, which no filter can
ask for, is NULL and so costs neither room nor an index entry.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

OWN_FIELDS = ("user_data_128", "user_data_64", "user_data_32")
"""What a client may write into accounts and transfers for itself."""
Words = npt.NDArray[np.uint64]
_SIGN = 1 << 63
_MODULUS = 1 << 64


def blobs(lo: Words, hi: Words) -> list[bytes]:
    """Each u128 as its blob."""
    both = np.empty((len(lo), 2), ">u8")
    both[:, 0], both[:, 1] = hi, lo
    return pieces(both, 16)


def pieces(rows: npt.NDArray[Any], size: int) -> list[bytes]:
    """The array's bytes cut into blobs of `size`."""
    found: list[bytes] = np.ascontiguousarray(rows).reshape(-1).view(f"V{size}").tolist()
    return found


def blobs_or_null(lo: Words, hi: Words) -> list[bytes | None]:
    """Each u128 as its blob, zero as NULL."""
    zero = (lo == 0) & (hi == 0)
    if zero.all():
        return [None] * len(lo)
    return [None if none else blob for none, blob in zip(zero.tolist(), blobs(lo, hi), strict=True)]


def signed(values: npt.NDArray[Any]) -> list[int]:
    """Unsigned numbers as signed integers."""
    found: list[int] = values.astype(np.uint64).view(np.int64).tolist()
    return found


def signed_or_null(values: npt.NDArray[Any]) -> list[int | None]:
    """Unsigned numbers as signed integers, zero as NULL."""
    if not values.any():
        return [None] * len(values)
    return [value or None for value in signed(values)]


def blob(number: int) -> bytes:
    """One u128."""
    return number.to_bytes(16, "big")


def whole(kept: bytes | None) -> int:
    """The u128 of a blob, 0 of NULL."""
    return 0 if kept is None else int.from_bytes(kept, "big")


def to_signed(number: int) -> int:
    """One u64."""
    return number - _MODULUS if number >= _SIGN else number


def unsigned(kept: int | None) -> int:
    """The u64 of an integer, 0 of NULL."""
    return 0 if kept is None else kept % _MODULUS
