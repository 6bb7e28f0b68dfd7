"""From a request's bytes to its 128-byte events, or an `Invalid` that names the field. Pure.

One decode by msgspec into a struct, which refuses wrong types, floats for integers and unknown fields; then one
`struct` packing. The bytes of an event are exactly what the fingerprint covers, so ids that the client left out are
derived before it is taken.
"""

import json
import re
import struct
from binascii import unhexlify
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from tallystick import ids, money
from tallystick.errors import Invalid
from tallystick.gateway import shapes
from tallystick.records.commands import COMMANDS_MAX, EVENT_SIZE, AccountFlag, Opcode, Side, TransferFlag

_Shape = TypeVar("_Shape", bound=msgspec.Struct)

_TRANSFER = struct.Struct("<16s16s16s16s16s16sQIIIHHQ")
_ACCOUNT = struct.Struct("<16s64x16sQIIIHHQ")
_CONTROL = struct.Struct("<16s16s16sIH74x")
assert {_TRANSFER.size, _ACCOUNT.size, _CONTROL.size} == {EVENT_SIZE}

_TRANSFER_FLAGS = {str(flag.name).lower(): flag.value for flag in TransferFlag}
_ACCOUNT_FLAGS = {str(flag.name).lower(): flag.value for flag in AccountFlag}
_VOIDS = int(TransferFlag.VOID_PENDING_TRANSFER)
_RESOLVES = _VOIDS | int(TransferFlag.POST_PENDING_TRANSFER)
_SIDES = {"debits": Side.DEBITS, "credits": Side.CREDITS, "both": Side.BOTH}
_ZERO = bytes(16)
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_FIELD_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")
_FIELD_MISSING = re.compile(r"Object missing required field `(.*?)`")
TRANSFER_FIELDS = shapes.TransferIn.__struct_fields__.index("metadata")
"""How many fields of a transfer are its event's and its commitment; they come first."""

transfer_decoder = msgspec.json.Decoder(shapes.TransferRequest)
transfers_decoder = msgspec.json.Decoder(shapes.TransfersRequest)
bundle_decoder = msgspec.json.Decoder(shapes.BundleParts)
bundled_decoder = msgspec.json.Decoder(shapes.BundledRequest)
accounts_decoder = msgspec.json.Decoder(shapes.AccountsRequest)
freeze_decoder = msgspec.json.Decoder(shapes.FreezeRequest)
review_decoder = msgspec.json.Decoder(shapes.ReviewRequest)
credit_limit_decoder = msgspec.json.Decoder(shapes.CreditLimitRequest)
lookup_decoder = msgspec.json.Decoder(shapes.LookupRequest)


def decode(decoder: msgspec.json.Decoder[_Shape], body: bytes) -> _Shape:
    """The body as its struct. Raises `Invalid`, with an empty field if the body is no JSON at all."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("", f"the body is not JSON in UTF-8: {error}") from error
    except RecursionError as error:
        raise Invalid("", "the body is nested too deeply") from error


def _invalid(message: str) -> Invalid:
    """msgspec's message, its path turned into our spelling of a field."""
    at = _AT.search(message)
    path = at.group(1) if at else ""
    reason = message[: at.start()] if at else message
    for pattern, text in ((_FIELD_UNKNOWN, "is not a field of this object"), (_FIELD_MISSING, "is missing")):
        culprit = pattern.search(reason)
        if culprit:
            return Invalid(f"{path}.{culprit.group(1)}" if path else culprit.group(1), text)
    return Invalid(path or "body", reason[0].lower() + reason[1:].replace("`", ""))


def refuse_repeated_keys(body: bytes, keys: int) -> None:
    """Raises `Invalid` if an object of `body` has a key twice. `keys` is how many fields its structs have set.

    Readers disagree about which of two equal keys counts, so a payment that another reader took for a smaller one
    could pass. Each key has a colon, and few values do, so counting them settles nearly every body; where the
    counts differ, a slow parse decides.
    """
    if body.count(b":") != keys:
        json.loads(body, object_pairs_hook=_unrepeated)


