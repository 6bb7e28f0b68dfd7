"""What becomes of pending transfers: posted or voided by their client, approved or rejected by people, expired."""

from tallystick.lab.model.books import ModelAccount, ModelBooks, ModelTransfer
from tallystick.lab.model.events import U128_MAX, Event, Key, user_data
from tallystick.records.commands import AccountFlag, Kind, Side, TransferFlag
from tallystick.records.details import Verdict
from tallystick.records.endings import Ending
from tallystick.statuses import ControlStatus, TransferStatus

POST = int(TransferFlag.POST_PENDING_TRANSFER)
VOID = int(TransferFlag.VOID_PENDING_TRANSFER)
RESOLVES = POST | VOID
_BESIDES = int(
    TransferFlag.PENDING
    | TransferFlag.BALANCING_DEBIT
    | TransferFlag.BALANCING_CREDIT
    | TransferFlag.CLOSING_DEBIT
    | TransferFlag.CLOSING_CREDIT
)
ENDED = {
    Ending.POSTED: TransferStatus.PENDING_TRANSFER_ALREADY_POSTED,
    Ending.VOIDED: TransferStatus.PENDING_TRANSFER_ALREADY_VOIDED,
    Ending.EXPIRED: TransferStatus.PENDING_TRANSFER_EXPIRED,
}
"""What is said of one that was resolved before."""


def sides(books: ModelBooks, tenant: int, transfer: ModelTransfer) -> tuple[ModelAccount, ModelAccount]:
    """Its accounts."""
    return books.accounts[tenant, transfer.debit_account_id], books.accounts[tenant, transfer.credit_account_id]


def has_passed(transfer: ModelTransfer, timestamp: int) -> bool:
    """Whether its time-out has passed at `timestamp`, ns, swept or not."""
    return transfer.expires_at != 0 and transfer.expires_at <= timestamp


def asked_as_pending(transfer: ModelTransfer) -> bool:
    """Whether its client made it pending; else a review did."""
    return bool(transfer.asked["flag_bits"] & TransferFlag.PENDING)


def barred(debit: ModelAccount, credit: ModelAccount) -> TransferStatus | None:
    """Why nothing may move between the two, or be posted, whatever the amount. Voids and expiries pass."""
    if debit.has(AccountFlag.CLOSED):
        return TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED
    if credit.has(AccountFlag.CLOSED):
        return TransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED
    if debit.frozen & Side.DEBITS:
        return TransferStatus.DEBIT_ACCOUNT_FROZEN
    if credit.frozen & Side.CREDITS:
        return TransferStatus.CREDIT_ACCOUNT_FROZEN
    return None


def end(books: ModelBooks, tenant: int, transfer: ModelTransfer, how: Ending, posted: int = 0) -> None:
    """Release what it reserved, post `posted` of it, and open again what it closed, unless it is posted."""
    debit, credit = sides(books, tenant, transfer)
    for thing in (debit, credit, transfer):
        books.changing(thing)
    debit.debits_pending -= transfer.moved
    credit.credits_pending -= transfer.moved
    debit.debits_posted += posted
    credit.credits_posted += posted
    transfer.ending = how
    books.resolved_one()
    if how is not Ending.POSTED:
        if transfer.has(TransferFlag.CLOSING_DEBIT):
            debit.flags &= ~int(AccountFlag.CLOSED)
        if transfer.has(TransferFlag.CLOSING_CREDIT):
            credit.flags &= ~int(AccountFlag.CLOSED)


def amount_to_resolve(t: Event, pending: ModelTransfer) -> int:
    """What a post or void asks to post or to give back: the whole, by 2^128 − 1 or zero, or a part."""
    whole = U128_MAX if t["flag_bits"] & POST else 0
    return pending.moved if t["amount"] == whole else int(t["amount"])


