"""The RSGI application: finds the route, checks the key, turns whatever is raised into a problem.

One dispatch on path and method, no middleware: each layer would cost every payment a microsecond or two.
"""

import asyncio
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec
import structlog
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from tallystick.clock import Entropy
from tallystick.errors import Invalid, OutcomeUnknown, Unavailable
from tallystick.gateway import headers, problems
from tallystick.gateway.answering import JSON, Answer
from tallystick.gateway.auth import Keys, Principal, lacking
from tallystick.gateway.calls import Call, Route, Scope, Service, Transport
from tallystick.gateway.openapi import document
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import accounts, operations, requests, transfers

_NOBODY = Principal(0, "", frozenset())
_NO_ARGUMENTS: tuple[str, ...] = ()


class App:
    """Answers every HTTP exchange. Lives on one event loop."""

    def __init__(self, service: Service, keys: Keys, entropy: Entropy) -> None:
        self.open_exchanges = 0
        """Exchanges begun and not yet answered."""
        self._service = service
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("tallystick.gateway")
        self._prefix = entropy(6).hex()
        self._count = 0
        self.routes = (*transfers.ROUTES, *accounts.ROUTES, *requests.ROUTES, *operations.ROUTES, self._openapi_route())
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

    async def __rsgi__(self, scope: Scope, transport: Transport) -> None:
        """One HTTP exchange."""
        self.open_exchanges += 1
        name = "none"
        exchange = ""
        try:
            items = scope.headers.items()
            given = dict(items)
            if len(given) != len(items):
                given = headers.single_valued(items)
            if len(given) > headers.HEADERS_MAX:
                raise headers.too_many()
            asked = given.get("x-request-id")
            exchange = (asked and headers.exchange(asked)) or self._new_exchange()
            path = scope.path
            methods = self._exact.get(path)
            arguments = _NO_ARGUMENTS
            if methods is None:
                methods, arguments = self._find(path)
            route = methods.get(scope.method)
            if route is None:
                raise self._not_allowed(methods)
            name = route.name
            principal = _NOBODY
            if route.scope is not None:
                principal = self._keys.principal(given.get("authorization"), self._loop.time())
                if route.scope not in principal.scopes:
                    raise lacking(route.scope)
            media, body = "", b""
            if route.takes:
                media = given.get("content-type", "")
                if media not in route.takes:
                    media = headers.content_type(media, tuple(route.takes))
                body = await self._service.bodies.read(transport, given)
            call = Call(self._service, principal, given, arguments, scope.query_string, media, body)
            status, content_type, more, answer = await route.handle(call)
        except ProtocolClosed:
            return  # gone before its body had arrived: nothing was taken on
        except Exception as error:
            exchange = exchange or self._new_exchange()
            problem = self._problem(error, exchange, name)
            status, content_type, answer = problem.type.http, problems.CONTENT_TYPE, problem.body(exchange)
            more = tuple(problem.headers.items())
        finally:
            self.open_exchanges -= 1
        self._service.metrics.answers[(name, status // 100)] += 1
        sent = [("content-type", content_type), ("x-request-id", exchange), *more]
        try:
            transport.response_bytes(status, sent, answer)
        except ProtocolClosed:
            return  # the client is gone; what it asked for is recorded, and it may ask again

    def _new_exchange(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count:x}"

    @staticmethod
    def _not_allowed(methods: Iterable[str]) -> Problem:
        allowed = ", ".join(sorted(methods))
        return Problem("method_not_allowed", f"this path takes {allowed}", {"allow": allowed})

    def _problem(self, error: Exception, exchange: str, route: str) -> Problem:
        """What to answer. Only what should not happen is logged: a line for each refusal would be a flood."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, Invalid):
            return problems.invalid(error)
        if isinstance(error, Unavailable):
            return problems.unavailable(str(error))
        if isinstance(error, OutcomeUnknown):
            self._log.warning("outcome unknown", exchange=exchange, route=route, error=str(error))
            return Problem("outcome_unknown", str(error))
        self._log.error("internal error", exchange=exchange, route=route, exc_info=error)
        return Problem("internal_error", "what became of this request is not known; ask again with the same key")
