"""An entry in words, for people who hold a receipt: what was asked, what was decided, when."""

from datetime import UTC, datetime

import numpy as np

from tallystick import ids, statuses
from tallystick.records.commands import Kind
from tallystick.records.details import Verdict
from tallystick.records.entries import LEAF_SIZE, TRANSFER_WORK
from tallystick.statuses import TransferStatus

_STATUSES = {statuses.stored(status): statuses.name(status) for status in TransferStatus}


def shown(entry: bytes) -> dict[str, str]:
    """The fields of a leaf that say something to its owner, amounts in minor units; of other kinds the common ones."""
    row = np.frombuffer(LEAF_SIZE.to_bytes(2, "big") + entry, TRANSFER_WORK)[0]
    kind = int(row["kind"])
    found = {"seq": str(row["seq"]), "kind": Kind(kind).name.lower() if kind in set(Kind) else str(kind)}
    if row["timestamp"]:
        found["decided_at"] = _instant(int(row["timestamp"]))
    found["tenant"] = str(row["tenant"])
    if kind == Kind.TRANSFER:
        stored = int(row["status"])
        found |= {
            "transfer_id": ids.show(_wide(row, "id")),
            "debit_account_id": ids.show(_wide(row, "debit_account_id")),
            "credit_account_id": ids.show(_wide(row, "credit_account_id")),
            "amount_asked": str(_wide(row, "amount")),
            "amount_moved": str(_wide(row, "moved")),
            "ledger": str(row["ledger"]),
            "code": str(row["code"]),
            "status": _STATUSES.get(stored, str(stored)),
        }
    found["request_id"] = ids.show(_wide(row, "request_id"))
    return found


def details_shown(seq: int, row: np.void) -> dict[str, int | str]:
    """The private details of an entry, by the names of docs/records.md."""
    found: dict[str, int | str] = {"seq": seq}
    for name in row.dtype.names or ():
        if name == "fingerprint":
            found[name] = row[name].tobytes().hex()
        elif name == "verdict":
            found[name] = Verdict(int(row[name])).name.lower()
        else:
            found[name] = str(row[name]) if row.dtype[name].itemsize == 8 else int(row[name])
    return found


def _wide(row: np.void, name: str) -> int:
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def _instant(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9:09}Z"
