"""Batches, requests, chains: in which order what is decided, and what is recorded of it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tallystick.lab.model import pendings
from tallystick.lab.model.accounts import account_status, open_account
from tallystick.lab.model.books import ModelAccount, ModelBooks, ModelTransfer
from tallystick.lab.model.controls import control
from tallystick.lab.model.decided import Decided, Result
from tallystick.lab.model.events import TIMESTAMP_MAX, Event, Key, events_of
from tallystick.lab.model.transfers import Asked, create_transfer
from tallystick.records.commands import COMMANDS_MAX, AccountFlag, ControlFlag, Kind, TransferFlag
from tallystick.records.details import NO_POSITION, Verdict
from tallystick.records.endings import Ending
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, Status, TransferStatus, transient

_STATUSES: dict[Kind, type[AccountStatus] | type[TransferStatus] | type[ControlStatus]] = {
    Kind.TRANSFER: TransferStatus,
    Kind.ACCOUNT: AccountStatus,
    Kind.CONTROL: ControlStatus,
}
_LINKED = {
    Kind.TRANSFER: TransferFlag.LINKED,
    Kind.ACCOUNT: AccountFlag.LINKED,
    Kind.CONTROL: ControlFlag.LINKED,
}
_CAN_WAIT = int(TransferFlag.LINKED | TransferFlag.PENDING)
_IMPORTED = {Kind.TRANSFER: int(TransferFlag.IMPORTED), Kind.ACCOUNT: int(AccountFlag.IMPORTED)}


def _allowed(event: Event) -> Verdict:
    return Verdict.ALLOW


@dataclass
class Model:
    """Books of one shard. `…_max` is how much there is room for; `verdict_of` is what screening says of a transfer."""

    accounts_max: int = 1 << 32
    pendings_max: int = 1 << 32
    verdict_of: Callable[[Event], Verdict] = _allowed
    review_timeout: int = 0
    """Seconds that people have for a review; 0: as many as they like."""
    books: ModelBooks = field(default_factory=ModelBooks)
    requests: dict[Key, tuple[object, list[Result]]] = field(default_factory=dict)
    next_seq: int = 0
    entries: list[Decided] = field(default_factory=list)
    """Those of the last batch, expiries first, its seal left out."""

    @property
    def accounts(self) -> dict[Key, ModelAccount]:
        """By tenant and id."""
        return self.books.accounts

    @property
    def transfers(self) -> dict[Key, ModelTransfer | None]:
        """By tenant and id; None for an id that failed for good."""
        return self.books.transfers

    def decide(
        self, requests: Sequence[npt.NDArray[np.void]], now: int, quarantined: Collection[Key] = ()
    ) -> list[Result]:
        """Decide one batch of whole requests (`COMMAND` rows each) at `now`, ns: a result for every command.

        `quarantined` are requests that are refused for having ended the engine; only the journal knows which.
        """
        results: list[Result] = []
        self.entries = []
        self._expire(now)
        for commands in requests:
            results.extend(self._request(commands, now, quarantined))
        if self.entries:
            self.next_seq += 1  # the seal
        self.books.make_room()
        return results

    def _entry(self, kind: Kind, now: int) -> Decided:
        made = Decided(self.next_seq, now + len(self.entries), kind, TransferStatus.CREATED)
        self.entries.append(made)
        self.next_seq += 1
        return made

    def _expire(self, now: int) -> None:
        """Give back what is due; what does not fit into the block waits for the next."""
        while len(self.entries) < COMMANDS_MAX and (due := self.books.next_due(now)) is not None:
            (tenant, _), transfer = due
            pendings.end(self.books, tenant, transfer, Ending.EXPIRED)
            made = self._entry(Kind.EXPIRY, now)
            made.moved = transfer.moved
            self._number(tenant, transfer, made)
            made.pending_seq = transfer.seq

    def _number(self, tenant: int, transfer: ModelTransfer, made: Decided) -> None:
        debit, credit = pendings.sides(self.books, tenant, transfer)
        self.books.changing(debit)
        self.books.changing(credit)
        made.debit, made.credit = debit.numbered(made.seq), credit.numbered(made.seq)

    # Requests

    def _request(self, commands: npt.NDArray[np.void], now: int, quarantined: Collection[Key]) -> list[Result]:
        kind = Kind(int(commands["kind"][0]))
        content = (kind, commands["event"].tobytes(), commands["metadata"].tobytes())
        events = list(events_of(commands, kind))
        key = (events[0]["tenant"], events[0]["request_id"])
        if key in self.requests:
            first, told = self.requests[key]
            if first != content:
                return [Result(0, RequestStatus.IDEMPOTENCY_KEY_REUSED)] * len(events)
            return [Result(one.timestamp, one.status, True) for one in told]
        if events[0]["expires_at"] and now > events[0]["expires_at"]:
            results = self._refuse(kind, len(events), _STATUSES[kind].REQUEST_EXPIRED, now)
        elif key in quarantined:
            results = self._refuse(kind, len(events), _STATUSES[kind].QUARANTINED, now)
        else:
            results = _Request(self, kind, events, now).decide()
        self.requests[key] = (content, results)
        return results

    def _refuse(self, kind: Kind, count: int, status: Status, now: int) -> list[Result]:
        """All of a request alike, without a look at it."""
        results = []
        for _ in range(count):
            made = self._entry(kind, now)
            made.status = status
            results.append(Result(made.timestamp, status))
        return results


class _Request:
    """One request that is decided now."""

    def __init__(self, model: Model, kind: Kind, events: list[Event], now: int) -> None:
        self._model, self._kind, self._events, self._now = model, kind, events, now
        self._books = model.books
        self._statuses = _STATUSES[kind]
        self._results: list[Result] = []
        self._made: list[Decided] = []
        self._began_at = now + len(model.entries)
        self._verdicts = self._screened() if kind is Kind.TRANSFER else []

    def decide(self) -> list[Result]:
        """A result for every command, in order."""
        chain_from: int | None = None
        broken = False
        for index, event in enumerate(self._events):
            linked = bool(event["flag_bits"] & _LINKED[self._kind])
            if linked and chain_from is None:
                chain_from = index
                self._books.begin()
            made = self._model._entry(self._kind, self._now)  # its place is taken whatever becomes of it
            self._made.append(made)
            made.status, timestamp = self._one(index, event, made, linked, broken)
            self._results.append(Result(timestamp, made.status))
            if chain_from is None:
                self._spend_id(event, made.status)
                continue
            if made.status != TransferStatus.CREATED and not broken:
                broken = True
                self._books.take_back()
                self._fail(chain_from, index)
                self._spend_id(event, made.status)
            if not linked or index == len(self._events) - 1:
                self._books.keep()
                chain_from, broken = None, False
        return self._results

    def _one(self, index: int, event: Event, made: Decided, linked: bool, broken: bool) -> tuple[Status, int]:
        """The status of one event, and the time that its result shows."""
        if linked and index == len(self._events) - 1:
            return self._statuses.LINKED_EVENT_CHAIN_OPEN, made.timestamp
        if broken:
            return self._statuses.LINKED_EVENT_FAILED, made.timestamp
        if self._kind is Kind.CONTROL:
            return self._control(event, made), made.timestamp
        refused = self._import_refused(event)
        if refused is not None:
            return refused, made.timestamp
        return self._transfer(index, event, made) if self._kind is Kind.TRANSFER else self._account(event, made)

    def _import_refused(self, event: Event) -> Status | None:
        """The first event says whether the request imports; times must fit that."""
        flag = _IMPORTED[self._kind]
        statuses = AccountStatus if self._kind is Kind.ACCOUNT else TransferStatus
        imports, imported = self._events[0]["flag_bits"] & flag, event["flag_bits"] & flag
        for wrong, status in (
            (imports and not imported, statuses.IMPORTED_EVENT_EXPECTED),
            (imported and not imports, statuses.IMPORTED_EVENT_NOT_EXPECTED),
            (not imported and event["timestamp"] != 0, statuses.TIMESTAMP_MUST_BE_ZERO),
            (
                imported and not 0 < event["timestamp"] <= TIMESTAMP_MAX,
                statuses.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE,
            ),
            (
                imported and event["timestamp"] >= self._began_at,
                statuses.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE,
            ),
        ):
            if wrong:
                return status
        return None

    def _account(self, event: Event, made: Decided) -> tuple[Status, int]:
        status = account_status(self._books, event, self._model.accounts_max)
        if status is AccountStatus.EXISTS:
            return status, self._books.accounts[event["tenant"], event["id"]].created_at
        if status is not AccountStatus.CREATED:
            return status, made.timestamp
        made.debit = (1, NO_POSITION)
        return status, open_account(self._books, event, made.timestamp, made.seq)

    def _transfer(self, index: int, event: Event, made: Decided) -> tuple[Status, int]:
        asked = Asked(event, made.timestamp, made.seq, self._verdicts[index], self._model.review_timeout)
        status, transfer, moved = create_transfer(self._books, asked, self._model.pendings_max)
        if transfer is None:
            return status, made.timestamp
        if status is TransferStatus.CREATED:
            made.moved, made.flags, made.timeout = moved, transfer.flags, transfer.timeout
            made.pending_seq = transfer.pending.seq if transfer.pending else 0
            self._model._number(event["tenant"], transfer, made)
            return status, transfer.timestamp
        return status, transfer.timestamp if status is TransferStatus.EXISTS else made.timestamp

    def _control(self, event: Event, made: Decided) -> Status:
        status, pending, moved = control(self._books, event, made.timestamp)
        if status is not ControlStatus.APPLIED:
            return status
        if pending is not None:
            made.moved, made.pending_seq = moved, pending.seq
            self._model._number(event["tenant"], pending, made)
        else:
            made.debit = self._books.accounts[event["tenant"], event["account_id"]].numbered(made.seq)
        return status

    def _fail(self, first: int, stop: int) -> None:
        """The chain's members before the one that broke it: taken back."""
        for at in range(first, stop):
            made = self._made[at]
            made.is_not(self._statuses.LINKED_EVENT_FAILED)
            self._results[at] = Result(made.timestamp, made.status)

    def _spend_id(self, event: Event, status: Status) -> None:
        if transient(status):
            self._books.transfers[event["tenant"], event["id"]] = None

    def _screened(self) -> list[Verdict]:
        """What screening says of each; a chain is reviewed as a whole.

        Only what is plain or pending can wait for people. In a chain with anything else, what they were to see is
        refused: it must not pass unseen.
        """
        verdicts = [self._model.verdict_of(event) for event in self._events]
        first = 0
        for index, event in enumerate(self._events):
            if event["flag_bits"] & TransferFlag.LINKED and index < len(self._events) - 1:
                continue
            chain = range(first, index + 1)
            can_wait = all(self._events[at]["flag_bits"] & ~_CAN_WAIT == 0 for at in chain)
            if any(verdicts[at] is Verdict.REVIEW for at in chain):
                for at in chain:
                    if can_wait and verdicts[at] is Verdict.ALLOW:
                        verdicts[at] = Verdict.REVIEW
                    elif not can_wait and verdicts[at] is Verdict.REVIEW:
                        verdicts[at] = Verdict.REFUSE
            first = index + 1
        return verdicts
