"""The JSON of the API as structs: what is taken and what is given. `openapi` renders them as schemas.

Field names are TigerBeetle's. Ids are 32 hex digits, any UUID spelling taken. Amounts, instants (ns since the Unix
epoch) and 64-bit numbers are strings of decimal digits, since a JSON number beyond 2^53 changes in many readers;
integers are taken too, floats never. A field that is left out counts as zero.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tallystick.records.commands import COMMANDS_MAX, AccountFlag, TransferFlag

_HEX = "^[0-9a-fA-F]{32}$"


def documented(description: str, **schema: Any) -> Meta:
    """A meaning for the schema that the decoder does not check: `decoding` does, and names the field."""
    return Meta(description=description, extra_json_schema=schema)


def _one_of(known: type[TransferFlag] | type[AccountFlag]) -> Meta:
    """A flag's name, for the schema alone."""
    return Meta(extra_json_schema={"enum": [str(flag.name).lower() for flag in known]})


_DASHED = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
ID_PATTERN = f"^([0-9a-fA-F]{{32}}|(urn:uuid:)?{_DASHED}|\\{{{_DASHED}\\}})$"
"""Spellings of an id, as `ids.parse` takes them, but for the case of `urn:uuid:`."""

KEY_PATTERN = "^[!-~]([ -~]{0,253}[!-~])?$"
"""Text that can be an `Idempotency-Key`; blanks at its ends would be lost in a header."""

Key = Annotated[str, documented("Instead of the `Idempotency-Key` header.", pattern=KEY_PATTERN)]
Id = Annotated[
    str,
    documented("32 hex digits, or a UUID in any usual spelling.", pattern=ID_PATTERN, examples=["0" * 31 + "1"]),
]
Amount = Annotated[
    str | int,
    documented(
        "Minor units, 0 to 2^128 - 1: a string of digits, or an integer.",
        pattern="^[0-9]{1,39}$",
        minimum=0,
        examples=["100"],
    ),
]
Instant = Annotated[
    str | int,
    documented(
        "Nanoseconds since the Unix epoch: a string of digits, or an integer.", pattern="^[0-9]{1,20}$", minimum=0
    ),
]
U64 = Annotated[
    str | int, documented("0 to 2^64 - 1: a string of digits, or an integer.", pattern="^[0-9]{1,20}$", minimum=0)
]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
Commitment = Annotated[str, documented("32 bytes as 64 hex digits.", pattern="^[0-9a-fA-F]{64}$")]
Metadata = Annotated[
    dict[str, str],
    documented(
        "Text that comes with the payment, 1 to 16 fields, kept encrypted; the entry has a commitment to it. "
        "In place of metadata_commitment.",
        examples=[{"reference": "Rent, May"}],
    ),
]
Person = Annotated[str, documented("Opaque id of whose text it is, for erasure; default: the debit account's id.")]
TransferFlags = Annotated[
    list[Annotated[str, _one_of(TransferFlag)]], documented("Names of TigerBeetle's transfer flags.")
]
AccountFlags = Annotated[
    list[Annotated[str, _one_of(AccountFlag)]], documented("Names of TigerBeetle's account flags.")
]

OutId = Annotated[str, documented("32 hex digits.", pattern=_HEX)]
OutNumber = Annotated[str, documented("Decimal digits.", pattern="^[0-9]{1,39}$")]
OutInstant = Annotated[str, documented("Nanoseconds since the Unix epoch, as decimal digits.", pattern="^[0-9]+$")]


class TransferIn(Struct, forbid_unknown_fields=True):
    """A transfer to make. `debit_account_id`, `credit_account_id`, `amount`, `ledger` and `code` may be left out only
    by a transfer that posts or voids a pending one. An `id` left out derives from the request's id."""

    id: Id | UnsetType = UNSET
    debit_account_id: Id | UnsetType = UNSET
    credit_account_id: Id | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    pending_id: Id | UnsetType = UNSET
    user_data_128: Id | UnsetType = UNSET
    user_data_64: U64 | UnsetType = UNSET
    user_data_32: U32 | UnsetType = UNSET
    timeout: U32 | UnsetType = UNSET
    ledger: U32 | UnsetType = UNSET
    code: U16 | UnsetType = UNSET
    flags: TransferFlags | UnsetType = UNSET
    timestamp: Instant | UnsetType = UNSET
    metadata_commitment: Commitment | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    metadata_person: Person | UnsetType = UNSET


