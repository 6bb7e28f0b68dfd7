"""Lists, page by page: statements and searches, which the projector answers (docs/projector.md). Pure.

Each page's cursor fixes the position that it is of, so that the pages of one list fit together whatever happens
meanwhile.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tallystick import ids
from tallystick.client import questions
from tallystick.client.http import Answer
from tallystick.client.questions import Question

T = TypeVar("T")
PAGE = 500
"""Rows of a page."""


class TransferFilter(Struct, frozen=True, kw_only=True):
    """Which transfers to list: those that meet all of this. Instants are ns since the epoch, or RFC 3339."""

    account_id: str | UnsetType = UNSET
    amount: int | UnsetType = UNSET
    amount_min: int | UnsetType = UNSET
    amount_max: int | UnsetType = UNSET
    since: int | str | UnsetType = UNSET
    until: int | str | UnsetType = UNSET
    ledger: int | UnsetType = UNSET
    code: int | UnsetType = UNSET
    user_data_128: str | UnsetType = UNSET
    """Of a payment's transfers: the payment's id."""
    user_data_64: int | UnsetType = UNSET
    user_data_32: int | UnsetType = UNSET
    metadata_commitment: str | UnsetType = UNSET
    order: str | UnsetType = UNSET
    """`newest` first, which is the default, or `oldest`."""


class AccountFilter(Struct, frozen=True, kw_only=True):
    """Which accounts to list: those that meet all of this, oldest first."""

    ledger: int | UnsetType = UNSET
    code: int | UnsetType = UNSET
    user_data_128: str | UnsetType = UNSET
    user_data_64: int | UnsetType = UNSET
    user_data_32: int | UnsetType = UNSET


class Balances(Struct, frozen=True):
    """How an account stands. `balance` is posted credits less posted debits."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    balance: int


class ListedTransfer(Struct, frozen=True):
    """A transfer in a list. `state`, of a pending one: `open`, `posted`, `voided` or `expired`."""

    id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    pending_id: str
    user_data_128: str
    user_data_64: int
    user_data_32: int
    timeout: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: int
    position: int
    debit_sequence: int
    credit_sequence: int
    metadata_commitment: str = ""
    state: str = ""


class ListedAccount(Struct, frozen=True):
    """An account in a list."""

    id: str
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    user_data_128: str
    user_data_64: int
    user_data_32: int
    ledger: int
    code: int
    flags: list[str]
    timestamp: int
    credit_limit: int
    frozen: str


class Line(Struct, frozen=True):
    """One entry that concerns an account. `sequence` counts them without a gap; `balances` are those after it."""

    sequence: int
    position: int
    timestamp: int
    type: str
    balances: Balances
    side: str = ""
    amount: int = 0
    transfer_id: str = ""
    pending_id: str = ""
    other_account_id: str = ""
    code: int = 0
    user_data_128: str = ""
    user_data_64: int = 0
    user_data_32: int = 0
    metadata_commitment: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and where it goes on; empty: nowhere."""

    rows: list[T]
    cursor: str


class _Transfers(Struct):
    transfers: list[ListedTransfer]
    cursor: str | None


class _Accounts(Struct):
    accounts: list[ListedAccount]
    cursor: str | None


class _Lines(Struct):
    lines: list[Line]
    cursor: str | None


_transfers = msgspec.json.Decoder(_Transfers, strict=False)
_accounts = msgspec.json.Decoder(_Accounts, strict=False)
_lines = msgspec.json.Decoder(_Lines, strict=False)


def transfers(chosen: TransferFilter, cursor: str) -> Question[Page[ListedTransfer]]:
    """A page of the transfers that meet the filter."""

    def read(answer: Answer) -> Page[ListedTransfer]:
        found = _transfers.decode(_body(answer))
        return Page(found.transfers, found.cursor or "")

    return Question("GET", _path("/v1/transfers", chosen, cursor), b"", read, follows=True)


def accounts(chosen: AccountFilter, cursor: str) -> Question[Page[ListedAccount]]:
    """A page of the accounts that meet the filter."""

    def read(answer: Answer) -> Page[ListedAccount]:
        found = _accounts.decode(_body(answer))
        return Page(found.accounts, found.cursor or "")

    return Question("GET", _path("/v1/accounts", chosen, cursor), b"", read, follows=True)


def statement(account_id: str, chosen: TransferFilter, cursor: str) -> Question[Page[Line]]:
    """A page of an account's lines, oldest first; of the filter, only the span counts."""
    span = TransferFilter(since=chosen.since, until=chosen.until)
    path = f"/v1/accounts/{ids.show(ids.parse(account_id))}/statement"

    def read(answer: Answer) -> Page[Line]:
        found = _lines.decode(_body(answer))
        return Page(found.lines, found.cursor or "")

    return Question("GET", _path(path, span, cursor), b"", read, follows=True)


_NAMES = {"since": "from", "until": "to"}


def _path(path: str, chosen: Struct, cursor: str) -> str:
    asked = {_NAMES.get(name, name): value for name, value in msgspec.structs.asdict(chosen).items()}
    query = {name: value for name, value in asked.items() if value is not UNSET} | {"limit": PAGE}
    return f"{path}?{urlencode({**query, 'cursor': cursor} if cursor else query)}"


def _body(answer: Answer) -> bytes:
    if answer.status != 200:
        questions.raise_problem(answer)
    return answer.body
