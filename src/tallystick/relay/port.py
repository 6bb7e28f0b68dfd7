"""The outlet's promise: where events go, in order, and when they count as sent (DESIGN §6).

What an outlet may do twice, and what it must never do, follows from what receivers can undo. Each event has a position
that only grows, so a receiver drops what is not beyond the last one it took. That gives each event once, as long as no
event is *there* before all of its tenant's that precede it: a repeat is harmless, a gap that is filled later is a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """One event as brokers take it."""

    tenant: int
    """Events of a tenant stay in order."""
    route: str
    """What a receiver may choose by, words parted by dots: `TENANT.transfer.created`."""
    body: bytes
    """A CloudEvent in JSON (`relay.cloudevents`)."""


class Outlet(Protocol):
    """Sends events to a broker. One thread calls it."""

    def connect(self) -> None:
        """Make sure that there is a connection, and that what is there will do. Raises as `send`."""
        ...

    def send(self, events: Sequence[Event]) -> int:
        """**Durable at the broker when it returns**, all of them, each tenant's in this order. Returns how many of them
        nobody receives.

        Raises `Unavailable` or `OutcomeUnknown` if some are not known to be there: of each tenant those that are, are
        the first ones. The caller sends all of them again, from the first. `Invalid` names what of the settings, or of
        the broker's, makes no sense: a person is needed.
        """
        ...

    def tend(self) -> None:
        """Look after the connection, without waiting: called several times a second. Raises nothing of a broker."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
