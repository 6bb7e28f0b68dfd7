"""Requests: told apart in a block of commands, and known ones recognised (DESIGN §2).

A request is decided once. One that comes again with the same content gets its first results and makes no entry;
with other content it is told so. That is found out here, before the ledger sees any of it.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.errors import Corrupt
from tallystick.ledger import hashing, windows
from tallystick.ledger.compiled import U64, compiled, inlined
from tallystick.records.commands import VERSION, Kind

KIND_FIRST = int(Kind.TRANSFER)
KIND_LAST = int(Kind.CONTROL)
NONE = -1
_I64, _U64 = np.dtype("<i8"), np.dtype("<u8")


class Requests(NamedTuple):
    """The requests of one batch: where each starts, how many commands it has, the hash of its (tenant, id)."""

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    ids_lo: npt.NDArray[np.uint64]
    ids_hi: npt.NDArray[np.uint64]
    earlier: npt.NDArray[np.int64]  # the first request of this batch with the same (tenant, id), or NONE
    repeats: int  # how many have such an earlier one


class Admission(IntEnum):
    """What becomes of a request."""

    DECIDE = 0
    REPEAT = 1  # decided in an earlier block
    REPEAT_OF_THIS_BATCH = 2
    KEY_REUSED = 3
    ELSEWHERE = 4  # its tenant lives in another shard, or is on its way to one


class Admissions(NamedTuple):
    """For each request of a batch what becomes of it, and for a REPEAT the seq of its first entry."""

    what: npt.NDArray[np.int8]
    position: npt.NDArray[np.int64]


@inlined
def same_request(a: Any, b: Any) -> Any:
    """Whether two commands, or entries, belong to one (tenant, request id)."""
    return a.tenant == b.tenant and a.request_id_lo == b.request_id_lo and a.request_id_hi == b.request_id_hi


@inlined
def _find_earlier(commands: Any, found: Any, starts: Any, hashes: Any, table: Any, earlier: Any) -> Any:
    met = 0
    for r in range(found):
        earlier[r] = NONE
        hashed = hashes[r]
        position, cursor = windows.find(table, hashed, windows.start(table, hashed))
        while position != windows.NOT_FOUND:
            if same_request(commands[starts[r]], commands[starts[position]]):
                earlier[r] = np.int64(position)
                met += 1
                break
            position, cursor = windows.find(table, hashed, cursor)
        if earlier[r] == NONE:
            windows.put(table, hashed, U64(r))
    return met


@compiled
def _split(
    commands: Any, keys: Any, starts: Any, counts: Any, earlier: Any, hashes: Any, ids_lo: Any, ids_hi: Any, table: Any
) -> Any:
    """(requests found, those with an earlier one of the same id); (−1 − k, 0) if command k breaks a rule."""
    found = 0
    due = np.int64(0)  # commands of the open request still to come
    for k in range(commands.shape[0]):
        command = commands[k]
        if command.version != VERSION or command.kind < KIND_FIRST or command.kind > KIND_LAST:
            return -1 - k, 0
        if due == 0:
            if command.index != 0 or command.count == 0:
                return -1 - k, 0
            starts[found] = k
            counts[found] = command.count
            ids_lo[found] = command.request_id_lo
            ids_hi[found] = command.request_id_hi
            hashes[found] = hashing.hash_id(keys, command.tenant, command.request_id_lo, command.request_id_hi)
            found += 1
            due = np.int64(command.count)
        else:
            first = commands[starts[found - 1]]
            if command.index != k - starts[found - 1] or command.kind != first.kind or command.count != first.count:
                return -1 - k, 0
            if not same_request(command, first):
                return -1 - k, 0
        due -= 1
    if due != 0:
        return -1 - commands.shape[0], 0
    return found, _find_earlier(commands, found, starts, hashes, table, earlier)


def split(commands: npt.NDArray[np.void], keys: npt.NDArray[np.uint64]) -> Requests:
    """The requests of a batch of whole requests, one after the other. Raises `Corrupt` if it is not that.

    Only a gateway writes blocks, and it checked them: a malformed one is no client's bad input.
    """
    count = len(commands)
    starts, counts, earlier = np.empty((3, count), _I64)
    hashes, ids_lo, ids_hi = np.empty((3, count), _U64)
    table = np.zeros((windows.slots_for(count), 2), _U64)
    found, repeats = _split(commands, keys, starts, counts, earlier, hashes, ids_lo, ids_hi, table)
    if found < 0:
        raise Corrupt(f"command {-1 - found} of a block does not continue a request, or is of unknown kind or version")
    if found < count:
        starts, counts, earlier = starts[:found], counts[:found], earlier[:found]
        hashes, ids_lo, ids_hi = hashes[:found], ids_lo[:found], ids_hi[:found]
    return Requests(starts, counts, hashes, ids_lo, ids_hi, earlier, repeats)


def admit(
    commands: npt.NDArray[np.void],
    requests: Requests,
    known: npt.NDArray[np.int64],
    entries: npt.NDArray[np.void],
    details: npt.NDArray[np.void],
    away: npt.NDArray[np.bool_] | None = None,
) -> Admissions | None:
    """What becomes of each request; None if all are to be decided.

    `known` are the requests decided in earlier blocks, `entries` and `details` the first row of each there. `away`
    marks those whose tenants this shard does not decide for.
    """
    if not len(known) and not requests.repeats and away is None:
        return None
    repeated = np.flatnonzero(requests.earlier != NONE)
    fingerprints = commands["fingerprint"].view(np.ndarray)[requests.starts]
    what = np.zeros(len(requests.starts), np.int8)
    position = np.full(len(requests.starts), NONE, np.int64)
    if len(repeated):
        same = (fingerprints[repeated] == fingerprints[requests.earlier[repeated]]).all(axis=1)
        what[repeated] = np.where(same, Admission.REPEAT_OF_THIS_BATCH, Admission.KEY_REUSED)
    if len(known):  # after the above: a request of an earlier block is a repeat wherever it stands here
        same = (fingerprints[known] == details["fingerprint"]).all(axis=1)
        what[known] = np.where(same, Admission.REPEAT, Admission.KEY_REUSED)
        position[known] = entries["seq"]
    if away is not None:  # whatever else they are: only where their tenant lives is known what became of them
        what[away] = Admission.ELSEWHERE
    return Admissions(what, position)


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """All of `starts[k] … starts[k] + counts[k] − 1`, one k after the other."""
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(starts, counts) + within
