"""What the SDK raises. A refusal is none of these: it is an `Outcome` with a status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.errors import OutcomeUnknown, TallystickError

if TYPE_CHECKING:
    from tallystick.client.questions import Question


class ApiProblem(TallystickError):
    """The gateway answered with a problem (RFC 9457): nothing was done, and sending the same again changes nothing.

    `type` is the name of the problem (docs/problems.md), `field` what is wrong with the request, if that is it.
    """

    def __init__(self, http: int, type: str, detail: str, field: str = "") -> None:
        super().__init__(f"{type}: {detail}" if detail else f"HTTP {http} {type}")
        self.http = http
        self.type = type
        self.detail = detail
        self.field = field


class StillUnknown(OutcomeUnknown):
    """The request may have been taken on, and what became of it could not be learnt in time. It is no refusal.

    Hand this error to the client's `ask_again`; or, in another process, call the same method with the same content
    and `key=error.request_id`. Neither can pay twice.
    """

    def __init__(self, verdict: OutcomeUnknown, question: Question[Any]) -> None:
        super().__init__(f"{verdict} ({question.request_id})")
        self.request_id = question.request_id
        """32 hex digits: the key to ask again with."""
        self.question = question
