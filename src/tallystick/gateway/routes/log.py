"""The audit log as c2sp.org/tlog-tiles serves it, and the receipt of a transfer (c2sp.org/tlog-proof).

Checkpoints are for everyone. Tiles and bundles hold all tenants' entries, so they want a key of its own scope; one that
is missing is a 404, on which other readers fall back to the full tile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from tallystick import ids
from tallystick.acts.port import ACCESS, CONTROL
from tallystick.errors import Invalid, InvalidProof
from tallystick.gateway.answering import BINARY, Answer
from tallystick.gateway.auth import AUDIT, READ
from tallystick.gateway.calls import Call, Route
from tallystick.gateway.logpages import LogPages
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import looking
from tallystick.records import openings
from tallystick.tlog.tiles import parse_path

LOGGED, WITNESSED = "logged", "witnessed"
TEXT = "text/plain; charset=utf-8"
OF_SHARD = "of_shard"
"""The ledger's log of the shard that the path names."""
DEPTH_MAX = 5
"""Parts of a tile's path after its level: enough for 10^12 tiles and the width of a partial one."""
_GRADES = {"grade": "logged (the default): the log signed; witnessed: a quorum of witnesses cosigned, too"}
_BRIEF = (("cache-control", "public, max-age=2"),)
_FOR_EVER = (("cache-control", "private, max-age=31536000, immutable"),)
_PRIVATE = (("cache-control", "private, no-store"),)


def _pages(call: Call, log: str) -> LogPages:
    """Of the ledger's logs the one of the shard that the path names; without one, that of shard 0."""
    if log and log != OF_SHARD:
        return call.service.act_logs[log]
    every = call.service.all
    if not log:
        return every[0].log
    number = call.arguments[0]
    if not number.isdecimal() or int(number) >= len(every):
        raise Problem("not_found", f"there is no shard {number}; there are {len(every)}, from 0 on")
    return every[int(number)].log


def _checkpoint(log: str) -> Callable[[Call], Awaitable[Answer]]:
    async def checkpoint(call: Call) -> Answer:
        """The last checkpoint, signed."""
        witnessed = _grade(call) == WITNESSED
        found = await asyncio.to_thread(_pages(call, log).checkpoint, witnessed)
        if found is None and witnessed:
            raise Problem("not_found", "no checkpoint of this log was cosigned by a quorum of witnesses")
        if found is None:
            raise Problem("not_found", "no checkpoint is published yet; it takes a second after the first start")
        return 200, TEXT, _BRIEF, found

    return checkpoint


def _tile(log: str) -> Callable[[Call], Awaitable[Answer]]:
    async def tile(call: Call) -> Answer:
        """A tile of hashes, or a bundle of entries."""
        path = "/".join(("tile", *(call.arguments[1:] if log == OF_SHARD else call.arguments)))
        try:
            asked = parse_path(path)
        except InvalidProof as error:
            raise Problem("not_found", str(error)) from error
        found = await asyncio.to_thread(_pages(call, log).tile, asked)
        if found is None:
            raise Problem("not_found", f"the published tree has no {path}")
        return 200, BINARY, _FOR_EVER, found

    return tile


async def receipt(call: Call) -> Answer:
    """Why the transfer is in the log, for anyone to check offline."""
    witnessed = _grade(call) == WITNESSED
    number = looking.path_id(call)
    tenant = call.principal.tenant
    link = call.service.link
    # The transfer as it is shown, too: the leaf of a post or void leaves out what it inherits.
    seqs, shown = await asyncio.gather(link.seqs(tenant, [number]), link.transfers(tenant, [number]))
    if not seqs or not len(shown):
        raise Problem("not_found", f"this tenant has no transfer {ids.show(number)}")
    ledger = int(shown[0]["ledger"])

    def extra(entry: bytes) -> bytes:
        commitment = openings.commitment_of(entry)
        text = call.service.texts.opened(tenant, commitment) if any(commitment) else None
        return openings.pack(entry, text, call.service.currencies.of(tenant, ledger))

    found = await asyncio.to_thread(call.service.log.receipt, seqs[0], extra, witnessed)
    return 200, TEXT, _PRIVATE, found


def _grade(call: Call) -> str:
    """What stands behind what is asked for. Raises `Invalid`."""
    asked = parse_qs(call.query, keep_blank_values=True)
    grade = asked.pop("grade", [LOGGED])
    if asked or len(grade) != 1 or grade[0] not in (LOGGED, WITNESSED):
        raise Invalid("grade", f"the query may be grade={LOGGED} or grade={WITNESSED}")
    return grade[0]


def _routes(log: str, what: str) -> tuple[Route, ...]:
    """Checkpoint and tiles of one log; the empty name is that of the ledger in shard 0."""
    below, name = (f"/v1/log/{log}", f"log_{log}") if log else ("/v1/log", "log")
    if log == OF_SHARD:
        below = "/v1/shards/{shard}/log"
    return (
        Route(
            "GET",
            f"{below}/checkpoint",
            f"{name}_checkpoint",
            _checkpoint(log),
            f"The last checkpoint of {what}: origin, size and root, signed (c2sp.org/tlog-checkpoint).",
            gives={200: {TEXT: None}},
            problems=("invalid_field", "not_found"),
            query=_GRADES,
        ),
        *(
            Route(
                "GET",
                f"{below}/tile/{{level}}" + "".join(f"/{{n{part}}}" for part in range(1, depth + 1)),
                f"{name}_tile" if depth == 1 else f"{name}_tile_{depth}",
                _tile(log),
                f"A tile of the tree of {what}, or a bundle of its entries (c2sp.org/tlog-tiles). The parts of the "
                "path after the level are the tile's number in groups of three digits, and the width of a partial one.",
                AUDIT,
                gives={200: {BINARY: None}},
                problems=("not_found", "unavailable"),
                acts=ACCESS,
            )
            for depth in range(1, DEPTH_MAX + 1)
        ),
    )


ROUTES = (
    *_routes("", "the audit log (with several shards, that of shard 0)"),
    *_routes(OF_SHARD, "the audit log of a shard"),
    *_routes(ACCESS, "the log of who read what"),
    *_routes(CONTROL, "the log of who changed what"),
    Route(
        "GET",
        "/v1/transfers/{id}/receipt",
        "receipt",
        receipt,
        "Why a created transfer is in the audit log, to be verified offline by `tally audit verify` or others who read "
        "c2sp.org/tlog-proof. A transfer is under a checkpoint about a second after its outcome; before that this is a "
        "503 with Retry-After.",
        READ,
        gives={200: {TEXT: None}},
        problems=looking.LOOKUP_PROBLEMS,
        query=_GRADES,
    ),
)
