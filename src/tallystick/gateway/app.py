"""The application: finds the route, checks the key, turns whatever is raised into a problem.

One dispatch on path and method, no middleware: each layer would cost every payment a microsecond or two.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from urllib.parse import unquote

import msgspec
import structlog

from tallystick.acts.entries import NONCE_SIZE, Act, encode
from tallystick.acts.port import ACCESS, CONTROL
from tallystick.clock import Entropy
from tallystick.errors import OutcomeUnknown
from tallystick.gateway import headers, problems
from tallystick.gateway.answering import JSON, Answer, Headers, Outstanding
from tallystick.gateway.auth import Keys, lacking
from tallystick.gateway.calls import Call, Exchange, Route, Service
from tallystick.gateway.openapi import document
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import (
    accounts,
    bundles,
    log,
    operations,
    payments,
    reading,
    requests,
    transfers,
    webhooks,
)
from tallystick.gateway.sharding import Shards
from tallystick.gateway.trickle import Trickle

NOT_YET = 202
TURNS_AHEAD = 2
"""A lane lets its block go after a turn of the loop that brought nothing, which it knows two turns after the last
payment. So long what is gathered is looked at first, since callbacks run in the order in which they were asked for."""


class App:
    """Answers every HTTP exchange. Lives on one event loop."""

    def __init__(self, service: Service, keys: Keys, entropy: Entropy, shards: Shards | None = None) -> None:
        """`service` is that of the first shard; `shards` has all of them, if there are more."""
        self._service = service
        self._shards = shards
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("tallystick.gateway")
        self._late = Trickle()
        self._entropy = entropy
        self._prefix = entropy(6).hex()
        self._exchanges = 0
        self._position = 0
        self._position_header: Headers = ()
        self._gathered: deque[tuple[Exchange, bytes, Callable[[Answer], None]]] = deque()
        self._turns_left = 0  # that `_answer_gathered` comes by for, whether there is something or not
        self._tasks: set[asyncio.Task[None]] = set()  # the loop keeps no hold of them
        self.routes = (
            *transfers.ROUTES,
            *bundles.ROUTES,
            *payments.ROUTES,
            *accounts.ROUTES,
            *reading.ROUTES,
            *requests.ROUTES,
            *webhooks.ROUTES,
            *log.ROUTES,
            *operations.ROUTES,
            self._openapi_route(),
        )
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[list[str], dict[str, Route]]] = []
        for route in self.routes:
            self._add(route)
        self._description = msgspec.json.encode(document(self.routes))

    def _openapi_route(self) -> Route:
        async def openapi(_call: Call) -> Answer:
            return 200, JSON, (), self._description

        return Route("GET", "/openapi.json", "openapi", openapi, "This description.", gives={200: {JSON: None}})

    def _add(self, route: Route) -> None:
        if "{" not in route.path:
            self._exact.setdefault(route.path, {})[route.method] = route
            return
        parts = route.path.split("/")
        for known, methods in self._patterns:
            if known == parts:
                methods[route.method] = route
                return
        self._patterns.append((parts, {route.method: route}))

    def _find(self, path: str) -> tuple[dict[str, Route], tuple[str, ...]]:
        asked = path.split("/")
        for parts, methods in self._patterns:
            if len(parts) == len(asked):
                pairs = list(zip(parts, asked, strict=True))
                if all(part == given or (given and part[:1] == "{") for part, given in pairs):
                    return methods, tuple(unquote(given) for part, given in pairs if part[:1] == "{")
        raise Problem("not_found", "there is no such path")

    def begin(self, head: headers.Head) -> Exchange:
        """Look at the head of a request: its route, its key, its media type. What is wrong stands in `problem`."""
        fields = head.fields
        asked = fields.get("x-request-id")
        exchange = Exchange((asked and headers.exchange(asked)) or self._new_exchange(), fields)
        exchange.bodiless = head.method == b"HEAD"
        try:
            head.check()
            target = head.target.decode("latin-1")
            if target[:1] != "/":
                target = headers.origin_form(target)
            path, _, exchange.query = target.partition("?")
            methods = self._exact.get(path)
            if methods is None:
                methods, exchange.arguments = self._find(path)
            route = methods.get(head.method.decode("latin-1"))
            if route is None:
                raise self._not_allowed(methods)
            exchange.route = route
            if route.scope is not None:
                exchange.principal = self._keys.principal(fields.get("authorization"), self._loop.time())
                if route.scope not in exchange.principal.scopes:
                    raise lacking(route.scope)
            if route.takes:
                media = fields.get("content-type", "")
                exchange.media = media if media in route.takes else headers.content_type(media, tuple(route.takes))
                if "content-length" not in fields and "transfer-encoding" not in fields:
                    raise Problem("length_required", "send Content-Length, or Transfer-Encoding: chunked")
        except Exception as error:
            exchange.problem = self._problem(error, exchange)
        return exchange

    def answer(self, exchange: Exchange, body: bytes, say: Callable[[Answer], None]) -> None:
        """Have it answered; what is `gathered`, with all others that this turn of the loop reads."""
        route = exchange.route
        if route is None or not route.gathered:
            self._answer(exchange, body, say)
            return
        self._gathered.append((exchange, body, say))
        if not self._turns_left:
            self._turns_left = TURNS_AHEAD
            self._loop.call_soon(self._answer_gathered)

    def _answer_gathered(self) -> None:
        gathered = self._gathered
        self._turns_left = TURNS_AHEAD if gathered else self._turns_left - 1
        if self._turns_left:
            self._loop.call_soon(self._answer_gathered)
        while gathered:
            self._answer(*gathered.popleft())

    def _answer(self, exchange: Exchange, body: bytes, say: Callable[[Answer], None]) -> None:
        """Have the handler answer. A payment costs no task: its handler returns what it waits for (`Outstanding`)."""
        try:
            route = exchange.route
            if route is not None and route.acts and exchange.principal.id:
                found: Awaitable[Answer] | Outstanding = self._noted(exchange, route, body)
            else:
                found = self._handled(exchange, route, body)
        except Exception as error:
            self._refuse(exchange, error, say)
            return
        if isinstance(found, Outstanding):
            found.tell(partial(self._decided, exchange, say))
        else:
            task = self._loop.create_task(self._await(exchange, found, say))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _handled(self, exchange: Exchange, route: Route | None, body: bytes) -> Awaitable[Answer] | Outstanding:
        if exchange.problem is not None:
            raise exchange.problem
        assert route is not None  # else there is a problem
        service = self._service
        if self._shards is not None and exchange.principal.tenant:
            service = exchange.service = self._shards.service_of(exchange.principal.tenant, self._loop.time())
        return route.handle(
            Call(
                service,
                exchange.principal,
                exchange.headers,
                exchange.arguments,
                exchange.query,
                exchange.media,
                body if route.takes else b"",
            )
        )

    async def _noted(self, exchange: Exchange, route: Route, body: bytes) -> Answer:
        """The answer, noted before it is given; or what changes something, noted before it is done."""
        if route.acts == CONTROL:
            await self._note(exchange, route, "asked")
        try:
            found = self._handled(exchange, route, body)
            assert not isinstance(found, Outstanding)  # payments are entries of the journal, and noted nowhere else
            answer = await found
        except Exception as error:
            if route.acts == ACCESS:
                await self._note(exchange, route, str(self._problem(error, exchange).type.http))
            raise
        if route.acts == ACCESS:
            await self._note(exchange, route, str(answer[0]))
        return answer

    async def _note(self, exchange: Exchange, route: Route, result: str) -> None:
        act = Act(
            act=route.name,
            at_ns=self._service.clock.wall_ns(),
            by=exchange.principal.id,
            via="gateway",
            nonce=self._entropy(NONCE_SIZE),
            tenant=exchange.principal.tenant,
            target="/".join(exchange.arguments),
            result=result,
        )
        await self._service.acts.append(route.acts, encode(act))

    def _decided(self, exchange: Exchange, say: Callable[[Answer], None], outstanding: Outstanding) -> None:
        try:
            answer = outstanding.answer()
        except Exception as error:
            self._refuse(exchange, error, say)
        else:
            self._count(exchange, answer)
            say(self._positioned(answer, exchange))

    async def _await(self, exchange: Exchange, answering: Awaitable[Answer], say: Callable[[Answer], None]) -> None:
        try:
            answer = await answering
        except Exception as error:
            self._refuse(exchange, error, say)
        else:
            self._count(exchange, answer)
            told = exchange.route is not None and exchange.route.tells_outcomes
            say(self._positioned(answer, exchange) if told else answer)

    def _positioned(self, answer: Answer, exchange: Exchange) -> Answer:
        """The answer with a position from which on reads show what it tells, if it tells an outcome."""
        status, media, more, body = answer
        if status == NOT_YET:
            return answer
        position = (exchange.service or self._service).link.position
        if position != self._position:  # one for all payments of a block
            self._position = position
            self._position_header = (("tally-position", str(position)),)
        return status, media, self._position_header + more if more else self._position_header, body

    def _refuse(self, exchange: Exchange, error: Exception, say: Callable[[Answer], None]) -> None:
        problem = self._problem(error, exchange)
        answer = problem.type.http, problems.CONTENT_TYPE, tuple(problem.headers.items()), problem.body(exchange.id)
        self._count(exchange, answer)
        say(answer)

    def _count(self, exchange: Exchange, answer: Answer) -> None:
        self._service.metrics.answers[(exchange.name, answer[0] // 100)] += 1
        if answer[0] == NOT_YET and "prefer" not in exchange.headers:
            self._tell_late(exchange, dict(answer[2]).get("location", ""))

    def _tell_late(self, exchange: Exchange, location: str) -> None:
        """A request that nobody wanted to be late is: its id leads to the engine's log, if something is said there."""
        unsaid = self._late.admit(self._loop.time())
        if unsaid is not None:
            request_id = location.rpartition("/")[2].partition("?")[0]
            self._log.warning(
                "outcome not known in time",
                exchange=exchange.id,
                route=exchange.name,
                request_id=request_id,
                tenant=exchange.principal.tenant,
                unsaid=unsaid,
            )

    def _new_exchange(self) -> str:
        self._exchanges += 1
        return f"{self._prefix}-{self._exchanges:x}"

    @staticmethod
    def _not_allowed(methods: Iterable[str]) -> Problem:
        allowed = ", ".join(sorted(methods))
        return Problem("method_not_allowed", f"this path takes {allowed}", {"allow": allowed})

    def _problem(self, error: Exception, exchange: Exchange) -> Problem:
        """What to answer. Only what should not happen is logged: a line for each refusal would be a flood."""
        if isinstance(error, OutcomeUnknown):
            self._log.warning("outcome unknown", exchange=exchange.id, route=exchange.name, error=str(error))
        found = problems.of(error)
        if found is not None:
            return found
        self._log.error("internal error", exchange=exchange.id, route=exchange.name, exc_info=error)
        return Problem("internal_error", "what became of this request is not known; ask again with the same key")
