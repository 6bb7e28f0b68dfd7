"""Transfers, plain and pending: the ladder of TigerBeetle's create_transfers, top to bottom."""

from dataclasses import dataclass

from tallystick.lab.model import pendings
from tallystick.lab.model.books import ModelAccount, ModelBooks, ModelTransfer
from tallystick.lab.model.events import SECOND, TIMESTAMP_MAX, U128_MAX, Event, user_data
from tallystick.records.commands import AccountFlag, Kind, TransferFlag
from tallystick.records.details import Verdict
from tallystick.records.endings import Ending
from tallystick.statuses import TransferStatus

_KNOWN = sum(TransferFlag)
_BALANCING = int(TransferFlag.BALANCING_DEBIT | TransferFlag.BALANCING_CREDIT)
_CLOSING = int(TransferFlag.CLOSING_DEBIT | TransferFlag.CLOSING_CREDIT)


@dataclass(frozen=True, slots=True)
class Asked:
    """A transfer that is to be decided, and what is known besides."""

    event: Event
    timestamp: int
    """ns, the decision's."""
    seq: int
    verdict: Verdict
    """Of its chain, as far as that can be reviewed (`batches`)."""
    review_timeout: int
    """Seconds."""

    @property
    def flags(self) -> int:
        """Effective ones: what is reviewed becomes pending."""
        flags = int(self.event["flag_bits"])
        return flags | TransferFlag.PENDING if self.verdict is Verdict.REVIEW else flags

    @property
    def timeout(self) -> int:
        """Seconds, effective: the client's own, of what a review made pending that of reviews."""
        asked_as_pending = self.event["flag_bits"] & TransferFlag.PENDING
        return (
            int(self.event["timeout"])
            if asked_as_pending or not self.flags & TransferFlag.PENDING
            else self.review_timeout
        )

    @property
    def own_time(self) -> int:
        """ns, when it was created, if it is."""
        return int(self.event["timestamp"]) if self.event["flag_bits"] & TransferFlag.IMPORTED else self.timestamp


def create_transfer(
    books: ModelBooks, asked: Asked, pendings_max: int
) -> tuple[TransferStatus, ModelTransfer | None, int]:
    """Decide it, and enter it if it is created. Its status, what was created or exists, what moved."""
    t = asked.event
    if t["flag_bits"] & ~_KNOWN:
        return TransferStatus.RESERVED_FLAG, None, 0
    if t["id"] == 0:
        return TransferStatus.ID_MUST_NOT_BE_ZERO, None, 0
    if t["id"] == U128_MAX:
        return TransferStatus.ID_MUST_NOT_BE_INT_MAX, None, 0
    key = (t["tenant"], t["id"])
    if key in books.transfers:
        there = books.transfers[key]
        if there is None:
            return TransferStatus.ID_ALREADY_FAILED, None, 0
        return _exists(t, there), there, 0
    if t["flag_bits"] & pendings.RESOLVES:
        return pendings.resolve(books, t, asked.timestamp, asked.own_time, asked.seq, asked.verdict)
    status, amount = _status(books, asked, pendings_max)
    if status is not TransferStatus.CREATED:
        return status, None, 0
    return status, _enter(books, asked, amount), amount


def _enter(books: ModelBooks, asked: Asked, amount: int) -> ModelTransfer:
    t = asked.event
    debit, credit = _accounts(books, t)
    assert debit is not None
    assert credit is not None
    books.changing(debit)
    books.changing(credit)
    transfer = ModelTransfer(
        asked=t,
        seq=asked.seq,
        decided_at=asked.timestamp,
        timestamp=asked.own_time,
        moved=amount,
        flags=asked.flags,
        timeout=asked.timeout,
        debit_account_id=t["debit_account_id"],
        credit_account_id=t["credit_account_id"],
        ledger=t["ledger"],
        code=t["code"],
        user_data=user_data(t),
        in_review=asked.verdict is Verdict.REVIEW,
    )
    if transfer.has(TransferFlag.PENDING):
        debit.debits_pending += amount
        credit.credits_pending += amount
        transfer.ending = Ending.OPEN
        transfer.expires_at = asked.timestamp + asked.timeout * SECOND if asked.timeout else 0
    else:
        debit.debits_posted += amount
        credit.credits_posted += amount
    if transfer.has(TransferFlag.CLOSING_DEBIT):
        debit.flags |= AccountFlag.CLOSED
    if transfer.has(TransferFlag.CLOSING_CREDIT):
        credit.flags |= AccountFlag.CLOSED
    books.add_transfer((t["tenant"], t["id"]), transfer)
    return transfer


def _accounts(books: ModelBooks, t: Event) -> tuple[ModelAccount | None, ModelAccount | None]:
    tenant = t["tenant"]
    return books.accounts.get((tenant, t["debit_account_id"])), books.accounts.get((tenant, t["credit_account_id"]))


def _status(books: ModelBooks, asked: Asked, pendings_max: int) -> tuple[TransferStatus, int]:
    """The status of one that is neither post nor void, and the amount that would move."""
    t = asked.event
    if (refused := _misshapen(t)) is not None:
        return refused, 0
    debit, credit = _accounts(books, t)
    if debit is None:
        return TransferStatus.DEBIT_ACCOUNT_NOT_FOUND, 0
    if credit is None:
        return TransferStatus.CREDIT_ACCOUNT_NOT_FOUND, 0
    if debit.ledger != credit.ledger:
        return TransferStatus.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER, 0
    if t["ledger"] != debit.ledger:
        return TransferStatus.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS, 0
    if t["flag_bits"] & TransferFlag.IMPORTED:
        if books.regresses(t["tenant"], Kind.TRANSFER, t["timestamp"]):
            return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS, 0
        if t["timestamp"] <= debit.created_at:
            return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT, 0
        if t["timestamp"] <= credit.created_at:
            return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT, 0
        if t["timeout"]:
            return TransferStatus.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO, 0
    if (refused := pendings.barred(debit, credit)) is not None:
        return refused, 0
    amount = _balanced(t, debit, credit)
    if (refused := _no_room(asked, amount, debit, credit)) is not None:
        return refused, 0
    if asked.verdict is Verdict.REFUSE:
        return TransferStatus.REFUSED_BY_SCREENING, 0
    if asked.flags & TransferFlag.PENDING and books.rows >= pendings_max:
        return TransferStatus.TOO_MANY_PENDING_TRANSFERS, 0
    return TransferStatus.CREATED, amount