def resolve(
    books: ModelBooks, t: Event, timestamp: int, own_time: int, seq: int, verdict: Verdict
) -> tuple[TransferStatus, ModelTransfer | None, int]:
    """Post or void, decided at `timestamp`, ns. Its status, the transfer it makes, what moved."""
    status, pending = _status(books, t, timestamp, verdict)
    if status is not TransferStatus.CREATED:
        return status, None, 0
    assert pending is not None
    posts = t["flag_bits"] & POST
    amount = amount_to_resolve(t, pending)
    end(books, t["tenant"], pending, Ending.POSTED if posts else Ending.VOIDED, amount if posts else 0)
    own, theirs = user_data(t), pending.user_data
    transfer = ModelTransfer(
        asked=t,
        seq=seq,
        decided_at=timestamp,
        timestamp=own_time,
        moved=amount,
        flags=t["flag_bits"],
        timeout=0,
        debit_account_id=pending.debit_account_id,
        credit_account_id=pending.credit_account_id,
        ledger=pending.ledger,
        code=pending.code,
        user_data=(own[0] or theirs[0], own[1] or theirs[1], own[2] or theirs[2]),
        pending=pending,
    )
    books.add_transfer((t["tenant"], t["id"]), transfer)
    return status, transfer, amount


def _status(
    books: ModelBooks, t: Event, timestamp: int, verdict: Verdict
) -> tuple[TransferStatus, ModelTransfer | None]:
    flags = t["flag_bits"]
    if flags & RESOLVES == RESOLVES or flags & _BESIDES:
        return TransferStatus.FLAGS_ARE_MUTUALLY_EXCLUSIVE, None
    if t["pending_id"] == 0:
        return TransferStatus.PENDING_ID_MUST_NOT_BE_ZERO, None
    if t["pending_id"] == U128_MAX:
        return TransferStatus.PENDING_ID_MUST_NOT_BE_INT_MAX, None
    if t["pending_id"] == t["id"]:
        return TransferStatus.PENDING_ID_MUST_BE_DIFFERENT, None
    if t["timeout"]:
        return TransferStatus.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER, None
    pending = books.transfers.get((t["tenant"], t["pending_id"]))
    if pending is None:
        return TransferStatus.PENDING_TRANSFER_NOT_FOUND, None
    if pending.ending is Ending.NONE:
        return TransferStatus.PENDING_TRANSFER_NOT_PENDING, None
    for name, kept, status in (
        ("debit_account_id", pending.debit_account_id, TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID),
        (
            "credit_account_id",
            pending.credit_account_id,
            TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID,
        ),
        ("ledger", pending.ledger, TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER),
        ("code", pending.code, TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_CODE),
    ):
        if t[name] not in (0, kept):
            return status, None
    amount = amount_to_resolve(t, pending)
    if amount > pending.moved:
        return TransferStatus.EXCEEDS_PENDING_TRANSFER_AMOUNT, None
    if flags & VOID and amount < pending.moved:
        return TransferStatus.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT, None
    if pending.ending is not Ending.OPEN:
        return ENDED[pending.ending], None
    if has_passed(pending, timestamp):
        return TransferStatus.PENDING_TRANSFER_EXPIRED, None
    if pending.in_review and flags & POST:
        return TransferStatus.PENDING_TRANSFER_IN_REVIEW, None
    if flags & TransferFlag.IMPORTED and books.regresses(t["tenant"], Kind.TRANSFER, t["timestamp"]):
        return TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS, None
    if flags & POST:
        refused = barred(*sides(books, t["tenant"], pending))
        if refused is not None:
            return refused, None
        if verdict is Verdict.REFUSE:
            return TransferStatus.REFUSED_BY_SCREENING, None
    return TransferStatus.CREATED, pending


def find_reviewed(books: ModelBooks, key: Key, timestamp: int) -> tuple[ControlStatus, ModelTransfer | None]:
    """The pending transfer in review that people approve or reject, or why there is none."""
    pending = books.transfers.get(key)
    if pending is None:
        return ControlStatus.PENDING_TRANSFER_NOT_FOUND, None
    if pending.ending is Ending.NONE:
        return ControlStatus.PENDING_TRANSFER_NOT_PENDING, None
    if pending.ending is not Ending.OPEN:
        return ControlStatus[ENDED[pending.ending].name], None
    if has_passed(pending, timestamp):
        return ControlStatus.PENDING_TRANSFER_EXPIRED, None
    if not pending.in_review:
        return ControlStatus.PENDING_TRANSFER_NOT_IN_REVIEW, None
    return ControlStatus.APPLIED, pending
