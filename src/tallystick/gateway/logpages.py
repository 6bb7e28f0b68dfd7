"""What the gateway asks of the audit log: pages that are there already, and receipts."""

from collections.abc import Callable
from typing import Protocol

from tallystick.tlog.tiles import Tile


class LogPages(Protocol):
    """One shard's log. Calls read files and may take milliseconds: never on the event loop."""

    def checkpoint(self, witnessed: bool = False) -> bytes | None:
        """The published checkpoint, a signed note; or the last one that was witnessed. None before the first."""
        ...

    def tile(self, tile: Tile) -> bytes | None:
        """A tile or bundle; None if the published tree has none such."""
        ...

    def receipt(self, seq: int, extra: Callable[[bytes], bytes], witnessed: bool = False) -> bytes:
        """The receipt of entry `seq`, with extra data made of it. Raises `Unavailable` until it is of that grade."""
        ...
