"""Payments that many coroutines make at once travel together: what comes while a bundle is under way is the next one.

As the gateway does with its disk, so here with HTTP: the first goes at once, nobody waits for company, and the busier
it is, the less each costs. Every payment keeps its own request id, patience and outcome (`POST /v1/bundles`).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from tallystick.client import questions
from tallystick.client.async_http import AsyncApi
from tallystick.client.http import Answer
from tallystick.client.questions import Question
from tallystick.client.requests import Asking
from tallystick.client.values import Outcome
from tallystick.errors import Corrupt, OutcomeUnknown, TallystickError, Unavailable

BUNDLE_MAX = 1_000
"""Requests in a bundle, of which two are under way: gateway and client each work on one."""
BUNDLE_BYTES_MAX = 1_048_576
BUNDLES_AT_ONCE = 2

NOT_DECIDED = 202
TOO_LARGE = 413


class _Row(msgspec.Struct):
    id: str
    status: str
    timestamp: str


class _Told(msgspec.Struct):
    """What a bundle's answer tells of one request."""

    status: str
    request_id: str = ""
    replayed: bool = False
    results: list[_Row] = []
    problem: dict[str, Any] = {}
    retry_after: int = 0


class _Results(msgspec.Struct):
    results: list[_Told]


_decoder = msgspec.json.Decoder(_Results)


class _Member:
    """One request on its way, and the coroutine that waits for its outcome."""

    __slots__ = ("asking", "body", "future", "question")

    def __init__(self, question: Question[Outcome], asking: Asking, future: "asyncio.Future[Outcome]") -> None:
        self.question = question
        self.body = question.bundled
        self.asking = asking
        self.future = future


class Bundler:
    """The payments of one client that wait to be sent, or for their outcomes. Lives on one event loop."""

    def __init__(self, api: AsyncApi, bundle_max: int = BUNDLE_MAX) -> None:
        self._api = api
        self._bundle_max = bundle_max
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Member] = deque()
        self._kick_scheduled = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._paused: dict[asyncio.TimerHandle, list[_Member]] = {}
        self._closed = False

    def put(self, question: Question[Outcome], asking: Asking) -> "asyncio.Future[Outcome]":
        """Have it asked until its outcome is known. The future raises `StillUnknown`, `Unavailable` or `ApiProblem`."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append(_Member(question, asking, future))
        self._kick_soon()
        return future

    def _kick_soon(self) -> None:
        if not self._kick_scheduled and len(self._under_way) < BUNDLES_AT_ONCE:
            self._kick_scheduled = True
            # Not at once: all who pay in this turn of the loop shall come along.
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kick_scheduled = False
        while self._waiting and len(self._under_way) < BUNDLES_AT_ONCE:
            members = self._take()
            if members:
                task = self._loop.create_task(self._send(members))
                self._under_way.add(task)
                task.add_done_callback(self._sent)

    def _take(self) -> list[_Member]:
        members: list[_Member] = []
        size = 0
        while self._waiting and len(members) < self._bundle_max:
            if members and size + len(self._waiting[0].body) > BUNDLE_BYTES_MAX:
                break
            member = self._waiting.popleft()
            if not member.future.done():  # its caller may have gone before it was sent
                members.append(member)
                size += len(member.body)
        return members

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._kick_soon()

    async def _send(self, members: list[_Member]) -> None:
        body = b'{"requests":[%s]}' % b",".join([member.body for member in members])
        try:
            answer = await self._api.ask("POST", "/v1/bundles", body)
            self._answered(members, answer)
        except (Unavailable, OutcomeUnknown) as error:
            self._again([(member, member.asking.failed(error)) for member in members])
        except BaseException as error:
            # A bug or a cancelled task: whatever it was, nobody may wait for ever, nor take it for a refusal.
            for member in members:
                _fail(member, OutcomeUnknown(f"no answer could be read ({type(error).__name__}: {error})"))
            if not isinstance(error, Exception):
                raise

    def _answered(self, members: list[_Member], answer: Answer) -> None:
        if answer.status == 200:
            told = _decoder.decode(answer.body).results
            if len(told) != len(members):
                raise Corrupt(f"{len(members)} requests were sent in a bundle, and {len(told)} results came back")
            self._told(members, told)
            return
        if answer.status == TOO_LARGE and len(members) > 1:
            self._bundle_max = len(members) // 2
            self._waiting.extendleft(reversed(members))
            return
        problem = questions.problem(answer.status, answer.json())
        again = []
        for member in members:
            wait_s = member.asking.answered(answer.status, answer.headers, problem.detail)
            if wait_s is None:
                _fail(member, problem)
            else:
                again.append((member, wait_s))
        self._again(again)

    def _told(self, members: list[_Member], told: Sequence[_Told]) -> None:
        again = []
        for member, each in zip(members, told, strict=True):
            if each.request_id and each.request_id != member.question.request_id:
                raise Corrupt(f"asked about {member.question.request_id}, told of {each.request_id}")
            if each.status == "decided":
                if not member.future.done():
                    row = each.results[0]
                    member.future.set_result(
                        questions.row_outcome(row.id, row.status, row.timestamp, each.request_id, each.replayed)
                    )
                continue
            problem = questions.problem(0, each.problem)
            http = NOT_DECIDED if each.status == "not_decided" else int(each.problem["status"])
            wait_s = member.asking.answered(http, {"Retry-After": str(each.retry_after)}, problem.detail)
            if wait_s is None:
                _fail(member, questions.problem(http, each.problem))
            else:
                again.append((member, wait_s))
        self._again(again)

    def _again(self, members: list[tuple[_Member, float]]) -> None:
        """Ask again for these after a while, together: each for itself would travel alone from then on."""
        patient = []
        for member, wait_s in members:
            if self._closed or member.asking.out_of_time(wait_s):
                _fail(member, member.asking.verdict())
            else:
                patient.append(member)
        if not patient:
            return
        wait_s = max(wait_s for _, wait_s in members)
        timer: asyncio.TimerHandle

        def resume() -> None:
            del self._paused[timer]
            self._waiting.extend(patient)
            self._kick_soon()

        timer = self._loop.call_later(wait_s, resume)
        self._paused[timer] = patient

    async def close(self) -> None:
        """Ask no more: who still waits learns what is known, which may be nothing."""
        self._closed = True
        for timer in self._paused:
            timer.cancel()
        left = [*self._waiting, *(member for members in self._paused.values() for member in members)]
        self._waiting.clear()
        self._paused.clear()
        for member in left:
            _fail(member, member.asking.verdict())
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _fail(member: _Member, error: TallystickError) -> None:
    if member.future.done():
        return
    if isinstance(error, Unavailable | OutcomeUnknown):
        error = member.question.failure(error)
    member.future.set_exception(error)
