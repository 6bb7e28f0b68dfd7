"""What a handler gets, and how a route describes itself to the dispatcher and to OpenAPI."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tallystick.answers.port import EngineLink
from tallystick.clock import Clock
from tallystick.gateway.answering import Answer, Outstanding
from tallystick.gateway.auth import Principal
from tallystick.gateway.logpages import LogPages
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.problems import Problem
from tallystick.gateway.requests import Requests
from tallystick.inquiries.port import Inquiries
from tallystick.metadata.store import Text
from tallystick.records.commitments import Opening
from tallystick.records.openings import Currency


class Acts(Protocol):
    """Where acts are noted (`acts.entries`)."""

    async def append(self, log: str, entry: bytes) -> None:
        """**Durable on return.** Raises `Unavailable` if it cannot be: what was to be noted must not happen then."""
        ...


class Texts(Protocol):
    """Text that comes with payments, by its commitment. Calls take milliseconds: never on the event loop."""

    def keep(self, tenant: int, texts: Sequence[Text]) -> list[bytes]:
        """Keep texts, encrypted, all or none; returns their commitments. **Durable on return.** Raises
        `Unavailable`."""
        ...

    def opened(self, tenant: int, commitment: bytes) -> dict[str, Opening] | None:
        """What opens a commitment; None if that is not here, or erased."""
        ...


class Currencies(Protocol):
    """What was said of ledgers (`acts.currencies`). Calls read a file: never on the event loop."""

    def of(self, tenant: int, ledger: int) -> Currency | None:
        """Currency and scale of a tenant's ledger; None if nobody said. Raises `Unavailable`, `Corrupt`."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What handlers work with."""

    wait_s: float
    """How long a request waits for its outcome unless it says."""
    requests: Requests
    link: EngineLink
    metrics: Metrics
    clock: Clock
    followers: Mapping[str, Inquiries]
    """By name, those that may be asked; whether they run or not."""
    log: LogPages
    """The audit log of this shard, read from its files."""
    acts: Acts
    """Where acts are noted."""
    texts: Texts
    """Text that comes with payments."""
    act_logs: Mapping[str, LogPages]
    """The logs of acts, by name."""
    currencies: Currencies
    """What ledgers' numbers mean, for receipts."""
    shard: int = 0
    every: Sequence["Service"] = ()
    """Those of all shards, by number, itself among them; empty where there is one."""

    @property
    def all(self) -> Sequence["Service"]:
        """Those of all shards, by number."""
        return self.every or (self,)


class Call:
    """One HTTP exchange: its key checked, its body read. `arguments` are the variable parts of the path."""

    __slots__ = ("arguments", "body", "headers", "media", "principal", "query", "service")

    def __init__(
        self,
        service: Service,
        principal: Principal,
        headers: Mapping[str, str],
        arguments: tuple[str, ...],
        query: str,
        media: str,
        body: bytes,
    ) -> None:
        """`media` is the media type of the body, one that the route takes; both are empty if it takes none."""
        self.service = service
        self.principal = principal
        self.headers = headers
        self.arguments = arguments
        self.query = query
        self.media = media
        self.body = body


Handler = Callable[[Call], Awaitable[Answer] | Outstanding]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, who may use it, and what OpenAPI tells of it.

    `path` has its variable parts in braces. `takes` and `gives` map content types, and HTTP statuses with content
    types, to the struct of the body, or to None where the body is no JSON. `problems` are those beyond the ones
    every route can give.
    """

    method: str
    path: str
    name: str
    handle: Handler
    summary: str
    scope: str | None = None
    takes: Mapping[str, Any] = field(default_factory=dict)
    gives: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    request: bool = False
    """Whether it is a request in the sense of DESIGN §2: with an id, a wait and an expiry."""
    bundle: bool = False
    """Whether it carries requests, which have ids and expiries of their own: only the wait is its own."""
    keyed: bool = False
    """Whether it takes an `Idempotency-Key` and is no such request: the same key has the same answer for a day."""
    versioned: bool = False
    """Whether it gives an `ETag`, and takes `If-Match` where it changes something."""
    read: bool = False
    """Whether it is of some position of the journal, and may wait for one that the client names."""
    acts: str = ""
    """The log of acts that it is noted in: `access`, before it is answered, or `control`, before it is done."""
    gathered: bool = False
    """Whether those that one turn of the loop reads are answered together, once all are read: the same code again and
    again, which stays in the processor's nearest cache (ADR 0007)."""
    recalls: bool = False
    """Whether it tells what became of an earlier request."""

    @property
    def tells_outcomes(self) -> bool:
        """Whether its answers carry a position from which on reads show what they tell (`Tally-Position`)."""
        return self.request or self.bundle or self.recalls


_NOBODY = Principal(0, "", frozenset())
_NO_ARGUMENTS: tuple[str, ...] = ()


class Exchange:
    """What is known of one HTTP exchange before its body has come."""

    __slots__ = ("arguments", "bodiless", "headers", "id", "media", "principal", "problem", "query", "route", "service")

    def __init__(self, exchange_id: str, fields: Mapping[str, str]) -> None:
        """`exchange_id` is echoed in `X-Request-Id`."""
        self.id = exchange_id
        self.headers = fields
        self.route: Route | None = None
        self.principal = _NOBODY
        self.arguments = _NO_ARGUMENTS
        self.query = ""
        self.media = ""
        self.problem: Problem | None = None
        self.service: Service | None = None
        """That of its tenant's shard, where there are several."""
        self.bodiless = False
        """Whether the answer goes without its body (HEAD)."""

    @property
    def name(self) -> str:
        """Of the route, for metrics and logs."""
        return self.route.name if self.route is not None else "none"
