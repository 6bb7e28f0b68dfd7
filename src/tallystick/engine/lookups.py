"""Look-ups: what a gateway, or a caller in process, may ask the engine. A step of its loop, between batches.

The books are ahead of the journal by at most the blocks on their way; the writer sends each answer only after
those are durable, so a look-up never shows what is later lost.
"""

import numpy as np
import numpy.typing as npt

from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RequestResults
from tallystick.engine.deciding import Decider
from tallystick.engine.requests import ranges
from tallystick.ledger.compiled import U64
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT, Kind
from tallystick.records.results import RESULT
from tallystick.statuses import STORED_MASK, RequestStatus

_LOW = 0xFFFFFFFFFFFFFFFF


def results(decider: Decider, tenant: int, request_id: int, fingerprint: bytes) -> RequestResults:
    """What is recorded of a request. An empty fingerprint stands for any."""
    found = decider.find_request(tenant, request_id)
    if found is None:
        return RequestResults(RequestStatus.NOT_DECIDED, np.empty(0, RESULT))
    entry, details = found
    if fingerprint and details[0]["fingerprint"].tobytes() != fingerprint:
        return RequestResults(RequestStatus.IDEMPOTENCY_KEY_REUSED, np.empty(0, RESULT))
    return RequestResults(
        None, decider.recorded(ranges(entry["seq"].astype(np.int64), details["count"].astype(np.int64)))
    )


def accounts(decider: Decider, tenant: int, ids: list[int]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Of each id found, in order: the account as TigerBeetle shows it, and what we keep beyond that."""
    found = [row for row in (decider.bookkeeper.account(tenant, number) for number in ids) if row is not None]
    rows = np.concatenate(found).view(np.ndarray) if found else np.empty(0, decider.bookkeeper.books.rows.dtype)
    shown, extra = np.zeros(len(rows), ACCOUNT_EVENT), np.zeros(len(rows), FOUND_ACCOUNT_EXTRA)
    for name in ACCOUNT_EVENT.names or ():
        shown[name] = rows["created_at" if name == "timestamp" else name]
    for name in ("credit_limit_lo", "credit_limit_hi", "frozen"):
        extra[name] = rows[name]
    return shown, extra


def transfers(decider: Decider, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
    """Of each id that was created, in order: the transfer; `amount` is what moved, `timestamp` when."""
    lo = np.array([number & _LOW for number in ids], "<u8")
    hi = np.array([number >> 64 for number in ids], "<u8")
    hashes = decider.transfer_index.hashes(U64(tenant), lo, hi)
    which, positions = decider.transfer_index.candidates(hashes, lo, hi, np.ones(len(ids), bool))
    entries = decider.fetcher.transfers(positions).view(np.ndarray)
    same = (
        (entries["id_lo"] == lo[which])
        & (entries["id_hi"] == hi[which])
        & (entries["tenant"] == tenant)
        & (entries["kind"] == Kind.TRANSFER)
        & (entries["status"] == STORED_MASK)
    )
    # An id may be met twice (its generation serves while its run is made), and asked for twice.
    at = dict(zip(which[same].tolist(), np.flatnonzero(same).tolist(), strict=True))
    found = entries[[at[asked] for asked in sorted(at)]]
    shown = np.zeros(len(found), TRANSFER_EVENT)
    for name in TRANSFER_EVENT.names or ():
        shown[name] = found[name]
    shown["amount_lo"], shown["amount_hi"] = found["moved_lo"], found["moved_hi"]
    return shown
