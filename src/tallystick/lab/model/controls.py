"""Control commands: freeze, unfreeze, credit limit of an account; approve or reject of a transfer in review."""

from tallystick.lab.model import pendings
from tallystick.lab.model.books import ModelBooks, ModelTransfer
from tallystick.lab.model.events import Event
from tallystick.records.commands import ControlFlag, Opcode, Side
from tallystick.records.endings import Ending
from tallystick.statuses import ControlStatus

_OF_ACCOUNTS = (Opcode.FREEZE, Opcode.UNFREEZE, Opcode.CREDIT_LIMIT)
_OF_REVIEWS = (Opcode.APPROVE, Opcode.REJECT)


def control(books: ModelBooks, c: Event, timestamp: int) -> tuple[ControlStatus, ModelTransfer | None, int]:
    """Decide it, and do it if it applies. Its status, the pending transfer it is about, what moved."""
    if c["flag_bits"] & ~int(ControlFlag.LINKED) or any(int(word) for word in c["reserved_64"]):
        return ControlStatus.RESERVED_FIELD, None, 0
    if c["opcode"] in _OF_ACCOUNTS:
        return _of_account(books, c), None, 0
    if c["opcode"] in _OF_REVIEWS:
        return _of_review(books, c, timestamp)
    return ControlStatus.RESERVED_FIELD, None, 0


def _of_account(books: ModelBooks, c: Event) -> ControlStatus:
    if c["opcode"] != Opcode.CREDIT_LIMIT and c["value"] not in (Side.DEBITS, Side.CREDITS, Side.BOTH):
        return ControlStatus.RESERVED_FIELD
    account = books.accounts.get((c["tenant"], c["account_id"]))
    if account is None:
        return ControlStatus.ACCOUNT_NOT_FOUND
    books.changing(account)
    if c["opcode"] == Opcode.FREEZE:
        account.frozen |= c["value"]
    elif c["opcode"] == Opcode.UNFREEZE:
        account.frozen &= ~c["value"]
    else:
        account.credit_limit = c["value"]
    return ControlStatus.APPLIED


def _of_review(books: ModelBooks, c: Event, timestamp: int) -> tuple[ControlStatus, ModelTransfer | None, int]:
    if c["account_id"]:
        return ControlStatus.RESERVED_FIELD, None, 0
    tenant = c["tenant"]
    found, pending = pendings.find_reviewed(books, (tenant, c["value"]), timestamp)
    if pending is None:
        return found, None, 0
    if c["opcode"] == Opcode.REJECT:
        pendings.end(books, tenant, pending, Ending.VOIDED)
        return ControlStatus.APPLIED, pending, pending.moved
    refused = pendings.barred(*pendings.sides(books, tenant, pending))
    if refused is not None:
        return ControlStatus[refused.name], None, 0
    if pendings.asked_as_pending(pending):
        books.changing(pending)
        pending.in_review = False
        return ControlStatus.APPLIED, pending, 0
    pendings.end(books, tenant, pending, Ending.POSTED, pending.moved)
    return ControlStatus.APPLIED, pending, pending.moved
