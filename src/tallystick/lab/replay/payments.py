"""From a row to a payment: the same row gives the same bytes, and the same ids, in every run. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

from tallystick import ids, money
from tallystick.errors import Invalid
from tallystick.lab.replay.mapping import STEP, Currency, Mapping, Nanoseconds

NAME_CHARACTERS_MAX = 200
AMOUNT_DIGITS_MAX = 40
_EXACT = Context(prec=120, traps=[InvalidOperation])  # Python's own context would round at 28 digits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
"""Numbers below the first are seconds, and so on: all of them instants between 1973 and 5138."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One row, understood."""

    row: int
    name: str
    """What makes it this row: the id column's value, or its number."""
    time_ns: int
    """Since the epoch, by the history's own clock."""
    transfer_id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    """Minor units."""
    currency: str
    ledger: int
    code: int


class Reader:
    """Understands the rows of one history."""

    def __init__(self, mapping: Mapping, history: str) -> None:
        """`history` names it: the same name and row id are the same payment for ever."""
        self._mapping = mapping
        self._history = history

    def payment(self, number: int, row: dict[str, Any]) -> Payment:
        """One row. Raises `Invalid` naming the column that cannot be understood."""
        mapping, columns = self._mapping, self._mapping.columns
        currency = _text(row, columns.currency) if columns.currency else mapping.currency
        money_of = mapping.of(currency)
        payer, payee = _text(row, columns.payer), _text(row, columns.payee)
        debit = self.account_id(mapping.accounts.payer, payer, money_of)
        credit = self.account_id(mapping.accounts.payee, payee, money_of)
        if debit == credit:
            raise Invalid(columns.payee, "pays itself")
        name = _text(row, columns.id) if columns.id in row else str(number)
        return Payment(
            row=number,
            name=name,
            time_ns=instant(row.get(columns.time), columns.time),
            transfer_id=ids.derived(ids.request_id(f"replay\n{self._history}\n{name}"), 0),
            debit_account_id=debit,
            credit_account_id=credit,
            amount=minor_units(row.get(columns.amount), money_of, mapping.amount.unit, columns.amount),
            currency=currency,
            ledger=money_of.ledger,
            code=_code(row, columns.code) if columns.code else mapping.code,
        )

    def account_id(self, word: str, name: str, currency: Currency) -> int:
        """The account of a payer or payee in a currency: made of the history, what it is, and its name."""
        return _number(f"account\n{self._history}\n{word}\n{name}\n{currency.ledger}")

    def outside_id(self, ledger: int) -> int:
        """The account that opening balances come from."""
        return _number(f"outside\n{self._history}\n{ledger}")


def request_id(history: str, payments: "list[Payment]") -> int:
    """The request of one or several payments: the same rows together are the same request."""
    names = "\n".join(f"{payment.transfer_id:x}" for payment in payments)
    return _number(f"request\n{history}\n{names}")


def minor_units(value: Any, currency: Currency, unit: str, column: str) -> int:
    """An amount as whole minor units. A binary fraction is rounded to what it was written as; a decimal one that has
    more decimals than its currency is refused."""
    if value is None or value == "" or isinstance(value, bool):
        raise Invalid(column, "is empty, or no amount")
    try:
        exact = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
        scaled = exact.scaleb(currency.decimals if unit == "major" else 0, _EXACT)
        whole = scaled.to_integral_value(ROUND_HALF_EVEN, _EXACT)
    except InvalidOperation as error:
        raise Invalid(column, f"is no amount: {value!r}") from error
    if not scaled.is_finite() or scaled.is_signed() or scaled.adjusted() > AMOUNT_DIGITS_MAX:
        raise Invalid(column, f"must be a number from zero to 2^128 - 1, not {value!r}")
    if abs(_EXACT.subtract(scaled, whole)) > (STEP if isinstance(value, float) else 0):
        raise Invalid(column, f"{value} has more decimals than its currency, which has {currency.decimals}")
    return money.parse(int(whole), column)


def instant(value: Any, column: str) -> int:
    """Nanoseconds since the epoch, of a number (seconds to ns, by its size) or of ISO 8601 (UTC if it says none)."""
    if isinstance(value, Nanoseconds):
        return int(value)
    if isinstance(value, datetime):
        return _since_epoch(value)
    text = str(value).strip() if value is not None else ""
    if not text:
        raise Invalid(column, "is empty")
    try:
        number = Decimal(text)
    except InvalidOperation:
        try:
            return _since_epoch(datetime.fromisoformat(text))
        except ValueError as error:
            raise Invalid(column, f"is neither a number nor ISO 8601: {text!r}") from error
    for below, factor in _UNITS:
        if number.is_finite() and abs(number) < below:
            return int(number * factor)
    raise Invalid(column, f"is no instant: {text!r}")


def _since_epoch(value: datetime) -> int:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _US * 1_000


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    text = "" if value is None else str(value).strip()
    if not text:
        raise Invalid(column, "is empty" if column in row else "is not a column of this history")
    if len(text) > NAME_CHARACTERS_MAX or not text.isprintable():
        raise Invalid(column, f"must have at most {NAME_CHARACTERS_MAX} characters that can be printed")
    return text


def _code(row: dict[str, Any], column: str) -> int:
    text = _text(row, column)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) < 1 << 16):
        raise Invalid(column, f"must be a whole number from 1 to 65535, not {text!r}")
    return int(text)


def _number(text: str) -> int:
    """128 bits of a text, never zero nor all ones."""
    number = int.from_bytes(hashlib.sha256(f"tallystick/replay\0{text}".encode()).digest()[:16], "big")
    return number & ~(1 << 127) | 1
