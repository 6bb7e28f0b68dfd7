"""What follows from one attempt to deliver. Pure: numbers in, a decision out.

Source: Standard Webhooks 1.0.0, "Deliverability and reliability"; the delays are its example schedule.
"""

from dataclasses import dataclass
from enum import Enum, auto

DELAYS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, from the making of the delivery and then from the attempt before. Then it is dead."""
JITTER = 0.1
"""So much is added to a delay at most, as a share of it, so that what failed together does not come back together."""
GONE = 410


class Next(Enum):
    """What becomes of a delivery."""

    DELIVERED = auto()
    AGAIN = auto()
    DEAD = auto()
    GONE = auto()
    """Dead, and its subscription is disabled: the receiver said that it will never want any."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one attempt."""

    status: int | None = None
    """What the receiver answered; None: nothing that counts."""
    error: str = ""
    """Why there is no status, for people."""

    @property
    def succeeded(self) -> bool:
        """Only 2xx is yes. A redirect is not followed: it could lead anywhere."""
        return self.status is not None and 200 <= self.status < 300


def after(reply: Reply, tries: int) -> Next:
    """What follows from the attempt number `tries` (from 1) of the schedule."""
    if reply.succeeded:
        return Next.DELIVERED
    if reply.status == GONE:
        return Next.GONE
    return Next.AGAIN if tries < len(DELAYS_S) else Next.DEAD


def delay_ns(tries: int, chance: float) -> int:
    """How long to wait after attempt number `tries` (from 1); `chance`, from 0 to 1, spreads what failed together."""
    return round(DELAYS_S[tries] * (1 + JITTER * chance) * 1e9)


def told(reply: Reply) -> str:
    """Why an attempt failed, for people; empty if it did not."""
    if reply.succeeded:
        return ""
    if reply.status is None:
        return reply.error
    if 300 <= reply.status < 400:
        return f"answered {reply.status}: redirects are not followed"
    return f"answered {reply.status}"
