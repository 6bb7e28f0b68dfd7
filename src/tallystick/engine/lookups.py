"""Look-ups: what a gateway, or a caller in process, may ask the engine. A step of its loop, between batches.

The books are ahead of the journal by at most the blocks on their way; the writer sends each answer only after
those are durable, so a look-up never shows what is later lost.
"""

import numpy as np
import numpy.typing as npt

from tallystick.answers.port import FOUND_ACCOUNT_EXTRA, RequestResults
from tallystick.engine.deciding import Decider, effective_timestamps
from tallystick.engine.fetch import Fetcher
from tallystick.engine.requests import ranges
from tallystick.ledger.compiled import U64
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT, Kind, TransferFlag
from tallystick.records.entries import TRANSFER_WORK
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
    rows = decider.bookkeeper.accounts(tenant, ids).view(np.ndarray)
    shown, extra = np.zeros(len(rows), ACCOUNT_EVENT), np.zeros(len(rows), FOUND_ACCOUNT_EXTRA)
    for name in ACCOUNT_EVENT.names or ():
        shown[name] = rows["created_at" if name == "timestamp" else name]
    for name in ("credit_limit_lo", "credit_limit_hi", "frozen"):
        extra[name] = rows[name]
    return shown, extra


def transfers(decider: Decider, tenant: int, ids: list[int]) -> npt.NDArray[np.void]:
    """Of each id that was created, in order: the transfer; `amount` is what moved, `timestamp` when.

    A post or void shows what it inherited; a payment in review the flags and time-out that the ledger acted on.
    """
    entries, details = _created(decider, tenant, ids)
    return shown(decider.fetcher, entries, details)


def seqs(decider: Decider, tenant: int, ids: list[int]) -> npt.NDArray[np.uint64]:
    """Of each id that was created, in order: where its entry stands in the journal."""
    found: npt.NDArray[np.uint64] = _created(decider, tenant, ids)[0]["seq"]
    return found


def _created(decider: Decider, tenant: int, ids: list[int]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Entries (`TRANSFER_WORK` rows) and details of the created transfers with these ids, in order of the ids."""
    lo = np.array([number & _LOW for number in ids], "<u8")
    hi = np.array([number >> 64 for number in ids], "<u8")
    hashes = decider.transfer_index.hashes(U64(tenant), lo, hi)
    which, positions = decider.transfer_index.candidates(hashes, lo, hi, np.ones(len(ids), bool))
    work, details = decider.fetcher.rows(positions)
    entries = work.view(TRANSFER_WORK).view(np.ndarray)
    same = (
        (entries["id_lo"] == lo[which])
        & (entries["id_hi"] == hi[which])
        & (entries["tenant"] == tenant)
        & (entries["kind"] == Kind.TRANSFER)
        & (entries["status"] == STORED_MASK)
    )
    # An id may be met twice (its generation serves while its run is made), and asked for twice.
    at = dict(zip(which[same].tolist(), np.flatnonzero(same).tolist(), strict=True))
    chosen = [at[asked] for asked in sorted(at)]
    return entries[chosen], details.view(np.ndarray)[chosen]


def shown(fetcher: Fetcher, entries: npt.NDArray[np.void], details: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Created transfers (`TRANSFER_WORK` rows) and their details as clients see them: `TRANSFER_EVENT` rows."""
    found = np.zeros(len(entries), TRANSFER_EVENT)
    for name in TRANSFER_EVENT.names or ():
        found[name] = entries[name]
    found["amount_lo"], found["amount_hi"] = entries["moved_lo"], entries["moved_hi"]
    found["timestamp"] = effective_timestamps(entries)
    found["flag_bits"], found["timeout"] = entries["flag_bits_effective"], entries["timeout_effective"]
    resolving = (entries["flag_bits_effective"] & (TransferFlag.POST_PENDING_TRANSFER | _VOID)) != 0
    if resolving.any():
        pending = fetcher.transfers(details["pending_seq"][resolving]).view(np.ndarray)
        for name in _INHERITED:
            words = [f"{name}_lo", f"{name}_hi"] if f"{name}_lo" in pending.dtype.names else [name]
            empty = np.logical_and.reduce([found[word][resolving] == 0 for word in words])
            for word in words:
                found[word][resolving] = np.where(empty, pending[word], found[word][resolving])
    return found


_VOID = TransferFlag.VOID_PENDING_TRANSFER
_INHERITED = (
    "debit_account_id",
    "credit_account_id",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "ledger",
    "code",
)