class TransferRequest(TransferIn, forbid_unknown_fields=True):
    """One transfer as a request of its own."""

    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class TransfersRequest(Struct, forbid_unknown_fields=True):
    """1 to 8,190 transfers, acknowledged and decided together, each with a result of its own."""

    transfers: Annotated[list[TransferIn], documented("", minItems=1, maxItems=COMMANDS_MAX)]
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class TextOut(Struct):
    """Text that came with a payment."""

    metadata: dict[str, str]


class BundledRequest(Struct, forbid_unknown_fields=True):
    """One request of a bundle: what `/v1/transfers` takes if it has one transfer, else `/v1/transfers/batch`. Sent
    there alone, under the same id, it is the same request."""

    request_id: Annotated[str, documented("What would be its `Idempotency-Key` if it came alone.", pattern=KEY_PATTERN)]
    transfers: Annotated[list[TransferIn], documented("", minItems=1, maxItems=COMMANDS_MAX)]
    expires_at: Instant | UnsetType = UNSET


class BundleRequest(Struct, forbid_unknown_fields=True):
    """1 to 8,190 requests that have nothing to do with each other, with at most 8,190 commands in all."""

    requests: Annotated[list[BundledRequest], documented("Taken on in this order.", minItems=1, maxItems=COMMANDS_MAX)]


class BundleParts(Struct, forbid_unknown_fields=True):
    """A bundle as it is first read: each request's bytes for itself, so that a bad one harms no other."""

    requests: list[Raw]


class AccountIn(Struct, forbid_unknown_fields=True):
    """An account to open."""

    id: Id | UnsetType = UNSET
    user_data_128: Id | UnsetType = UNSET
    user_data_64: U64 | UnsetType = UNSET
    user_data_32: U32 | UnsetType = UNSET
    ledger: U32 | UnsetType = UNSET
    code: U16 | UnsetType = UNSET
    flags: AccountFlags | UnsetType = UNSET
    timestamp: Instant | UnsetType = UNSET


class AccountsRequest(AccountIn, forbid_unknown_fields=True):
    """One account, or `accounts`: 1 to 8,190 of them."""

    accounts: Annotated[list[AccountIn], documented("", minItems=1, maxItems=COMMANDS_MAX)] | UnsetType = UNSET
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class FreezeRequest(Struct, forbid_unknown_fields=True):
    """Which movements to stop, or to let through again; a reason code; the opaque id of the person who did it."""

    side: Annotated[str, documented("`debits`, `credits` or `both`.", enum=["debits", "credits", "both"])]
    reason: U32
    actor: Id
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class CreditLimitRequest(Struct, forbid_unknown_fields=True):
    """How far posted and pending debits may pass posted credits."""

    credit_limit: Amount
    reason: U32
    actor: Id
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class ReviewRequest(Struct, forbid_unknown_fields=True):
    """What people decided about a pending transfer in review: a reason code, and the opaque id of who it was."""

    reason: U32
    actor: Id
    request_id: Key | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET


class LookupRequest(Struct, forbid_unknown_fields=True):
    """Up to 8,190 ids."""

    ids: Annotated[list[Id], documented("In the order of the answer.", minItems=1, maxItems=COMMANDS_MAX)]


class Outcome(Struct, frozen=True):
    """What was decided about one transfer or account. `timestamp` is that of the thing itself, even if it `exists`."""

    id: OutId
    status: str
    timestamp: OutInstant


class OneOutcome(Struct, frozen=True):
    """What was decided about a request for one transfer or account."""

    id: OutId
    status: str
    timestamp: OutInstant
    request_id: OutId


