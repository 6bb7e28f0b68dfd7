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