def _unrepeated(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Invalid(key, "stands twice in one object")
        seen.add(key)


def id_bytes(text: str, field: str) -> bytes:
    """An id as 16 bytes, little-endian."""
    if len(text) == 32:
        try:
            return unhexlify(text)[::-1]
        except ValueError:
            pass  # what is wrong with it is said below
    return ids.parse(text, field).to_bytes(16, "little")


def unsigned(value: str | int, field: str, bits: int = 64) -> int:
    """A number of so many bits, from digits or an integer. Raises `Invalid` naming `field`."""
    number = money.parse(value, field)
    if number >> bits:
        raise Invalid(field, f"must be between 0 and 2^{bits} - 1")
    return number


def _flag_bits(names: list[str], known: dict[str, int], field: str) -> int:
    bits = 0
    for at, name in enumerate(names):
        bit = known.get(name)
        if bit is None:
            raise Invalid(f"{field}flags[{at}]", f"is no known flag; known are {', '.join(known)}")
        bits |= bit
    return bits


def transfer_event(fields: tuple[Any, ...], request_id: int, index: int, at: str = "") -> tuple[bytes, bytes]:
    """A transfer's 128 bytes and its metadata commitment (empty if none). `at` is the path to it in the body."""
    (own, debit, credit, amount, pending, data_128, data_64, data_32, timeout, ledger, code, flags, time, promise) = (
        fields
    )
    bits = 0 if flags is UNSET else _flag_bits(flags, _TRANSFER_FLAGS, at)
    if debit is UNSET or credit is UNSET or amount is UNSET or ledger is UNSET or code is UNSET:
        if not bits & _RESOLVES:
            names = ("debit_account_id", "credit_account_id", "amount", "ledger", "code")
            missing = next(n for n, v in zip(names, (debit, credit, amount, ledger, code), strict=True) if v is UNSET)
            raise Invalid(at + missing, "is missing")
        if amount is UNSET and not bits & _VOIDS:
            raise Invalid(at + "amount", "is missing; 2^128 - 1 posts all that is pending")
    event = _TRANSFER.pack(
        ids.derived(request_id, index).to_bytes(16, "little") if own is UNSET else id_bytes(own, at + "id"),
        _ZERO if debit is UNSET else id_bytes(debit, at + "debit_account_id"),
        _ZERO if credit is UNSET else id_bytes(credit, at + "credit_account_id"),
        _ZERO if amount is UNSET else money.parse(amount, at + "amount").to_bytes(16, "little"),
        _ZERO if pending is UNSET else id_bytes(pending, at + "pending_id"),
        _ZERO if data_128 is UNSET else id_bytes(data_128, at + "user_data_128"),
        0 if data_64 is UNSET else unsigned(data_64, at + "user_data_64"),
        0 if data_32 is UNSET else data_32,
        0 if timeout is UNSET else timeout,
        0 if ledger is UNSET else ledger,
        0 if code is UNSET else code,
        bits,
        0 if time is UNSET else unsigned(time, at + "timestamp"),
    )
    return event, b"" if promise is UNSET else commitment(promise, at + "metadata_commitment")


def account_event(fields: tuple[Any, ...], request_id: int, index: int, at: str = "") -> bytes:
    """An account's 128 bytes; its balances are the ledger's and start at zero."""
    own, data_128, data_64, data_32, ledger, code, flags, time = fields
    if ledger is UNSET or code is UNSET:
        raise Invalid(at + ("ledger" if ledger is UNSET else "code"), "is missing")
    return _ACCOUNT.pack(
        ids.derived(request_id, index).to_bytes(16, "little") if own is UNSET else id_bytes(own, at + "id"),
        _ZERO if data_128 is UNSET else id_bytes(data_128, at + "user_data_128"),
        0 if data_64 is UNSET else unsigned(data_64, at + "user_data_64"),
        0 if data_32 is UNSET else data_32,
        0,
        ledger,
        code,
        0 if flags is UNSET else _flag_bits(flags, _ACCOUNT_FLAGS, at),
        0 if time is UNSET else unsigned(time, at + "timestamp"),
    )


def freeze_event(account: bytes, opcode: Opcode, body: shapes.FreezeRequest) -> bytes:
    """A control record that freezes or unfreezes the account with these 16 bytes of id."""
    side = _SIDES.get(body.side)
    if side is None:
        raise Invalid("side", "must be debits, credits or both")
    return _CONTROL.pack(account, side.to_bytes(16, "little"), id_bytes(body.actor, "actor"), body.reason, opcode)


def credit_limit_event(account: bytes, body: shapes.CreditLimitRequest) -> bytes:
    """A control record that sets the credit limit of the account with these 16 bytes of id."""
    limit = money.parse(body.credit_limit, "credit_limit").to_bytes(16, "little")
    return _CONTROL.pack(account, limit, id_bytes(body.actor, "actor"), body.reason, Opcode.CREDIT_LIMIT)


def review_event(transfer: bytes, opcode: Opcode, body: shapes.ReviewRequest) -> bytes:
    """A control record that approves or rejects the pending transfer with these 16 bytes of id."""
    return _CONTROL.pack(_ZERO, transfer, id_bytes(body.actor, "actor"), body.reason, opcode)


def commitment(text: str, field: str) -> bytes:
    """32 bytes from hex, not all zero. Raises `Invalid`."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(text) != 64 or len(raw) != 32 or not any(raw):
        raise Invalid(field, "must be 64 hex digits, not all zero")
    return raw


def fingerprint(text: str) -> bytes:
    """The fingerprint of a status URL. Raises `Invalid`."""
    return commitment(text, "fingerprint")


def count_in_bounds(count: int, field: str) -> None:
    """Raises `Invalid` unless a request may have that many commands."""
    if not 1 <= count <= COMMANDS_MAX:
        raise Invalid(field, f"must have 1 to {COMMANDS_MAX:,} items, not {count:,}")


def set_count(fields: tuple[Any, ...]) -> int:
    """How many of a struct's fields the body had."""
    return len(fields) - fields.count(UNSET)
