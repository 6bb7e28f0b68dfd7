"""What a gateway may ask a follower, as if it were a call: an operation, a tenant, a body; a body comes back.

What an operation takes and gives is between those two and no concern here. Nothing of this is on the way of a payment.
"""

from typing import Protocol

from tallystick.errors import TallystickError


class NotFound(TallystickError):
    """This tenant has no such thing. The message says what."""


class Inquiries(Protocol):
    """One follower, as its gateways see it."""

    async def ask(self, operation: str, tenant: int, body: bytes) -> bytes:
        """What the follower answers. Waits for a bounded time.

        Raises what the follower raised, `Invalid` (naming the field) and `NotFound`; `Unavailable` if it is not
        there, does not answer in time, or has too much to do. Asking changes nothing unless the operation says so.
        """
        ...


class Handler(Protocol):
    """What answers in the follower. Each worker thread has one of its own."""

    def __call__(self, operation: str, tenant: int, body: bytes, left_s: float) -> bytes:
        """The answer, within `left_s` seconds: nobody waits longer.

        Raises `Invalid` for an operation or a body that it does not take, `NotFound`, or `Unavailable` if it cannot
        be answered now. Whatever else it raises ends the follower.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...
