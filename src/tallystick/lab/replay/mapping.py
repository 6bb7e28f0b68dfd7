"""What the columns of a history mean, out of a TOML file. Pure: text in, a `Mapping` or an `Invalid` out.

Without a file the columns are called `id`, `payer`, `payee`, `amount`, `time` and `currency`.
"""

import tomllib
from decimal import Decimal

import msgspec

from tallystick.errors import Invalid

DECIMALS_MAX = 18


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of columns; an empty one is not there."""

    payer: str = "payer"
    payee: str = "payee"
    amount: str = "amount"
    time: str = "time"
    id: str = "id"
    """What makes a row the same row in every run, and in every version of the file."""
    currency: str = ""
    code: str = ""


class Currency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A currency: the number of its ledger, and how many decimals its amounts have."""

    ledger: int
    decimals: int


class Amounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How amounts are written."""

    unit: str = "major"
    """`major`: 12.34 is 1234 minor units where the currency has two decimals; `minor`: 1234 is."""


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The accounts that are opened as they appear."""

    payer: str = "payer"
    """What payers are: with the same word for both, one number is one account, whichever side it stands on."""
    payee: str = "payee"
    code: int = 1
    opening_balance: int = 0
    """Minor units that each payer is given first, and may not overdraw. 0: payers may go below zero."""


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a history's rows mean."""

    name: str = ""
    """Of the history: request ids are made from it and a row's id. Else the file's name without its ending."""
    columns: Columns = Columns()
    accounts: Accounts = Accounts()
    amount: Amounts = Amounts()
    currency: str = "EUR"
    """Of rows where no column says."""
    code: int = 1
    """Transfer code of rows where no column says."""
    currencies: dict[str, Currency] = {}
    """Beside those known here, or in place of them."""

    def of(self, currency: str) -> Currency:
        """A currency by its name. Raises `Invalid` for one that is not known."""
        found = self.currencies.get(currency) or KNOWN.get(currency)
        if found is None:
            raise Invalid("currency", f"{currency!r} is not known; add it under [currencies] of the mapping")
        return found


# ISO 4217, list one: numeric code and decimals of those that histories are mostly in.
KNOWN = {
    name: Currency(ledger, decimals)
    for name, ledger, decimals in (
        ("AUD", 36, 2), ("BRL", 986, 2), ("CAD", 124, 2), ("CHF", 756, 2), ("CNY", 156, 2), ("CZK", 203, 2),
        ("DKK", 208, 2), ("EUR", 978, 2), ("GBP", 826, 2), ("HUF", 348, 2), ("INR", 356, 2), ("JPY", 392, 0),
        ("KES", 404, 2), ("KRW", 410, 0), ("KWD", 414, 3), ("MXN", 484, 2), ("NGN", 566, 2), ("NOK", 578, 2),
        ("PLN", 985, 2), ("SEK", 752, 2), ("SGD", 702, 2), ("TND", 788, 3), ("USD", 840, 2), ("ZAR", 710, 2),
    )
}  # fmt: skip


def read(text: str) -> Mapping:
    """A mapping from TOML. Raises `Invalid` that names what is wrong."""
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
    except tomllib.TOMLDecodeError as error:
        raise Invalid("mapping", f"is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise Invalid("mapping", str(error)) from error
    for column in ("payer", "payee", "amount", "time"):
        if not getattr(mapping.columns, column):
            raise Invalid(f"mapping: columns.{column}", "must name a column")
    if mapping.amount.unit not in ("major", "minor"):
        raise Invalid("mapping: amount.unit", f"must be major or minor, not {mapping.amount.unit!r}")
    for name, currency in mapping.currencies.items():
        if not 1 <= currency.ledger < 1 << 32 or not 0 <= currency.decimals <= DECIMALS_MAX:
            raise Invalid(f"mapping: currencies.{name}", f"ledger must be 1 to 2^32 - 1, decimals 0 to {DECIMALS_MAX}")
    for name, code in (("code", mapping.code), ("accounts.code", mapping.accounts.code)):
        if not 1 <= code < 1 << 16:
            raise Invalid(f"mapping: {name}", "must be 1 to 65535")
    if mapping.accounts.opening_balance < 0:
        raise Invalid("mapping: accounts.opening_balance", "must not be negative")
    if not mapping.columns.currency:
        mapping.of(mapping.currency)
    return mapping


STEP = Decimal("1e-6")
"""Of a minor unit: what a binary fraction may be off by, and a decimal one may not."""


class Nanoseconds(int):
    """An instant whose unit is known: nanoseconds since the epoch."""
