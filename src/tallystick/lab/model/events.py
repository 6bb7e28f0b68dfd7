"""A command as the model reads it: a dict of whole numbers."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tallystick.records.commands import ACCOUNT, COMMAND, CONTROL, TRANSFER, Kind

U128_MAX = (1 << 128) - 1
TIMESTAMP_MAX = (1 << 63) - 1
"""The last nanosecond that a timestamp, or the end of a time-out, may have (TigerBeetle: less than 2^63)."""
SECOND = 1_000_000_000
Key: TypeAlias = tuple[int, int]
"""Tenant, and the id of an account, a transfer or a request."""
Event: TypeAlias = dict[str, Any]
"""A command's fields, 128-bit ones whole."""
_ROWS = {Kind.TRANSFER: TRANSFER, Kind.ACCOUNT: ACCOUNT, Kind.CONTROL: CONTROL}
_HALVES = {
    kind: [(name[:-3], name, f"{name[:-3]}_hi") for name in rows.names or () if name.endswith("_lo")]
    for kind, rows in _ROWS.items()
}


def events_of(commands: npt.NDArray[np.void], kind: Kind) -> Iterator[Event]:
    """The commands of one request, `COMMAND` rows, as events."""
    rows = np.ascontiguousarray(commands).view(COMMAND).view(_ROWS[kind])
    names = rows.dtype.names or ()
    for row in rows.tolist():
        event = dict(zip(names, row, strict=True))
        for name, lo, hi in _HALVES[kind]:
            event[name] = event[lo] | event[hi] << 64
        yield event


def user_data(event: Event) -> tuple[int, int, int]:
    """The three fields that are the client's own."""
    return event["user_data_128"], event["user_data_64"], event["user_data_32"]
