"""Drives a platform with the rows of a history: opens accounts as they appear, pays when a row is due, counts.

One thread reads and understands; some send, each with one request in flight until its outcome is known. Rows start in
order, but requests in flight overtake each other; with one connection nothing does.
"""

import hashlib
import queue
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from tallystick import ids
from tallystick.client.http import Answer
from tallystick.client.requests import Asker, Patience, settle
from tallystick.clock import Clock, Entropy
from tallystick.errors import Invalid, OutcomeUnknown, TallystickError, Unavailable
from tallystick.lab.replay.mapping import Accounts
from tallystick.lab.replay.payments import Payment, Reader, request_id
from tallystick.lab.replay.progress import Watermark
from tallystick.lab.replay.rows import History

ACCOUNTS_A_REQUEST = 1_000
FAULTS_KEPT = 50
OPENING_CODE = 65_535
EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how many together."""

    speed: float
    """Times real time; 0: as fast as it goes."""
    batch: int
    """Rows a request, where they are not paced."""
    connections: int
    patience_s: float


@dataclass
class Tally:
    """What became of the rows so far. `lock` guards all of it."""

    watermark: Watermark
    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: int = 0
    created: int = 0
    replayed: int = 0
    unknown: int = 0
    accounts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    """Minor units by currency, of what was created now or before."""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Rows that cannot be understood, the first some, with why."""
    faults_count: int = 0
    latencies_ns: "array[int]" = field(default_factory=lambda: array("q"))
    late_ns_max: int = 0
    """How late a row started at most, against the history's pace."""