def _misshapen(t: Event) -> TransferStatus | None:
    flags = t["flag_bits"]
    pending = flags & TransferFlag.PENDING
    for wrong, status in (
        (t["debit_account_id"] == 0, TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO),
        (t["debit_account_id"] == U128_MAX, TransferStatus.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX),
        (t["credit_account_id"] == 0, TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO),
        (t["credit_account_id"] == U128_MAX, TransferStatus.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX),
        (t["debit_account_id"] == t["credit_account_id"], TransferStatus.ACCOUNTS_MUST_BE_DIFFERENT),
        (t["pending_id"] != 0, TransferStatus.PENDING_ID_MUST_BE_ZERO),
        (t["timeout"] and not pending, TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER),
        (flags & _CLOSING and not pending, TransferStatus.CLOSING_TRANSFER_MUST_BE_PENDING),
        (t["ledger"] == 0, TransferStatus.LEDGER_MUST_NOT_BE_ZERO),
        (t["code"] == 0, TransferStatus.CODE_MUST_NOT_BE_ZERO),
    ):
        if wrong:
            return status
    return None


def _balanced(t: Event, debit: ModelAccount, credit: ModelAccount) -> int:
    """What it moves: of a balancing transfer, no more than the balances allow; a credit limit is not drawn on."""
    amount = int(t["amount"])
    if t["flag_bits"] & TransferFlag.BALANCING_DEBIT:
        amount = min(amount, max(0, debit.credits_posted - debit.debits_posted - debit.debits_pending))
    if t["flag_bits"] & TransferFlag.BALANCING_CREDIT:
        amount = min(amount, max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending))
    return amount


def _no_room(asked: Asked, amount: int, debit: ModelAccount, credit: ModelAccount) -> TransferStatus | None:
    pending = asked.flags & TransferFlag.PENDING
    debits = debit.debits_pending + debit.debits_posted + amount
    credits = credit.credits_pending + credit.credits_posted + amount
    limited = debit.has(AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS)
    owing = credit.has(AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS)
    for wrong, status in (
        (pending and debit.debits_pending + amount > U128_MAX, TransferStatus.OVERFLOWS_DEBITS_PENDING),
        (pending and credit.credits_pending + amount > U128_MAX, TransferStatus.OVERFLOWS_CREDITS_PENDING),
        (debit.debits_posted + amount > U128_MAX, TransferStatus.OVERFLOWS_DEBITS_POSTED),
        (credit.credits_posted + amount > U128_MAX, TransferStatus.OVERFLOWS_CREDITS_POSTED),
        (debits > U128_MAX, TransferStatus.OVERFLOWS_DEBITS),
        (credits > U128_MAX, TransferStatus.OVERFLOWS_CREDITS),
        (asked.timeout and asked.own_time + asked.timeout * SECOND > TIMESTAMP_MAX, TransferStatus.OVERFLOWS_TIMEOUT),
        (limited and debits > debit.credits_posted + debit.credit_limit, TransferStatus.EXCEEDS_CREDITS),
        (owing and credits > credit.debits_posted, TransferStatus.EXCEEDS_DEBITS),
    ):
        if wrong:
            return status
    return None


def _exists(t: Event, there: ModelTransfer) -> TransferStatus:
    """The id is taken: by this very transfer, or by another. Fields left to the pending transfer are filled in."""
    e, flags = there.asked, t["flag_bits"]
    debit, credit, ledger, code = t["debit_account_id"], t["credit_account_id"], t["ledger"], t["code"]
    own = user_data(t)
    if there.pending is not None:
        of = there.pending
        debit, credit = debit or of.debit_account_id, credit or of.credit_account_id
        ledger, code = ledger or of.ledger, code or of.code
        own = (own[0] or of.user_data[0], own[1] or of.user_data[1], own[2] or of.user_data[2])
        amount_differs = pendings.amount_to_resolve(t, of) != there.moved
    elif flags & _BALANCING:
        amount_differs = t["amount"] < there.moved
    else:
        amount_differs = t["amount"] != there.moved
    for differs, status in (
        (flags != e["flag_bits"], TransferStatus.EXISTS_WITH_DIFFERENT_FLAGS),
        (t["pending_id"] != e["pending_id"], TransferStatus.EXISTS_WITH_DIFFERENT_PENDING_ID),
        (t["timeout"] != e["timeout"], TransferStatus.EXISTS_WITH_DIFFERENT_TIMEOUT),
        (debit != there.debit_account_id, TransferStatus.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID),
        (credit != there.credit_account_id, TransferStatus.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID),
        (amount_differs, TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT),
        (own[0] != there.user_data[0], TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_128),
        (own[1] != there.user_data[1], TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_64),
        (own[2] != there.user_data[2], TransferStatus.EXISTS_WITH_DIFFERENT_USER_DATA_32),
        (ledger != there.ledger, TransferStatus.EXISTS_WITH_DIFFERENT_LEDGER),
        (code != there.code, TransferStatus.EXISTS_WITH_DIFFERENT_CODE),
    ):
        if differs:
            return status
    return TransferStatus.EXISTS
