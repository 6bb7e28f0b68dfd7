"""Each thing that can be asked: its HTTP request, and how its answer is read. Pure; both clients share it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from msgspec import UNSET

from tallystick import ids, money, statuses
from tallystick.client.failures import ApiProblem, StillUnknown
from tallystick.client.http import Answer
from tallystick.client.values import (
    Account,
    NewAccount,
    NewPayment,
    NewTransfer,
    Outcome,
    Part,
    Payment,
    PaymentOutcome,
    Transfer,
)
from tallystick.errors import Invalid, OutcomeUnknown, TallystickError, Unavailable
from tallystick.statuses import TransferStatus

T = TypeVar("T")

REFUSED = "refused"
_TRANSIENT = frozenset(statuses.name(status) for status in TransferStatus if statuses.transient(status))
_NUMBERS = frozenset({"amount", "available_min", "user_data_64", "timestamp"})
_IDS = frozenset(
    {
        "id",
        "account_id",
        "counter_account_id",
        "debit_account_id",
        "credit_account_id",
        "pending_id",
        "user_data_128",
    }
)
_encode = msgspec.json.encode
_COMMITMENT = re.compile(r"[0-9a-fA-F]{64}")
_text_decoder = msgspec.json.Decoder(dict[str, dict[str, str]])
_payment_decoder = msgspec.json.Decoder(Payment, strict=False)


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One HTTP request. With `request_id` it changes something, once; without it, it only looks."""

    method: str
    path: str
    body: bytes
    read: Callable[[Answer], T]
    request_id: str | None = None
    expires_at: int | None = None
    transfers: bytes | None = None
    """Its transfers as a JSON list, if it may travel in a bundle."""
    follows: bool = False
    """Whether a follower answers it, which may be behind what this client has seen."""

    @property
    def headers(self) -> dict[str, str]:
        """Those that say which request it is."""
        told = {} if self.request_id is None else {"Idempotency-Key": self.request_id}
        return told if self.expires_at is None else {**told, "Expires-At": str(self.expires_at)}

    def failure(self, verdict: Unavailable | OutcomeUnknown) -> TallystickError:
        """What to raise when time has run out. A look-up writes nothing, so it is never left unknown."""
        if isinstance(verdict, Unavailable):
            return verdict
        if self.request_id is None:
            return Unavailable(str(verdict))
        return StillUnknown(verdict, self)

    @property
    def bundled(self) -> bytes:
        """As one request of a bundle (`POST /v1/bundles`)."""
        assert self.transfers is not None
        expiry = b"" if self.expires_at is None else b',"expires_at":"%d"' % self.expires_at
        assert self.request_id is not None
        return b'{"request_id":"%s","transfers":%s%s}' % (self.request_id.encode(), self.transfers, expiry)


def request_id(key: str) -> str:
    """The request id of a key: a UUID is one, any other text is hashed into one, as the gateway does it.

    Raises `Invalid`.
    """
    try:
        return ids.show(ids.request_id(key))
    except Invalid as error:
        raise Invalid("key", error.message) from error


# To make


def transfer(new: NewTransfer, key: str, expires_at: int | None) -> Question[Outcome]:
    """One transfer."""
    body = _encode(_fields(new))
    return Question("POST", "/v1/transfers", body, outcome, key, expires_at, b"[%s]" % body)


def transfers(several: Iterable[NewTransfer], key: str, expires_at: int | None) -> Question[list[Outcome]]:
    """Several transfers as one request."""
    body = _encode({"transfers": [_fields(each) for each in several]})
    return Question("POST", "/v1/transfers/batch", body, outcomes, key, expires_at)


def account(new: NewAccount, key: str) -> Question[Outcome]:
    """One account to open."""
    return Question("POST", "/v1/accounts", _encode(_fields(new)), outcome, key)


def accounts(several: Iterable[NewAccount], key: str) -> Question[list[Outcome]]:
    """Several accounts to open as one request."""
    body = _encode({"accounts": [_fields(each) for each in several]})
    return Question("POST", "/v1/accounts", body, outcomes, key)


def freeze(account_id: str, word: str, side: str, reason: int, actor: str, key: str) -> Question[Outcome]:
    """Stop movements of a side (`word`: freeze), or let them through again (unfreeze)."""
    body = _encode({"side": side, "reason": reason, "actor": actor})
    return Question("POST", f"/v1/accounts/{_id(account_id)}/{word}", body, outcome, key)


def credit_limit(account_id: str, limit: int, reason: int, actor: str, key: str) -> Question[Outcome]:
    """How far debits may pass credits."""
    body = _encode({"credit_limit": str(money.parse(limit, "limit")), "reason": reason, "actor": actor})
    return Question("POST", f"/v1/accounts/{_id(account_id)}/credit-limit", body, outcome, key)


def review(transfer_id: str, word: str, reason: int, actor: str, key: str) -> Question[Outcome]:
    """What people decided about a transfer in review: approve or reject."""
    body = _encode({"reason": reason, "actor": actor})
    return Question("POST", f"/v1/transfers/{_id(transfer_id)}/{word}", body, outcome, key)


def payment(new: NewPayment, key: str, expires_at: int | None) -> Question[PaymentOutcome]:
    """A payment to make."""
    return Question("POST", "/v1/payments", _encode(_fields(new)), payment_outcome, key, expires_at)


