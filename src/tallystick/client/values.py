"""What goes in and out of the SDK: frozen values. Ids are 32 hex digits, amounts integers of minor units."""

from msgspec import UNSET, Struct, UnsetType


class Outcome(Struct, frozen=True, kw_only=True):
    """What was decided about one thing asked. Refusals are outcomes, too: look at `done`."""

    id: str
    """Of the transfer or account that it is about."""
    status: str
    """The ledger's word (docs/rules.md): `created`, `exceeds_credits`, …"""
    timestamp: int
    """When it was decided, or when what already `exists` was created: nanoseconds since the Unix epoch."""
    request_id: str
    """Ask with it again, and you get this again."""
    replayed: bool = False
    """Whether it had been decided before this call."""
    transient: bool = False
    """Of a refusal: another request, later, may be decided otherwise."""

    @property
    def done(self) -> bool:
        """Whether it is in the books: now, or since earlier. False: it was refused."""
        return self.status in ("created", "exists", "applied")


class NewTransfer(Struct, frozen=True, kw_only=True):
    """A transfer to make. An `id` left out derives from the request's, so that asking again derives the same.

    One that posts or voids a pending one (`flags`) may leave out accounts, ledger and code, and when it voids, the
    amount.
    """

    debit_account_id: str | UnsetType = UNSET
    credit_account_id: str | UnsetType = UNSET
    amount: int | UnsetType = UNSET
    """Minor units, 0 to 2^128 − 1."""
    ledger: int | UnsetType = UNSET
    code: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    pending_id: str | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    """Seconds after which a pending transfer is given back by itself; 0 or left out: never."""
    flags: list[str] | UnsetType = UNSET
    user_data_128: str | UnsetType = UNSET
    user_data_64: int | UnsetType = UNSET
    user_data_32: int | UnsetType = UNSET
    timestamp: int | UnsetType = UNSET
    """Only of an imported transfer."""
    metadata_commitment: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    """Text that is kept encrypted beside the ledger, which has the commitment to it."""
    metadata_person: str | UnsetType = UNSET
    """The opaque id of whose text it is, who may want it erased; left out, the debit account's."""


class NewAccount(Struct, frozen=True, kw_only=True):
    """An account to open."""

    ledger: int
    code: int
    id: str | UnsetType = UNSET
    flags: list[str] | UnsetType = UNSET
    user_data_128: str | UnsetType = UNSET
    user_data_64: int | UnsetType = UNSET
    user_data_32: int | UnsetType = UNSET
    timestamp: int | UnsetType = UNSET


class Account(Struct, frozen=True):
    """An account as of now."""

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
    """`none`, `debits`, `credits` or `both`."""

    @property
    def available(self) -> int:
        """What may still be debited where debits must not exceed credits: pending debits count, pending credits do
        not, the credit limit does."""
        return self.credits_posted + self.credit_limit - self.debits_posted - self.debits_pending


class Transfer(Struct, frozen=True):
    """A transfer that was created. `amount` is what moved."""

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


class Leg(Struct, frozen=True, kw_only=True):
    """One movement of a payment. `ledger` and `code` default to the payment's."""

    debit_account_id: str
    credit_account_id: str
    amount: int
    ledger: int | UnsetType = UNSET
    code: int | UnsetType = UNSET


class Limit(Struct, frozen=True, kw_only=True):
    """Count `amount` against the credit limit of a limit account (docs/payments.md): for `window` seconds, or, with 0,
    for this payment alone."""

    account_id: str
    counter_account_id: str
    amount: int
    window: int = 0
    ledger: int | UnsetType = UNSET


class Condition(Struct, frozen=True, kw_only=True):
    """Only if the account has so much available before the payment."""

    account_id: str
    counter_account_id: str
    available_min: int
    ledger: int | UnsetType = UNSET


class NewPayment(Struct, frozen=True, kw_only=True):
    """A payment to make: its legs together or not at all. An `id` left out is that of the request."""

    legs: list[Leg]
    ledger: int
    code: int
    id: str | UnsetType = UNSET
    pending: bool | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    """Seconds after which a pending payment is given back by itself; 0 or left out: never."""
    value_date: str | UnsetType = UNSET
    """YYYY-MM-DD: from when the money counts, for interest."""
    booking_date: str | UnsetType = UNSET
    """YYYY-MM-DD: the business day whose books it is in, where that is not the day of the timestamp."""
    user_data_64: int | UnsetType = UNSET
    limits: list[Limit] | UnsetType = UNSET
    conditions: list[Condition] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    """Text that comes with the payment, as that of `NewTransfer`; each leg has the commitment to it."""
    metadata_person: str | UnsetType = UNSET
    """The opaque id of whose text it is; left out, the debit account's of the first leg."""


class Part(Struct, frozen=True, kw_only=True):
    """A leg of a payment by its place, from 0, and how much of it; left out: all that is left."""

    leg: int
    amount: int | UnsetType = UNSET


class PaymentOutcome(Struct, frozen=True, kw_only=True):
    """What was decided about a payment, posting, voiding or reversal as one thing."""

    id: str
    status: str
    timestamp: int
    request_id: str
    legs: list[Outcome]
    field: str = ""
    """Of a refusal: which part of the request the ledger refused, such as `limits[0]`."""
    replayed: bool = False
    transient: bool = False

    @property
    def done(self) -> bool:
        """Whether it is in the books. False: it was refused, and nothing of it was done."""
        return self.status == "created"


class PaidLeg(Struct, frozen=True):
    """One leg of a payment as it was made: `amount` moved, or was reserved if it is `pending`."""

    id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    ledger: int
    code: int
    timestamp: int
    pending: bool
    timeout: int
    reversed: int
    """So much of it was reversed since."""


class Reversal(Struct, frozen=True):
    """A reversal of a payment."""

    id: str
    number: int
    timestamp: int


class Payment(Struct, frozen=True):
    """A payment that was made."""

    id: str
    legs: list[PaidLeg]
    user_data_64: int
    reversals: list[Reversal]
    value_date: str = ""
    booking_date: str = ""
