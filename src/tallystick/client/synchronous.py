"""The SDK for threads: `Client`."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from tallystick import ids
from tallystick.client import questions, reading
from tallystick.client.failures import StillUnknown
from tallystick.client.http import Api
from tallystick.client.questions import Question
from tallystick.client.reading import AccountFilter, Line, ListedAccount, ListedTransfer, Page, TransferFilter
from tallystick.client.requests import Patience, ask_until_known
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
from tallystick.clock import Clock, Entropy, SystemClock, system_entropy
from tallystick.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")


class Client:
    """A gateway, for any number of threads. Use it as a context, or `close` it.

    What changes something takes a `key`: the same key with the same content is the same request, for ever, and gets
    the first result again; left out, a time-ordered one is made. Each call asks until the outcome is known, for
    `patience_s` seconds, and waits between tries, a little longer each time.

    Raises `Unavailable` (nothing was written), `StillUnknown` (it may have been; says how to ask again), `ApiProblem`
    (the gateway objects), `Invalid` (an argument). A refusal is no error: see `Outcome.done`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience_s: float = 60.0,
        connections: int = 16,
        wait_s: float = 35.0,
        clock: Clock | None = None,
        entropy: Entropy = system_entropy,
    ) -> None:
        """`key` is an API key, `sk_…`. `connections`: requests under way at once; more wait for their turn."""
        self._api = Api(url, key, connections, wait_s)
        self._clock = clock or SystemClock()
        self._minter = ids.Minter(entropy)
        # Set by `close`, and until then a pause that costs no processor.
        self._closed = threading.Event()
        self._patience = Patience(self._clock, entropy, self._closed.wait, patience_s)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Who waits between two tries gives up."""
        self._closed.set()
        self._api.close()

    # Payments

    def pay(
        self,
        debit_account_id: str,
        credit_account_id: str,
        amount: int,
        *,
        ledger: int,
        code: int,
        key: str | None = None,
        expires_at: int | None = None,
    ) -> Outcome:
        """Move `amount` minor units from one account to the other."""
        new = NewTransfer(
            debit_account_id=debit_account_id,
            credit_account_id=credit_account_id,
            amount=amount,
            ledger=ledger,
            code=code,
        )
        return self.transfer(new, key=key, expires_at=expires_at)

    def transfer(self, new: NewTransfer, *, key: str | None = None, expires_at: int | None = None) -> Outcome:
        """Make one transfer of any sort. Decided after `expires_at` (ns since the epoch), it is refused."""
        return self._ask(questions.transfer(new, self._key(key), expires_at))

    def transfers(
        self, several: Iterable[NewTransfer], *, key: str | None = None, expires_at: int | None = None
    ) -> list[Outcome]:
        """Make 1 to 8,190 transfers as one request; linked ones are made together or not at all."""
        return self._ask(questions.transfers(several, self._key(key), expires_at))

    def approve(self, transfer_id: str, *, reason: int, actor: str, key: str | None = None) -> Outcome:
        """Let a pending transfer in review go."""
        return self._ask(questions.review(transfer_id, "approve", reason, actor, self._key(key)))

    def reject(self, transfer_id: str, *, reason: int, actor: str, key: str | None = None) -> Outcome:
        """Stop a pending transfer in review."""
        return self._ask(questions.review(transfer_id, "reject", reason, actor, self._key(key)))

    # Payments of several legs (docs/payments.md)

    def make_payment(self, new: NewPayment, *, key: str | None = None, expires_at: int | None = None) -> PaymentOutcome:
        """Make a payment: its legs together or not at all, within its limits, under its conditions."""
        return self._ask(questions.payment(new, self._key(key), expires_at))

    def post_payment(
        self, payment_id: str, parts: Sequence[Part] | None = None, *, key: str | None = None
    ) -> PaymentOutcome:
        """Make a pending payment final: all of it, or these parts. What is left of a leg so posted is given back."""
        return self._ask(questions.resolve(payment_id, "post", self._key(key), parts))

    def void_payment(self, payment_id: str, *, key: str | None = None) -> PaymentOutcome:
        """Give back what a pending payment reserved."""
        return self._ask(questions.resolve(payment_id, "void", self._key(key)))

    def reverse_payment(
        self,
        payment_id: str,
        parts: Sequence[Part] | None = None,
        *,
        number: int | None = None,
        posting_id: str | None = None,
        code: int | None = None,
        metadata: Mapping[str, str] | None = None,
        metadata_person: str | None = None,
        key: str | None = None,
    ) -> PaymentOutcome:
        """Reverse a payment by new transfers: all that is left of it, or these parts.

        `number` is which of the payment's reversals this is; left out, the next one is looked up first. There is one
        of each number: if somebody else made it meanwhile, this is refused, with `field` "number". `posting_id` names
        the posting of a pending payment that is to be reversed. `metadata` is text that comes with it, and
        `metadata_person` the opaque id of whose it is.
        """
        own = self._key(key)
        if number is None:
            number = questions.next_reversal(self.find_payment(payment_id), own)
        return self._ask(
            questions.resolve(
                payment_id,
                "reversals",
                own,
                parts,
                number=number,
                posting_id=posting_id,
                code=code,
                metadata=metadata,
                metadata_person=metadata_person,
            )
        )

    def find_payment(self, payment_id: str) -> Payment | None:
        """The payment and its reversals; None if none was made under this id."""
        return self._ask(questions.find_payment(payment_id))

    # Accounts

    def open_account(self, new: NewAccount, *, key: str | None = None) -> Outcome:
        """Open one account."""
        return self._ask(questions.account(new, self._key(key)))

    def open_accounts(self, several: Iterable[NewAccount], *, key: str | None = None) -> list[Outcome]:
        """Open 1 to 8,190 accounts as one request."""
        return self._ask(questions.accounts(several, self._key(key)))

    def freeze(
        self, account_id: str, *, side: str = "both", reason: int, actor: str, key: str | None = None
    ) -> Outcome:
        """Stop the account's `debits`, `credits` or `both`."""
        return self._ask(questions.freeze(account_id, "freeze", side, reason, actor, self._key(key)))

    def unfreeze(
        self, account_id: str, *, side: str = "both", reason: int, actor: str, key: str | None = None
    ) -> Outcome:
        """Let the account's `debits`, `credits` or `both` through again."""
        return self._ask(questions.freeze(account_id, "unfreeze", side, reason, actor, self._key(key)))

    def set_credit_limit(
        self, account_id: str, limit: int, *, reason: int, actor: str, key: str | None = None
    ) -> Outcome:
        """How far the account's debits may pass its credits, in minor units."""
        return self._ask(questions.credit_limit(account_id, limit, reason, actor, self._key(key)))

    # Look-ups

    def find_account(self, account_id: str) -> Account | None:
        """The account as of now; None if there is none."""
        return next(iter(self.find_accounts([account_id])), None)

    def find_accounts(self, account_ids: Sequence[str]) -> list[Account]:
        """Those of up to 8,190 accounts that exist, in the order asked."""
        return self._ask(questions.find_accounts(account_ids))

    def find_transfer(self, transfer_id: str) -> Transfer | None:
        """The transfer; None if none was created under this id."""
        return next(iter(self.find_transfers([transfer_id])), None)

    def find_transfers(self, transfer_ids: Sequence[str]) -> list[Transfer]:
        """Those of up to 8,190 transfers that were created, in the order asked."""
        return self._ask(questions.find_transfers(transfer_ids))

    def find_text(self, commitment: str) -> dict[str, str] | None:
        """The text that came with a payment, by the commitment that lists and statements show; None if there is none
        or it was erased. Whoever asks is noted in the log `access`."""
        return self._ask(questions.find_text(commitment))

    # Lists, page by page

    def search_transfers(self, chosen: TransferFilter) -> Iterator[ListedTransfer]:
        """The transfers that meet the filter, newest first unless it says otherwise."""
        return self._pages(lambda cursor: reading.transfers(chosen, cursor))

    def search_accounts(self, chosen: AccountFilter) -> Iterator[ListedAccount]:
        """The accounts that meet the filter, oldest first."""
        return self._pages(lambda cursor: reading.accounts(chosen, cursor))

    def statement(
        self, account_id: str, *, since: int | str | UnsetType = UNSET, until: int | str | UnsetType = UNSET
    ) -> Iterator[Line]:
        """The account's lines of a span, oldest first, each with the balances after it."""
        span = TransferFilter(since=since, until=until)
        return self._pages(lambda cursor: reading.statement(account_id, span, cursor))

    # Asking

    def ask_again(self, unknown: StillUnknown) -> Any:
        """Ask what became of a request whose outcome was not known: the result that its own call would have had."""
        return self._ask(unknown.question)

    def _key(self, key: str | None) -> str:
        if key is None:
            return ids.show(self._minter.mint(self._clock.wall_ns()))
        return questions.request_id(key)

    def _pages(self, page: Callable[[str], Question[Page[T]]]) -> Iterator[T]:
        cursor = ""
        while True:
            found = self._ask(page(cursor))
            yield from found.rows
            if not found.cursor:
                return
            cursor = found.cursor

    def _ask(self, question: Question[T]) -> T:
        headers = {**question.headers, **self._api.seen.headers} if question.follows else question.headers
        try:
            answer = ask_until_known(self._api, question.method, question.path, question.body, headers, self._patience)
        except (Unavailable, OutcomeUnknown) as error:
            raise question.failure(error) from error
        return question.read(answer)
