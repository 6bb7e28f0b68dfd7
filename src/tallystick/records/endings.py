"""How a pending transfer stands: one byte for each entry of the journal (DESIGN §4)."""

from enum import IntEnum


class Ending(IntEnum):
    """What became of the pending transfer that an entry made. Stored; never renumbered."""

    NONE = 0  # the entry made no pending transfer
    OPEN = 1
    POSTED = 2
    VOIDED = 3
    EXPIRED = 4
