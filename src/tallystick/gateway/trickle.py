"""Few log lines where there could be thousands: a bad minute must not fill the disk that payments need."""

from dataclasses import dataclass

EVERY_S = 0.1


@dataclass(slots=True)
class Trickle:
    """Lets one line through in a tenth of a second, and counts the others."""

    every_s: float = EVERY_S
    _next_s: float = float("-inf")
    _unsaid: int = 0

    def admit(self, now_s: float) -> int | None:
        """How many were left out before this one, which may be said; None if it is to be left out, too."""
        if now_s < self._next_s:
            self._unsaid += 1
            return None
        unsaid, self._unsaid, self._next_s = self._unsaid, 0, now_s + self.every_s
        return unsaid