class Driver:
    """One run. `stop` ends it early, from any thread; what is in flight is finished."""

    def __init__(
        self, api: Asker, reader: Reader, history: str, accounts: Accounts, pace: Pace, clock: Clock, entropy: Entropy
    ) -> None:
        self._api = api
        self._reader = reader
        self._history = history
        self._accounts = accounts
        self._pace = pace
        self._clock = clock
        self._stopped = threading.Event()
        self._patience = Patience(clock, entropy, self._stopped.wait, pace.patience_s)
        self._opened: set[int] = set()
        self._funded: set[int] = set()
        self._queue: queue.Queue[tuple[list[Payment], int] | None] = queue.Queue(4 * pace.connections)
        self._start: tuple[int, int] | None = None  # the first row's time, and our monotonic time then
        self.failure: str = ""
        """Why the run ended early, if a person must act."""

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped.set()

    def run(self, history: History, skip: int, until: int | None, shown: Callable[[Tally], None]) -> Tally:
        """Rows from `skip` up to `until`; `shown` is called now and then, by the calling thread.

        Raises `Invalid` if the file cannot be read on. An interrupt stops it, and is raised when all is settled.
        """
        tally = Tally(Watermark(skip))
        senders = [threading.Thread(target=self._send_all, args=(tally,)) for _ in range(self._pace.connections)]
        for sender in senders:
            sender.start()
        interrupted: BaseException | None = None
        try:
            for part in history.rows(skip):
                payments = self._understood([row for row in part if until is None or row[0] < until], tally)
                self._open(payments, tally)
                for group in self._groups(payments):
                    self._put((group, self._due_ns(group[0])))
                shown(tally)
                if self._stopped.is_set() or (until is not None and part[-1][0] + 1 >= until):
                    break
        except BaseException as error:
            interrupted = error
            if not isinstance(error, Invalid):  # what was read before is sent all the same
                self.stop()
        for _ in senders:
            self._put(None, always=True)
        for sender in senders:
            while sender.is_alive():
                sender.join(0.2)
                shown(tally)
        if isinstance(interrupted, Unavailable | OutcomeUnknown):
            self.failure = self.failure or str(interrupted)
        elif interrupted is not None:
            raise interrupted
        return tally

    def _put(self, work: tuple[list[Payment], int] | None, always: bool = False) -> None:
        while always or not self._stopped.is_set():
            try:
                self._queue.put(work, timeout=0.2)
            except queue.Full:
                continue
            return

    def _understood(self, rows: Iterable[tuple[int, dict[str, object]]], tally: Tally) -> list[Payment]:
        payments = []
        for number, row in rows:
            try:
                payments.append(self._reader.payment(number, row))
            except Invalid as error:
                with tally.lock:
                    tally.rows += 1
                    tally.faults_count += 1
                    if len(tally.faults) < FAULTS_KEPT:
                        tally.faults.append((number, str(error)))
                    tally.watermark.done(number)
        return payments

    def _groups(self, payments: list[Payment]) -> Iterable[list[Payment]]:
        size = 1 if self._pace.speed else self._pace.batch
        return [payments[at : at + size] for at in range(0, len(payments), size)]

    def _due_ns(self, payment: Payment) -> int:
        """When to start it, by our monotonic clock; 0: now."""
        if not self._pace.speed:
            return 0
        if self._start is None:
            self._start = payment.time_ns, self._clock.monotonic_ns()
        first_ns, began_ns = self._start
        return began_ns + round((payment.time_ns - first_ns) / self._pace.speed)

    # Accounts

    def _open(self, payments: list[Payment], tally: Tally) -> None:
        """Open accounts not seen before, and give payers what they begin with. Raises what `settle` raises."""
        limited = self._accounts.opening_balance > 0
        ledgers = {payment.credit_account_id: payment.ledger for payment in payments}
        payers = {payment.debit_account_id: payment.ledger for payment in payments}
        if limited:
            ledgers |= {self._reader.outside_id(ledger): ledger for ledger in payers.values()}
        ledgers |= payers
        new = sorted(ledgers.keys() - self._opened)
        for some in _parts(new):
            rows = [
                {
                    "id": ids.show(number),
                    "ledger": ledgers[number],
                    "code": self._accounts.code,
                    "flags": ["debits_must_not_exceed_credits"] if limited and number in payers else [],
                }
                for number in some
            ]
            # One that was opened as a payee stays without a limit.
            created = self._settled(
                "/v1/accounts", {"accounts": rows}, {"created", EXISTS, "exists_with_different_flags"}
            )
            with tally.lock:
                tally.accounts += created
        self._opened.update(new)
        if limited:
            self._fund({number: payers[number] for number in sorted(payers.keys() - self._funded)})

    def _fund(self, payers: dict[int, int]) -> None:
        """Give payers, by the ledger of each, what they begin with."""
        for some in _parts(list(payers)):
            transfers = [
                {
                    "id": ids.show(number ^ 1 << 126),
                    "debit_account_id": ids.show(self._reader.outside_id(payers[number])),
                    "credit_account_id": ids.show(number),
                    "amount": str(self._accounts.opening_balance),
                    "ledger": payers[number],
                    "code": OPENING_CODE,
                }
                for number in some
            ]
            self._settled("/v1/transfers/batch", {"transfers": transfers}, {"created", EXISTS})
        self._funded.update(payers)

    def _settled(self, path: str, body: dict[str, object], good: set[str]) -> int:
        """Have all of it done; how many were new. Raises `Unavailable` if some were refused."""
        data = msgspec.json.encode(body)
        key = ids.show(int.from_bytes(hashlib.sha256(self._history.encode() + b"\0" + data).digest()[:16], "big"))
        answer = settle(self._api, path, data, key, self._patience)
        statuses = [str(result.get("status")) for result in answer.json().get("results", [])]
        if answer.status not in (200, 201) or (refused := sorted(set(statuses) - good)):
            what = answer.json().get("detail") if answer.status not in (200, 201) else ", ".join(refused)
            raise Unavailable(f"{path}: HTTP {answer.status}, {what}; see that the key may pay, and the mapping fits")
        return statuses.count("created") if answer.headers.get("Idempotent-Replayed") != "true" else 0

    # Payments

    def _send_all(self, tally: Tally) -> None:
        while (work := self._queue.get()) is not None:
            payments, due_ns = work
            if self._stopped.is_set():
                continue
            wait_ns = due_ns - self._clock.monotonic_ns()
            if due_ns and wait_ns > 0 and self._stopped.wait(wait_ns / 1e9):
                continue
            began_ns = self._clock.monotonic_ns()
            if due_ns:
                with tally.lock:
                    tally.late_ns_max = max(tally.late_ns_max, began_ns - due_ns)
            self._send(payments, began_ns, tally)

    def _send(self, payments: list[Payment], began_ns: int, tally: Tally) -> None:
        key = ids.show(request_id(self._history, payments))
        rows = [_body(payment) for payment in payments]
        path, body = ("/v1/transfers", rows[0]) if len(rows) == 1 else ("/v1/transfers/batch", {"transfers": rows})
        try:
            answer = settle(self._api, path, msgspec.json.encode(body), key, self._patience)
        except TallystickError as error:
            with tally.lock:
                tally.rows += len(payments)
                tally.unknown += len(payments)
            if isinstance(error, Unavailable) and not self._stopped.is_set():
                self.failure = str(error)
                self.stop()
            return
        if answer.status in (401, 403):
            self.failure = str(answer.json().get("detail") or f"HTTP {answer.status}") + "; check the API key"
            self.stop()
            return
        with tally.lock:
            tally.latencies_ns.append(self._clock.monotonic_ns() - began_ns)
            self._count(payments, answer, tally)

    @staticmethod
    def _count(payments: list[Payment], answer: Answer, tally: Tally) -> None:
        replayed = answer.headers.get("Idempotent-Replayed", "").lower() == "true"
        for payment, status in zip(payments, _statuses(answer, len(payments)), strict=True):
            tally.rows += 1
            tally.watermark.done(payment.row)
            if status in ("created", EXISTS):
                tally.created += 1
                tally.replayed += replayed or status == EXISTS
                tally.moved[payment.currency] += payment.amount
            else:
                tally.replayed += replayed
                tally.refused[status] += 1


def _statuses(answer: Answer, count: int) -> list[str]:
    """The ledger's status of each payment; for what was refused whole, the problem's name."""
    told = answer.json()
    if answer.status in (200, 201):
        results = told.get("results", [told])
        if len(results) == count:
            return [str(result.get("status")) for result in results]
    # In a problem `status` is HTTP's (RFC 9457), and `outcome` the ledger's if it decided at all.
    return [str(told.get("outcome") or str(told.get("type", "")).rpartition("/")[2] or f"http_{answer.status}")] * count


def _body(payment: Payment) -> dict[str, object]:
    """A transfer of the API: the same in every run, since the request's fingerprint must be the same. The history's
    own time stands in it, as the ledger's is that of the replay."""
    return {
        "id": ids.show(payment.transfer_id),
        "debit_account_id": ids.show(payment.debit_account_id),
        "credit_account_id": ids.show(payment.credit_account_id),
        "amount": str(payment.amount),
        "user_data_64": str(max(0, payment.time_ns)),
        "ledger": payment.ledger,
        "code": payment.code,
    }


def _parts(numbers: list[int]) -> Iterable[list[int]]:
    return [numbers[at : at + ACCOUNTS_A_REQUEST] for at in range(0, len(numbers), ACCOUNTS_A_REQUEST)]
