"""The ways in which something fails, and what a caller may do about each.

A refusal ("insufficient funds") is no failure: it is an outcome with a status (`statuses.py`).
Adapters translate every driver error into one of these, `raise … from`.
"""


class TallystickError(Exception):
    """Base of every error that Tallystick raises on purpose."""


class Invalid(TallystickError):
    """What the caller sent cannot be understood; nothing was done. `field` names the culprit."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Unavailable(TallystickError):
    """Nothing was written. Wait, then retry."""


class OutcomeUnknown(TallystickError):
    """It may have been written. Ask again with the same request id."""


class Fenced(TallystickError):
    """Another writer took over. Stop; do not retry."""


class Corrupt(TallystickError):
    """Stored bytes break a promise. Stop and page a person."""


class Violated(TallystickError):
    """A decided block breaks an invariant; nothing of it was journaled. This process must end and start again."""


class Damaged(TallystickError):
    """A derived file is not as it was written. This process must end; the next start makes the file anew."""


class InvalidProof(TallystickError):
    """A signature or proof does not hold. Do not act on what it was to prove."""
