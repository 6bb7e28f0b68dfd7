"""Asking until an outcome is known: the same request, with the same id, as often as it takes (DESIGN §2).

What makes this safe is not here but in the engine: the first decision about a request id stands for ever. `Asking`
knows when to ask again and what; it does no I/O, so that threads (`settle`) and coroutines share it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tallystick.client.http import Answer
from tallystick.clock import Clock, Entropy
from tallystick.errors import OutcomeUnknown, Unavailable

PAUSE_S = 0.05
PAUSE_S_MAX = 2.0
RETRY_AFTER_S_MAX = 30.0
DOUBLINGS_MAX = 30

ACCEPTED = 202
FORBIDDEN = 403
TOO_MANY_REQUESTS = 429
BROKEN_GATEWAYS = frozenset({500, 502, 504})
"""From a proxy or a fault in between: it may have been written."""


class Asker(Protocol):
    """What is needed of `client.http.Api`."""

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """One request, one answer; raises `Unavailable` or `OutcomeUnknown`."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait between tries."""

    clock: Clock
    entropy: Entropy
    pause: Callable[[float], bool]
    """Waits that many seconds; True if the caller should give up now (a stop was asked for)."""
    patience_s: float = 60.0


class Asking:
    """One request until its outcome is known: what was learnt from each try, and how long to wait before the next."""

    __slots__ = ("_clock", "_entropy", "_give_up_ns", "_reason", "_tries", "_unknown", "location")

    def __init__(self, clock: Clock, entropy: Entropy, patience_s: float) -> None:
        self._clock = clock
        self._entropy = entropy
        self._give_up_ns = clock.monotonic_ns() + round(patience_s * 1e9)
        self._tries = 0
        self._reason = "it was not sent"
        self._unknown: str | None = None
        self.location: str | None = None
        """Where to ask next for the status of what is accepted already; None: send the request itself."""

    def answered(self, status: int, headers: Mapping[str, str], detail: str = "") -> float | None:
        """What an answer of this HTTP status means: None if it is an outcome or an objection, which stands; else how
        many seconds to wait before asking again. `detail` is what its problem says."""
        if self.location is not None and status in (200, FORBIDDEN):
            # Decided: the request sent once more gets its recorded results, in the words of its own route. A key that
            # may not read asks that way all along.
            self.location = None
            return 0.0 if status == 200 else self._wait_s(headers)
        if status == ACCEPTED:
            self._unknown = self._reason = "accepted, but not yet decided"
            self.location = headers.get("Location")
        elif status in BROKEN_GATEWAYS:
            self._unknown = self._reason = f"HTTP {status}"
        elif status in (503, TOO_MANY_REQUESTS):
            self._reason = f"HTTP {status}: {detail or 'the gateway takes nothing now'}"
        elif self.location is not None:  # whatever the status URL says, it is no outcome
            self.location = None
        else:
            return None
        return self._wait_s(headers)

    def failed(self, error: Unavailable | OutcomeUnknown) -> float:
        """No answer came. Returns how many seconds to wait before asking again."""
        self._reason = str(error)
        if isinstance(error, OutcomeUnknown):
            self._unknown = self._reason
        return self._wait_s({})

    def _wait_s(self, headers: Mapping[str, str]) -> float:
        wait_s = max(_retry_after_s(headers), _jittered(min(PAUSE_S * 2**self._tries, PAUSE_S_MAX), self._entropy))
        self._tries = min(self._tries + 1, DOUBLINGS_MAX)
        return wait_s

    def out_of_time(self, wait_s: float) -> bool:
        """Whether waiting that long would be longer than the patience lasts."""
        return self._clock.monotonic_ns() + round(wait_s * 1e9) > self._give_up_ns

    @property
    def unknown(self) -> str | None:
        """Why it may have been written though no outcome is known; None if no try can have been taken on."""
        return self._unknown

    def verdict(self) -> Unavailable | OutcomeUnknown:
        """What to raise when time has run out."""
        if self._unknown is not None:
            return OutcomeUnknown(f"{self._unknown}; ask again with the same request id")
        return Unavailable(self._reason)


def settle(
    api: Asker, path: str, body: bytes, request_id: str, patience: Patience, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST until the answer is an outcome or an objection: anything but 202, 429 and the 5xx that pass.

    Raises `OutcomeUnknown` if time ran out and the request may have been taken, and `Unavailable` if it ran out
    and no try can have been.
    """
    return ask_until_known(api, "POST", path, body, {**(headers or {}), "Idempotency-Key": request_id}, patience)


def ask_until_known(
    api: Asker, method: str, path: str, body: bytes, headers: Mapping[str, str], patience: Patience
) -> Answer:
    """As `settle`, of any method: a look-up, which writes nothing, may be repeated as well."""
    asking = Asking(patience.clock, patience.entropy, patience.patience_s)
    while True:
        try:
            if asking.location is not None:
                answer = api.ask("GET", asking.location)
            else:
                answer = api.ask(method, path, body, dict(headers))
        except (Unavailable, OutcomeUnknown) as error:
            wait_s = asking.failed(error)
        else:
            told = asking.answered(answer.status, answer.headers, str(answer.json().get("detail", "")))
            if told is None:
                return answer
            wait_s = told
        if asking.out_of_time(wait_s) or (wait_s and patience.pause(wait_s)):
            raise asking.verdict()


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """The seconds of `Retry-After` (RFC 9110 §10.2.3), bounded; its other form, a date, counts as none."""
    text = headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() else 0.0


def _jittered(seconds: float, entropy: Entropy) -> float:
    """Half to all of it, so that many clients refused at once do not all come back at once."""
    return seconds * (0.5 + int.from_bytes(entropy(2), "big") / 131_072)
