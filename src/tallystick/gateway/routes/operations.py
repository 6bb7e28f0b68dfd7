"""For those who run it: health, readiness, metrics, and what the API is."""

import asyncio

import msgspec

from tallystick.errors import Unavailable
from tallystick.gateway import shapes
from tallystick.gateway.answering import JSON, Answer
from tallystick.gateway.auth import METRICS
from tallystick.gateway.calls import Call, Route, Service
from tallystick.gateway.metrics import CONTENT_TYPE as METRICS_TEXT
from tallystick.gateway.problems import Problem

ENGINE_S = 1.0
"""How quickly the engine must answer to count as being there."""
_HEALTHY: Answer = (200, JSON, (), b'{"status":"ok"}')
_READY: Answer = (200, JSON, (), b'{"status":"ready"}')


async def health(_call: Call) -> Answer:
    """The process runs and answers; nothing else is looked at."""
    return _HEALTHY


async def ready(call: Call) -> Answer:
    """Whether payments would be taken on and decided; by one shard of several, at least."""
    found = await asyncio.gather(*map(_impediments, call.service.all))
    if not any(found):
        return _READY
    reasons = found[0]
    if len(found) > 1:
        reasons = [f"shard {number} {why}" for number, those in enumerate(found) for why in those]
        if not all(found):  # the others' tenants are none the worse for it, and there may be no other gateway
            return 200, JSON, (), msgspec.json.encode({"status": "partly_ready", "reasons": reasons})
    raise Problem("not_ready", f"not ready: {', '.join(reasons)}", {"retry-after": "1"}, reasons=reasons)


async def _impediments(service: Service) -> list[str]:
    """Why a shard would decide no payment."""
    reasons = service.requests.impediments()
    try:
        async with asyncio.timeout(ENGINE_S):
            await service.link.positions()
    except (Unavailable, TimeoutError):
        reasons.insert(0, "engine")
    return reasons


async def metrics(call: Call) -> Answer:
    """What this process counts."""
    return 200, METRICS_TEXT, (), call.service.metrics.render()


ROUTES = (
    Route("GET", "/health", "health", health, "Whether this process runs.", gives={200: {JSON: shapes.Health}}),
    Route(
        "GET",
        "/ready",
        "ready",
        ready,
        "Whether this gateway should get traffic: the engine answers, disk and queue are fine.",
        gives={200: {JSON: shapes.Ready}},
        problems=("not_ready",),
    ),
    Route(
        "GET",
        "/metrics",
        "metrics",
        metrics,
        "What this gateway process counts, of all tenants, as Prometheus text.",
        METRICS,
        gives={200: {METRICS_TEXT: None}},
    ),
)
