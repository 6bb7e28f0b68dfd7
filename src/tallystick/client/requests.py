"""Asking until an outcome is known: the same request, with the same id, as often as it takes (DESIGN §2).

What makes this safe is not here but in the engine: the first decision about a request id stands for ever.
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

ACCEPTED = 202
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


def settle(
    api: Asker, path: str, body: bytes, request_id: str, patience: Patience, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST until the answer is an outcome or an objection: anything but 202, 429 and the 5xx that pass.

    Raises `OutcomeUnknown` if time ran out and the request may have been taken, and `Unavailable` if it ran out
    and no try can have been.
    """
    give_up_ns = patience.clock.monotonic_ns() + round(patience.patience_s * 1e9)
    unknown: str | None = None
    tries = 0
    while True:
        retry_after_s = 0.0
        try:
            answer = api.ask("POST", path, body, {**(headers or {}), "Idempotency-Key": request_id})
        except Unavailable as error:
            reason = str(error)
        except OutcomeUnknown as error:
            reason = unknown = str(error)
        else:
            if answer.status == ACCEPTED:
                reason = unknown = "accepted, but not yet decided"
            elif answer.status in BROKEN_GATEWAYS:
                reason = unknown = f"HTTP {answer.status}"
            elif answer.status in (503, TOO_MANY_REQUESTS):
                reason = f"HTTP {answer.status}: {answer.json().get('detail', 'the gateway takes nothing now')}"
            else:
                return answer
            retry_after_s = _retry_after_s(answer)
        wait_s = max(retry_after_s, _jittered(min(PAUSE_S * 2**tries, PAUSE_S_MAX), patience.entropy))
        tries = min(tries + 1, 30)
        out_of_time = patience.clock.monotonic_ns() + round(wait_s * 1e9) > give_up_ns
        if out_of_time or patience.pause(wait_s):
            if unknown is not None:
                raise OutcomeUnknown(f"{unknown}; ask again with the same request id")
            raise Unavailable(reason)


def _retry_after_s(answer: Answer) -> float:
    """The seconds of `Retry-After` (RFC 9110 §10.2.3), bounded; its other form, a date, counts as none."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() else 0.0


def _jittered(seconds: float, entropy: Entropy) -> float:
    """Half to all of it, so that many clients refused at once do not all come back at once."""
    return seconds * (0.5 + int.from_bytes(entropy(2), "big") / 131_072)
