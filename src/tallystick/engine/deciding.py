"""One batch from deliveries to a draft: requests told apart, what is needed fetched, all decided, all checked.

This is the shell around `ledger.kernel`: it looks up, calls, and keeps count; it does not wait, read a clock or
write. `recovery` makes a `Decider` whose books are those of the journal.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.engine.drafts import Answer, Delivery, Draft
from tallystick.engine.endings import Endings
from tallystick.engine.fetch import Fetcher, find_clashes
from tallystick.engine.homes import Homes
from tallystick.engine.idindex import NOWHERE, IdIndex
from tallystick.engine.requests import Admission, Admissions, Requests, admit, ranges, split
from tallystick.errors import Corrupt
from tallystick.ledger import expiry, imports, invariants, kernel
from tallystick.ledger.batches import REVIEW_TIMEOUT_S, Batch, Outcome, batch, outcome
from tallystick.ledger.books import NO_ROW, Bookkeeper, Counter
from tallystick.ledger.compiled import ROWS, U64, records
from tallystick.records.commands import COMMAND, COMMAND_SIZE, COMMANDS_MAX, AccountFlag, Kind, TransferFlag
from tallystick.records.endings import Ending
from tallystick.records.entries import TRANSFER_WORK
from tallystick.records.results import RESULT
from tallystick.statuses import STORED_MASK, AccountStatus, RequestStatus, TransferStatus

Judge = Callable[[Batch, Any, Outcome, Any, Any, Any], None]
Screen = Callable[[Batch, int], None]
"""Given a batch, its columns looked up, and `now` in ns: fills `batch.verdicts` (`records.details.Verdict`)."""


def allow_all(work: Batch, now: int) -> None:
    """No screening: every verdict is ALLOW, as `batch` makes it."""


@dataclass
class Decider:
    """The books, the two id indexes, and where the journal will go on."""

    bookkeeper: Bookkeeper
    transfer_index: IdIndex
    request_index: IdIndex
    fetcher: Fetcher
    shard: int = 0
    next_seq: int = 0
    last_timestamp: int = 0
    positions: dict[bytes, int] = field(default_factory=dict)
    judge: Judge = kernel.decide
    endings: Endings = field(default_factory=Endings)
    """How pending transfers ended that the books hold no longer."""
    decided: Callable[[Draft], None] | None = None
    """Called with each block as it was decided, the books being as they are after it (`engine.snapshots`)."""

    screen: Screen = allow_all
    review_timeout_s: int = REVIEW_TIMEOUT_S
    """How long people have for a payment in review, unless it was asked as a pending one."""
    homes: Homes = field(default_factory=Homes)
    """Where tenants live, of those that were placed."""

    def next_expiry(self) -> int | None:
        """When the next pending transfer expires, ns; None if none will."""
        books = self.bookkeeper.books
        return int(books.heap[0, 0]) if books.counters[Counter.HEAP] else None

    def decide(self, deliveries: list[Delivery], now: int, quarantine: bool = False) -> Draft:
        """Decide whole requests (at most 8,190 commands in all) at time `now`, ns, past `last_timestamp`.

        What is due by then expires first, at most 8,190 pending transfers; without deliveries that is all.

        `quarantine` refuses all that is new among them. Raises `Violated` if an invariant breaks; the books may
        then have changed, so the process must end.
        """
        self.make_room()
        commands = _together(deliveries)
        requests = split(commands, self.bookkeeper.id_keys)
        admissions = self._admit(commands, requests)
        new = commands if admissions is None else _to_decide(commands, requests, admissions)
        expiries = self._take_due(now)
        decided = self._decide_new(new, expiries, now, quarantine) if len(new) or expiries else None
        if decided is not None:
            self.request_index.note(requests.ids_lo, requests.ids_hi, _every(requests))
        for delivery in deliveries:
            if delivery.lane:
                self.positions[delivery.lane] = delivery.number
        results = decided.results if decided else np.empty(0, RESULT)
        if admissions is not None:
            results = self._with_repeats(requests, admissions, results)
        draft = Draft(
            decided,
            self.next_seq,
            dict(self.positions),
            _answers(deliveries, results.view(np.ndarray)),
        )
        self.fetcher.remember(draft)
        self.next_seq = draft.next_seq
        if self.decided is not None and decided is not None:
            self.decided(draft)
        return draft

    def _take_due(self, now: int) -> int:
        """As `expiry.take_due`, which most blocks can do without: nothing is due, and the last one resolved nothing."""
        books = self.bookkeeper.books
        if not books.counters[Counter.RESOLVED] and (books.counters[Counter.HEAP] == 0 or books.heap[0, 0] > now):
            return 0
        return int(expiry.take_due(books, U64(now)))

    def _decide_new(self, commands: npt.NDArray[np.void], expiries: int, now: int, quarantine: bool) -> Outcome:
        books = self.bookkeeper.books
        work = batch(commands, self.review_timeout_s)
        decided = outcome(len(commands), expiries)
        named = kernel.look_up(work, books)
        if quarantine:
            work.quarantined[:] = 1
        self.screen(work, now)
        work = self._fetch_transfers(work, named)
        ids_before = books.counters[Counter.TRANSFER_IDS]
        self.judge(work, books, decided, U64(self.next_seq), U64(now), np.uint16(self.shard))
        violation = invariants.check(decided, books, U64(self.last_timestamp), ids_before)
        invariants.require(int(violation), self.next_seq)
        self.transfer_index.note(work.ids_lo, work.ids_hi, work.is_transfer)
        if named & kernel.NAMES_IMPORTS:
            importing = work.import_hashes != 0
            self.transfer_index.note(work.transfers["timestamp"].copy(), _import_ids_hi(work), importing)
        self.note_endings()
        self.last_timestamp = now + expiries + len(commands) - 1
        return decided

    def note_endings(self) -> None:
        """Keep how pending transfers ended in the block that the books have just taken."""
        books = self.bookkeeper.books
        count = int(books.counters[Counter.RESOLVED])
        if count:
            ended = books.pendings.view(np.ndarray)[books.resolved[:count]]
            self.endings.note(ended["seq"].copy(), ended["ending"].copy())

    def make_room(self) -> None:
        """See that books and windows can take a whole block; between blocks only."""
        self.bookkeeper.make_room()
        counters = self.bookkeeper.books.counters
        if self.transfer_index.is_full(int(counters[Counter.TRANSFER_IDS]), self.next_seq):
            self.transfer_index.rotate(self.next_seq)
            counters[Counter.TRANSFER_IDS] = 0
            self.bookkeeper.books = self.bookkeeper.books._replace(transfer_ids=self.transfer_index.current)
        if self.request_index.is_full(int(counters[Counter.REQUEST_IDS]), self.next_seq):
            self.request_index.rotate(self.next_seq)
            counters[Counter.REQUEST_IDS] = 0
            self.bookkeeper.books = self.bookkeeper.books._replace(request_ids=self.request_index.current)

    def _fetch_transfers(self, work: Batch, named: int) -> Batch:
        """Find the entries that have these transfers' ids already, and those of pending transfers no longer open.

        `named` is what `kernel.look_up` said.
        """
        index = self.transfer_index
        which, positions = index.candidates(work.hashes, work.ids_lo, work.ids_hi, work.is_transfer)
        about, theirs = NOWHERE
        if named & kernel.NAMES_PENDINGS_GONE:
            gone = (work.pending_hashes != 0) & (work.rows[:, 2] == NO_ROW)
            about, theirs = index.candidates(work.pending_hashes, work.pending_ids_lo, work.pending_ids_hi, gone)
        if named & kernel.NAMES_IMPORTS:
            find_clashes(work, index, self.fetcher, self.last_timestamp, self.next_seq)
        if not len(which) and not len(about):
            return work
        there = self.fetcher.transfers(np.concatenate([positions, theirs]))
        known = (there["kind"] == Kind.TRANSFER).view(np.ndarray)
        asked = work.transfers[which]
        same = known[: len(which)] & _same_id(there[: len(which)], asked["id_lo"], asked["id_hi"], asked["tenant"])
        work.fetched_at[which[same]] = np.flatnonzero(same)
        if len(about):
            here = there[len(which) :]
            same = known[len(which) :] & (here["status"] == STORED_MASK)
            same &= _same_id(
                here, work.pending_ids_lo[about], work.pending_ids_hi[about], work.commands["tenant"][about]
            )
            work.pending_at[about[same]] = len(which) + np.flatnonzero(same)
            work.pending_endings[about[same]] = self._endings_of(here[same])
        return work._replace(fetched=there)

    def _endings_of(self, entries: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
        """How each ended; raises `Corrupt` for a pending transfer that is said to be open though no row has it."""
        seqs = entries["seq"].view(np.ndarray).copy()
        endings = self.endings.of(seqs)
        pending = (entries["flag_bits_effective"] & TransferFlag.PENDING) != 0
        lost = pending & ~np.isin(endings, (Ending.POSTED, Ending.VOIDED, Ending.EXPIRED))
        if lost.any():
            raise Corrupt(f"nobody knows how the pending transfer at seq {int(seqs[lost][0])} ended")
        return endings

    def find_request(self, tenant: int, request_id: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]] | None:
        """The first entry and details of a decided request, as one-row arrays, or None."""
        one = np.zeros(1, COMMAND)
        one["tenant"], one["index"], one["count"], one["kind"], one["version"] = tenant, 0, 1, Kind.TRANSFER, 1
        one["request_id_lo"], one["request_id_hi"] = request_id & 0xFFFFFFFFFFFFFFFF, request_id >> 64
        requests = split(records(one), self.bookkeeper.id_keys)
        _, entries, details = self._known(one, requests)
        # It may be met twice: its generation serves on while its run is made.
        return (entries[:1], details[:1]) if len(entries) else None

    def _known(
        self, commands: npt.NDArray[np.void], requests: Requests
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.void], npt.NDArray[np.void]]:
        """Which requests have been decided in earlier blocks, with the first entry and details of each."""
        which, positions = self.request_index.candidates(
            requests.hashes, requests.ids_lo, requests.ids_hi, _every(requests)
        )
        if not len(which):
            return which, _NO_ROWS, _NO_ROWS
        entries, details = self.fetcher.rows(positions)
        asked = commands[requests.starts[which]]
        same = (
            (entries["request_id_lo"] == asked["request_id_lo"])
            & (entries["request_id_hi"] == asked["request_id_hi"])
            & (entries["tenant"] == asked["tenant"])
            & (entries["index"] == 0)
            & (entries["kind"] != Kind.SEAL)
        )
        return which[same], entries[same], details[same]

    def _admit(self, commands: npt.NDArray[np.void], requests: Requests) -> Admissions | None:
        """What becomes of each request; None if all are to be decided, as almost always."""
        which, entries, details = self._known(commands, requests)
        away = None
        if self.homes.known:
            away = self.homes.elsewhere(commands["tenant"].view(np.ndarray)[requests.starts])
        return admit(commands, requests, which, entries, details, away)

    def _with_repeats(
        self, requests: Requests, admissions: Admissions, decided: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        """A result row for every command delivered, the repeated requests' among those just decided."""
        results = np.zeros(int(requests.counts.sum()), RESULT)
        fresh = admissions.what == Admission.DECIDE
        results[ranges(requests.starts[fresh], requests.counts[fresh])] = decided.view(np.ndarray)
        reused = admissions.what == Admission.KEY_REUSED
        places = ranges(requests.starts[reused], requests.counts[reused])
        results["status"][places] = RequestStatus.IDEMPOTENCY_KEY_REUSED
        away = admissions.what == Admission.ELSEWHERE
        places = ranges(requests.starts[away], requests.counts[away])
        results["status"][places] = RequestStatus.TENANT_ELSEWHERE
        before = admissions.what == Admission.REPEAT
        places = ranges(requests.starts[before], requests.counts[before])
        results[places] = self.recorded(ranges(admissions.position[before], requests.counts[before]))
        here = admissions.what == Admission.REPEAT_OF_THIS_BATCH
        places = ranges(requests.starts[here], requests.counts[here])
        results[places] = results[ranges(requests.starts[requests.earlier[here]], requests.counts[here])]
        results["replayed"][places] = 1
        return results

    def recorded(self, seqs: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """The results of the commands whose entries stand at `seqs`, as they were first given."""
        entries, details = self.fetcher.rows(seqs.astype(np.uint64))
        rows = np.zeros(len(seqs), RESULT)
        rows["timestamp"] = effective_timestamps(entries)
        rows["status"] = entries["status"]
        rows["status"][entries["status"] == STORED_MASK] = TransferStatus.CREATED
        rows["replayed"] = 1
        repeated = ((entries["kind"] == Kind.TRANSFER) & (entries["status"] == TransferStatus.EXISTS)) | (
            (entries["kind"] == Kind.ACCOUNT) & (entries["status"] == AccountStatus.EXISTS)
        )
        if repeated.any():
            # `exists` answers with the timestamp of what exists; the details say where that stands.
            first = self.fetcher.rows(details["debit_previous"][repeated])[0]
            rows["timestamp"][repeated] = effective_timestamps(first, undone=True)
        return rows


_NO_ROWS = np.empty(0, COMMAND)


def effective_timestamps(entries: npt.NDArray[np.void], undone: bool = False) -> npt.NDArray[np.uint64]:
    """When each transfer or account was created: for imported ones the event's own time, else when it was decided.

    Refused ones were decided, and no more; with `undone` those that a chain took back count as created, too.
    """
    events = entries.view(TRANSFER_WORK).view(np.ndarray)  # accounts have their flags and time at the same places
    created = events["status"] == STORED_MASK
    if undone:
        created |= events["status"] == TransferStatus.LINKED_EVENT_FAILED
    return np.where(created & are_imports(events), events["event_timestamp"], events["timestamp"])


def are_imports(events: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which entries, read as transfers, are about imported accounts or transfers, created or not."""
    transfers = (events["kind"] == Kind.TRANSFER) & ((events["flag_bits"] & TransferFlag.IMPORTED) != 0)
    accounts = (events["kind"] == Kind.ACCOUNT) & ((events["flag_bits"] & AccountFlag.IMPORTED) != 0)
    return (transfers | accounts).view(np.ndarray)  # type: ignore[no-any-return]


def _same_id(rows: npt.NDArray[np.void], lo: Any, hi: Any, tenant: Any) -> npt.NDArray[np.bool_]:
    same = (rows["id_lo"] == lo) & (rows["id_hi"] == hi) & (rows["tenant"] == tenant)
    return same.view(np.ndarray)  # type: ignore[no-any-return]


def _import_ids_hi(work: Batch) -> npt.NDArray[np.uint64]:
    return np.full(len(work.commands), imports.ID_HI, "<u8")


_ALL = np.ones(COMMANDS_MAX, np.bool_)


def _every(requests: Requests) -> npt.NDArray[np.bool_]:
    return _ALL[: len(requests.starts)]


def _together(deliveries: list[Delivery]) -> npt.NDArray[np.void]:
    """All commands in one writable array: compiled code is warmed for no other kind."""
    # As bytes: NumPy copies rows of many fields field by field.
    commands: list[Any] = [delivery.commands for delivery in deliveries]
    memory = bytearray().join(commands)
    count = len(memory) // COMMAND_SIZE
    if count > COMMANDS_MAX:
        raise ValueError(f"a batch holds at most {COMMANDS_MAX} commands, not {count}")
    return ROWS(count, COMMAND, memory)  # type: ignore[no-any-return]


def _to_decide(commands: npt.NDArray[np.void], requests: Requests, admissions: Admissions) -> npt.NDArray[np.void]:
    fresh = admissions.what == Admission.DECIDE
    return records(commands.view(np.ndarray)[ranges(requests.starts[fresh], requests.counts[fresh])])


def _answers(deliveries: list[Delivery], results: npt.NDArray[np.void]) -> list[Answer]:
    answers = []
    at = 0
    for delivery in deliveries:
        stop = at + len(delivery.commands)
        answers.append(Answer(delivery, results[at:stop]))
        at = stop
    return answers