class Outcomes(Struct, frozen=True):
    """What was decided about each of several, in their order."""

    request_id: OutId
    results: list[Outcome]


class BundledProblem(Struct, frozen=True):
    """Why one request of a bundle got no outcome, as it would have been told alone. `field` is that of the request."""

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    request_id: OutId | UnsetType = UNSET


class BundledOutcome(Struct, frozen=True):
    """What became of one request of a bundle. `status`: `decided` (then `results`, refusals too), `not_decided`
    (durable; `location` tells its results, and so does sending it again), or `problem`. `retry_after`: seconds."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["decided", "not_decided", "problem"]})]
    request_id: OutId | UnsetType = UNSET
    replayed: bool | UnsetType = UNSET
    results: list[Outcome] | UnsetType = UNSET
    location: str | UnsetType = UNSET
    problem: BundledProblem | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class BundleOutcome(Struct, frozen=True):
    """One result for each request, in their order."""

    results: list[BundledOutcome]


class ControlOutcome(Struct, frozen=True):
    """A freeze, unfreeze or credit limit was applied."""

    account_id: OutId
    status: str
    timestamp: OutInstant
    request_id: OutId


class ReviewOutcome(Struct, frozen=True):
    """A pending transfer in review was approved or rejected."""

    transfer_id: OutId
    status: str
    timestamp: OutInstant
    request_id: OutId


class NotDecided(Struct, frozen=True):
    """The request is durable and will be decided; `location` tells its results, and so does sending it again."""

    request_id: OutId
    status: str
    location: str


class Result(Struct, frozen=True):
    """A result without its id: who asks for a whole request knows what was in it."""

    status: str
    timestamp: OutInstant


class RequestAnswer(Struct, frozen=True):
    """The recorded results of a request, in the order of its commands."""

    request_id: OutId
    status: str
    results: list[Result]


class AccountOut(Struct, frozen=True):
    """An account as of now. `frozen`: `none`, `debits`, `credits` or `both`."""

    id: OutId
    debits_pending: OutNumber
    debits_posted: OutNumber
    credits_pending: OutNumber
    credits_posted: OutNumber
    user_data_128: OutId
    user_data_64: OutNumber
    user_data_32: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: OutInstant
    credit_limit: OutNumber
    frozen: str


class AccountsOut(Struct, frozen=True):
    """Those found, in the order of their ids."""

    accounts: list[AccountOut]


class TransferOut(Struct, frozen=True):
    """A transfer that was created. `amount` is what moved."""

    id: OutId
    debit_account_id: OutId
    credit_account_id: OutId
    amount: OutNumber
    pending_id: OutId
    user_data_128: OutId
    user_data_64: OutNumber
    user_data_32: int
    timeout: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: OutInstant


class TransfersOut(Struct, frozen=True):
    """Those found, in the order of their ids."""

    transfers: list[TransferOut]


class ProblemOut(Struct, frozen=True):
    """RFC 9457. `field`: what is wrong with the request, or of a payment, which part of it was refused. A refusal has
    `outcome`, `transient`, `id`, `timestamp` and `request_id`, that of a payment also `legs`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    field: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    transient: bool | UnsetType = UNSET
    id: OutId | UnsetType = UNSET
    account_id: OutId | UnsetType = UNSET
    transfer_id: OutId | UnsetType = UNSET
    timestamp: OutInstant | UnsetType = UNSET
    request_id: OutId | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    legs: list[Outcome] | UnsetType = UNSET
    limit_bytes: int | UnsetType = UNSET
    limit_headers: int | UnsetType = UNSET
    reasons: list[str] | UnsetType = UNSET


class Health(Struct, frozen=True):
    """This process runs."""

    status: str


class Ready(Struct, frozen=True, omit_defaults=True):
    """This gateway may get traffic."""

    status: str
    """`ready`; with several shards `partly_ready` while some of them would decide nothing."""
    reasons: list[str] = []
    """What is wrong with those."""
