"""What the look-up routes share: ids in, rows out."""

from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from tallystick import ids
from tallystick.gateway import decoding, shapes
from tallystick.gateway.answering import JSON, Answer
from tallystick.gateway.calls import Call
from tallystick.records.commands import AccountFlag, Side, TransferFlag

LOOKUP_PROBLEMS = ("invalid_field", "not_found", "unavailable")
_FROZEN = {0: "none", Side.DEBITS: "debits", Side.CREDITS: "credits", Side.BOTH: "both"}
Row: TypeAlias = np.void | npt.NDArray[np.void]
_encoder = msgspec.json.Encoder()


def answer(body: msgspec.Struct) -> Answer:
    """200 with this body."""
    return 200, JSON, (), _encoder.encode(body)


def path_id(call: Call) -> int:
    """The id in the path. Raises `Invalid`."""
    return ids.parse(call.arguments[0])


def body_ids(call: Call) -> list[int]:
    """The ids of a look-up's body. Raises `Invalid`."""
    body = call.body
    asked = decoding.decode(decoding.lookup_decoder, body)
    decoding.refuse_repeated_keys(body, decoding.set_count(astuple(asked)))
    decoding.count_in_bounds(len(asked.ids), "ids")
    return [ids.parse(text, f"ids[{at}]") for at, text in enumerate(asked.ids)]


def wide(row: Row, name: str) -> int:
    """A 128-bit field."""
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def _flags(bits: int, flags: type[AccountFlag] | type[TransferFlag]) -> list[str]:
    return [str(flag.name).lower() for flag in flags if bits & flag]


def transfer(row: Row) -> shapes.TransferOut:
    """A `TRANSFER_EVENT` row as JSON shows it."""
    return shapes.TransferOut(
        id=ids.show(wide(row, "id")),
        debit_account_id=ids.show(wide(row, "debit_account_id")),
        credit_account_id=ids.show(wide(row, "credit_account_id")),
        amount=str(wide(row, "amount")),
        pending_id=ids.show(wide(row, "pending_id")),
        user_data_128=ids.show(wide(row, "user_data_128")),
        user_data_64=str(row["user_data_64"]),
        user_data_32=int(row["user_data_32"]),
        timeout=int(row["timeout"]),
        ledger=int(row["ledger"]),
        code=int(row["code"]),
        flags=_flags(int(row["flag_bits"]), TransferFlag),
        timestamp=str(row["timestamp"]),
    )


def account(row: Row, extra: Row) -> shapes.AccountOut:
    """An `ACCOUNT_EVENT` row and what we keep beyond it, as JSON shows them."""
    return shapes.AccountOut(
        id=ids.show(wide(row, "id")),
        debits_pending=str(wide(row, "debits_pending")),
        debits_posted=str(wide(row, "debits_posted")),
        credits_pending=str(wide(row, "credits_pending")),
        credits_posted=str(wide(row, "credits_posted")),
        user_data_128=ids.show(wide(row, "user_data_128")),
        user_data_64=str(row["user_data_64"]),
        user_data_32=int(row["user_data_32"]),
        ledger=int(row["ledger"]),
        code=int(row["code"]),
        flags=_flags(int(row["flag_bits"]), AccountFlag),
        timestamp=str(row["timestamp"]),
        credit_limit=str(wide(extra, "credit_limit")),
        frozen=_FROZEN[int(extra["frozen"])],
    )