def resolve(
    payment_id: str,
    word: str,
    key: str,
    parts: Sequence[Part] | None = None,
    **more: str | int | Mapping[str, str] | None,
) -> Question[PaymentOutcome]:
    """What to do with a payment that was made: post, void, reversals."""
    body: dict[str, Any] = {name: value for name, value in more.items() if value is not None}
    if parts is not None:
        body["legs"] = [_fields(part) for part in parts]
    return Question("POST", f"/v1/payments/{_id(payment_id)}/{word}", _encode(body), payment_outcome, key)


def find_payment(payment_id: str) -> Question[Payment | None]:
    """A payment that was made, if it was."""

    def read(answer: Answer) -> Payment | None:
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise_problem(answer)
        return _payment_decoder.decode(answer.body)

    return Question("GET", f"/v1/payments/{_id(payment_id)}", b"", read)


def next_reversal(found: Payment | None, key: str) -> int:
    """Which of a payment's reversals this request is: the one it made already, or else the next."""
    reversals = found.reversals if found is not None else []
    return next((each.number for each in reversals if each.id == key), len(reversals) + 1)


def payment_outcome(answer: Answer) -> PaymentOutcome:
    """The answer about a payment as one thing. Raises `ApiProblem` for all that is no outcome."""
    told = answer.json()
    if answer.status == 201:
        status = told["status"]
    elif told.get("type") == f"/problems/{REFUSED}":
        status = told["outcome"]
    else:
        raise_problem(answer)
    request = told["request_id"]
    replayed = answer.headers.get("Idempotent-Replayed") == "true"
    return PaymentOutcome(
        id=told["id"],
        status=status,
        timestamp=int(told["timestamp"]),
        request_id=request,
        legs=[row_outcome(leg["id"], leg["status"], leg["timestamp"], request, replayed) for leg in told["legs"]],
        field=told.get("field", ""),
        replayed=replayed,
        transient=bool(told.get("transient", False)),
    )


# To look up


def find_accounts(account_ids: Sequence[str]) -> Question[list[Account]]:
    """Those of the accounts that exist."""
    return _look_up("accounts", account_ids, Account)


def find_transfers(transfer_ids: Sequence[str]) -> Question[list[Transfer]]:
    """Those of the transfers that were created."""
    return _look_up("transfers", transfer_ids, Transfer)


def find_text(commitment: str) -> Question[dict[str, str] | None]:
    """The text under a commitment, if it is there."""

    def read(answer: Answer) -> dict[str, str] | None:
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise_problem(answer)
        return _text_decoder.decode(answer.body)["metadata"]

    if not _COMMITMENT.fullmatch(commitment):
        raise Invalid("commitment", "must be 64 hex digits, as `metadata_commitment` of a transfer is shown")
    return Question("GET", f"/v1/metadata/{commitment}", b"", read)


def _look_up(noun: str, wanted: Sequence[str], kind: type[T]) -> Question[list[T]]:
    decoder = msgspec.json.Decoder(dict[str, list[kind]], strict=False)  # type: ignore[valid-type]

    def read(answer: Answer) -> list[T]:
        if answer.status != 200:
            raise_problem(answer)
        return decoder.decode(answer.body)[noun]

    return Question("POST", f"/v1/{noun}/lookup", _encode({"ids": list(wanted)}), read)


# To read


def outcome(answer: Answer) -> Outcome:
    """The answer about one thing asked. Raises `ApiProblem` for all that is no outcome."""
    told = answer.json()
    if answer.status in (200, 201):
        status = told["status"]
    elif told.get("type") == f"/problems/{REFUSED}":
        status = told["outcome"]
    else:
        raise_problem(answer)
    return Outcome(
        id=told.get("id") or told.get("account_id") or told["transfer_id"],
        status=status,
        timestamp=int(told["timestamp"]),
        request_id=told["request_id"],
        replayed=answer.headers.get("Idempotent-Replayed") == "true",
        transient=bool(told.get("transient", False)),
    )


def outcomes(answer: Answer) -> list[Outcome]:
    """The answer about several things asked as one request. Raises `ApiProblem` for all that is none."""
    if answer.status != 200:
        raise_problem(answer)
    told = answer.json()
    replayed = answer.headers.get("Idempotent-Replayed") == "true"
    request = told["request_id"]
    return [row_outcome(row["id"], row["status"], row["timestamp"], request, replayed) for row in told["results"]]


def row_outcome(id: str, status: str, timestamp: str, request: str, replayed: bool) -> Outcome:
    """One of the results of a batch or bundle."""
    return Outcome(
        id=id,
        status=status,
        timestamp=int(timestamp),
        request_id=request,
        replayed=replayed,
        transient=status in _TRANSIENT,
    )


def raise_problem(answer: Answer) -> NoReturn:
    """Raises the problem that this answer is."""
    raise problem(answer.status, answer.json())


def problem(http: int, told: Mapping[str, Any]) -> ApiProblem:
    """A problem as told, be it alone or in a bundle."""
    name = str(told.get("type", "")).removeprefix("/problems/") or "no_problem_document"
    return ApiProblem(http, name, str(told.get("detail", "")), str(told.get("field", "")))


def _fields(new: msgspec.Struct, at: str = "") -> dict[str, Any]:
    """What was set, as the API writes it: ids and numbers as strings. Raises `Invalid` naming what cannot be so."""
    fields = {name: value for name, value in msgspec.structs.asdict(new).items() if value is not UNSET}
    for name, value in fields.items():
        if name in _NUMBERS:
            fields[name] = str(money.parse(value, at + name))
        elif name in _IDS:
            fields[name] = _id(value, at + name)
        elif isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
            fields[name] = [_fields(each, f"{at}{name}[{index}].") for index, each in enumerate(value)]
    return fields


def _id(text: str, field: str = "id") -> str:
    return ids.show(ids.parse(text, field))
