from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tallystick.client.http import Answer
from tallystick.client.requests import RETRY_AFTER_S_MAX, Patience, settle
from tallystick.errors import OutcomeUnknown, Unavailable

Step = Answer | Exception


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> Answer:
    return Answer(status, headers or {}, body)


@dataclass
class Script:
    """A gateway that answers what the test wrote down, the last line for ever, and remembers what it was sent."""

    steps: list[Step]
    sent: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        self.sent.append((method, path, body, headers or {}))
        step = self.steps[min(len(self.sent), len(self.steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return step


class HandClock:
    def __init__(self) -> None:
        self.now = 0
        self.pauses: list[float] = []

    def wall_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += round(seconds * 1e9)
        return False


def patience(clock: HandClock, pause: Callable[[float], bool] | None = None, patience_s: float = 60.0) -> Patience:
    return Patience(clock, lambda count: b"\xff" * count, pause or clock.pause, patience_s)


def run(*steps: Step) -> tuple[Answer, Script, HandClock]:
    script, clock = Script(list(steps)), HandClock()
    return settle(script, "/v1/transfers", b"body", "aa" * 16, patience(clock)), script, clock


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 409, 413, 422])
def test_an_outcome_or_an_objection_is_returned_at_once(status: int) -> None:
    final, script, clock = run(answer(status))
    assert final.status == status
    assert script.sent == [("POST", "/v1/transfers", b"body", {"Idempotency-Key": "aa" * 16})]
    assert clock.pauses == []


@pytest.mark.parametrize(
    "trouble",
    [
        answer(202),
        answer(429),
        answer(500),
        answer(502),
        answer(503),
        answer(504),
        Unavailable("nobody there"),
        OutcomeUnknown("broke off"),
    ],
)
def test_trouble_that_passes_is_asked_again_with_the_very_same_request(trouble: Step) -> None:
    final, script, _ = run(trouble, trouble, answer(201))
    assert final.status == 201
    assert len(script.sent) == 3
    assert all(sent == script.sent[0] for sent in script.sent)


def test_pauses_grow_and_stay_bounded() -> None:
    _, _, clock = run(*[answer(503)] * 9, answer(201))
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[0] == pytest.approx(0.05, rel=0.01)
    assert clock.pauses[-1] == pytest.approx(2.0, rel=0.01)


def test_retry_after_is_heeded_and_bounded() -> None:
    _, _, clock = run(answer(429, {"Retry-After": "7"}), answer(503, {"Retry-After": "7200"}), answer(201))
    assert clock.pauses == [7.0, RETRY_AFTER_S_MAX]


@pytest.mark.parametrize("text", ["soon", "-3", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT", "²"])
def test_a_retry_after_that_is_no_number_of_seconds_counts_as_none(text: str) -> None:
    _, _, clock = run(answer(503, {"Retry-After": text}), answer(201))
    assert clock.pauses == [pytest.approx(0.05, rel=0.01)]


def test_when_time_runs_out_and_no_try_was_taken_nothing_was_written() -> None:
    script, clock = Script([answer(503), Unavailable("nobody there")]), HandClock()
    with pytest.raises(Unavailable, match="nobody there"):
        settle(script, "/", b"", "1", patience(clock, patience_s=5))
    assert clock.now <= 5e9


@pytest.mark.parametrize("doubt", [answer(202), answer(504), OutcomeUnknown("broke off")])
def test_one_try_in_doubt_makes_the_whole_request_unknown(doubt: Step) -> None:
    script, clock = Script([doubt, Unavailable("nobody there")]), HandClock()
    with pytest.raises(OutcomeUnknown, match="same request id"):
        settle(script, "/", b"", "1", patience(clock, patience_s=5))


def test_a_stop_ends_the_asking() -> None:
    script = Script([answer(503)])
    with pytest.raises(Unavailable):
        settle(script, "/", b"", "1", patience(HandClock(), pause=lambda seconds: True))
    assert len(script.sent) == 1


WHERE = "/v1/requests/aa?fingerprint=bb&kind=transfer"


def test_what_was_accepted_is_asked_for_by_its_status_until_it_is_decided_then_once_more_by_itself() -> None:
    accepted = answer(202, {"Location": WHERE})
    final, script, clock = run(accepted, answer(202, {"Location": WHERE}), answer(200), answer(201))
    assert final.status == 201
    assert [(method, path) for method, path, _, _ in script.sent] == [
        ("POST", "/v1/transfers"), ("GET", WHERE), ("GET", WHERE), ("POST", "/v1/transfers"),
    ]  # fmt: skip
    assert script.sent[0] == script.sent[-1]
    assert len(clock.pauses) == 2  # none after it was decided


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_status_that_cannot_be_asked_for_is_no_outcome(status: int) -> None:
    final, script, _ = run(answer(202, {"Location": WHERE}), answer(status), answer(201))
    assert final.status == 201
    assert script.sent[0] == script.sent[2]


def test_what_was_accepted_stays_unknown_whatever_its_status_url_says() -> None:
    with pytest.raises(OutcomeUnknown, match="not yet decided"):
        run(answer(202, {"Location": WHERE}), answer(202, {"Location": WHERE}))
    with pytest.raises(OutcomeUnknown):
        run(answer(202, {"Location": WHERE}), answer(503))
