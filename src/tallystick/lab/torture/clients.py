"""Torture's clients: threads that ask over HTTP, through either gateway, and note every call with its answer."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import msgspec

from tallystick import ids
from tallystick.client.http import Answer, Api
from tallystick.clock import SystemClock
from tallystick.errors import OutcomeUnknown, Unavailable
from tallystick.lab.history.calls import LookUpAccounts, LookUpRequest, LookUpTransfers, Submit, Told
from tallystick.lab.history.file import HistoryFile
from tallystick.lab.torture import answers
from tallystick.lab.torture.orders import BINARY, JSON, Known, Order, Orders
from tallystick.records.commands import EVENT_SIZE, Kind, fingerprint

ANSWER_S_MAX = 6.0
"""A client gives up on an answer after so long; a gateway may be stopped for about half of it."""
PAUSE_S = 0.02
IDS_A_LOOK_UP = 400
_WORDS = {Kind.TRANSFER: "transfer", Kind.ACCOUNT: "account", Kind.CONTROL: "control"}


@dataclass
class Tally:
    """What the clients of all tenants did so far. Numbers for people: the verdict counts for itself."""

    calls: int = 0
    decided: int = 0
    indefinite: int = 0
    nothing_written: int = 0
    unexpected: list[str] = field(default_factory=list)


class Desk:
    """What the clients of one tenant share: gateways, the history, what is known, and what is still open."""

    def __init__(
        self, tenant: int, apis: Sequence[Api], history: HistoryFile, clock: SystemClock, tally: Tally
    ) -> None:
        self.tenant = tenant
        self.known = Known()
        self.gateways = len(apis)
        self._apis = apis
        self._history = history
        self._clock = clock
        self._tally = tally
        self._lock = threading.Lock()
        self._open: dict[tuple[int, bytes], Order] = {}
        self._accepted: set[tuple[int, bytes]] = set()

    def open(self) -> list[Order]:
        """Requests whose last answer left the outcome open."""
        with self._lock:
            return list(self._open.values())

    def is_accepted(self, order: Order) -> bool:
        """Whether some answer called it durable."""
        return (order.request_id, _digest(order)) in self._accepted

    def send(self, order: Order, gateway: int, client: int, prefer: str = "") -> Told:
        """One try of a request."""
        headers = {"Idempotency-Key": ids.show(order.request_id), "Content-Type": order.media}
        if order.media == BINARY:
            headers["Accept"] = BINARY
        if prefer:
            headers["Prefer"] = prefer
        start_ns = self._clock.monotonic_ns()
        told, rows, note = self._ask(
            gateway,
            order.method,
            order.path,
            order.body,
            headers,
            lambda answer: answers.submitted(answer, order.kind, order.many, order.media == BINARY),
        )
        self._history.add(
            Submit(
                client=client,
                gateway=gateway,
                start_ns=start_ns,
                end_ns=self._clock.monotonic_ns(),
                told=told,
                rows=rows,
                note=note,
                tenant=self.tenant,
                request_id=order.request_id,
                kind=order.kind,
                events=order.events,
                expires_at=order.expires_at,
            )
        )
        self._count(order, told)
        return told

    def ask_about(self, order: Order, gateway: int, client: int) -> Told:
        """The request's recorded results, if there are any."""
        digest = _digest(order)
        query = f"fingerprint={digest.hex()}&kind={_WORDS[order.kind]}"
        start_ns = self._clock.monotonic_ns()
        path = f"/v1/requests/{ids.show(order.request_id)}?{query}"
        told, rows, note = self._ask(gateway, "GET", path, b"", {}, lambda answer: answers.request(answer, order.kind))
        self._history.add(
            LookUpRequest(
                client=client,
                gateway=gateway,
                start_ns=start_ns,
                end_ns=self._clock.monotonic_ns(),
                told=told,
                rows=rows,
                note=note,
                tenant=self.tenant,
                request_id=order.request_id,
                fingerprint=digest,
            )
        )
        if told is not Told.UNKNOWN:
            self._count(order, told)
        return told

    def look_up(self, noun: str, numbers: Sequence[int], gateway: int, client: int) -> Told:
        """`accounts` or `transfers`, all of them in one call."""
        body = msgspec.json.encode({"ids": [ids.show(number) for number in numbers]})
        read = answers.accounts if noun == "accounts" else answers.transfers
        start_ns = self._clock.monotonic_ns()
        if len(numbers) == 1:
            told, rows, note = self._ask(gateway, "GET", f"/v1/{noun}/{ids.show(numbers[0])}", b"", {}, read)
        else:
            headers = {"Content-Type": JSON}
            told, rows, note = self._ask(gateway, "POST", f"/v1/{noun}/lookup", body, headers, read)
        call = LookUpAccounts if noun == "accounts" else LookUpTransfers
        self._history.add(
            call(
                client=client,
                gateway=gateway,
                start_ns=start_ns,
                end_ns=self._clock.monotonic_ns(),
                told=told,
                rows=rows,
                note=note,
                tenant=self.tenant,
                ids=b"".join(number.to_bytes(16, "little") for number in numbers),
            )
        )
        return told

    def _ask(
        self,
        gateway: int,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        understand: Callable[[Answer], tuple[Told, bytes]],
    ) -> tuple[Told, bytes, str]:
        self._tally.calls += 1
        try:
            answer = self._apis[gateway].ask(method, path, body, headers)
        except Unavailable:
            return Told.NOTHING_WRITTEN, b"", "no connection"
        except OutcomeUnknown as error:
            return Told.UNKNOWN, b"", str(error)
        try:
            told, rows = understand(answer)
        except (answers.Unexpected, KeyError, ValueError, TypeError) as error:
            self._tally.unexpected.append(f"{method} {path}: HTTP {answer.status}, {type(error).__name__} {error}")
            return Told.UNKNOWN, b"", f"HTTP {answer.status}, not understood"
        return told, rows, f"HTTP {answer.status}"

    def _count(self, order: Order, told: Told) -> None:
        key = (order.request_id, _digest(order))
        with self._lock:
            if told in (Told.UNKNOWN, Told.ACCEPTED):
                self._tally.indefinite += 1
                self._open[key] = order
                if told is Told.ACCEPTED:
                    self._accepted.add(key)
            elif told in (Told.DECIDED, Told.KEY_REUSED):
                self._tally.decided += 1
                self._open.pop(key, None)
            elif told is Told.NOTHING_WRITTEN:
                self._tally.nothing_written += 1


def _digest(order: Order) -> bytes:
    return fingerprint(order.kind, len(order.events) // EVENT_SIZE, order.events)


class Client:
    """One client: does one thing after the other until told to stop."""

    def __init__(self, number: int, random: Random, desk: Desk, clock: SystemClock, stopped: threading.Event) -> None:
        self.number = number
        self._random = random
        self._desk = desk
        self._clock = clock
        self._stopped = stopped
        self._orders = Orders(random, desk.tenant, desk.known)

    def run(self, second: ThreadPoolExecutor) -> None:
        """Live. `second` is a pool for what is sent twice at once."""
        acts: list[tuple[Callable[[], None], int]] = [
            (self._pay, 60),
            (self._retry, 12),
            (lambda: self._twice_at_once(second), 10),
            (self._ask_about, 6),
            (self._look_up_accounts, 14),
            (self._look_up_transfers, 7),
        ]
        choices, weights = [act for act, _ in acts], [weight for _, weight in acts]
        while not self._stopped.is_set():
            self._random.choices(choices, weights)[0]()
            self._stopped.wait(self._random.random() * 2 * PAUSE_S)

    def open_accounts(self) -> Told:
        """The first thing that a tenant's first client does."""
        return self._desk.send(self._orders.opening(), 0, self.number)

    def _gateway(self) -> int:
        return self._random.randrange(self._desk.gateways)

    def _prefer(self) -> str:
        return self._random.choice(("", "", "", "", "respond-async", "wait=0", "wait=5"))

    def _pay(self) -> None:
        order = self._orders.next(self._clock.wall_ns())
        told = self._desk.send(order, self._gateway(), self.number, self._prefer())
        # As a client should that does not know: the same again, by another way.
        while told in (Told.UNKNOWN, Told.NOTHING_WRITTEN) and self._random.random() < 0.6:
            if self._stopped.wait(self._random.random() * 0.5):
                return
            told = self._desk.send(order, self._gateway(), self.number)

    def _retry(self) -> None:
        order = self._orders.earlier()
        if order is not None:
            self._desk.send(order, self._gateway(), self.number, self._prefer())

    def _twice_at_once(self, second: ThreadPoolExecutor) -> None:
        order = self._orders.next(self._clock.wall_ns())
        first, other = self._random.sample(range(self._desk.gateways), 2) if self._desk.gateways > 1 else (0, 0)
        sent = second.submit(self._desk.send, order, other, self.number)
        self._desk.send(order, first, self.number)
        sent.result()

    def _ask_about(self) -> None:
        order = self._orders.earlier()
        if order is not None:
            self._desk.ask_about(order, self._gateway(), self.number)

    def _look_up_accounts(self) -> None:
        self._desk.look_up("accounts", self._orders.accounts(), self._gateway(), self.number)

    def _look_up_transfers(self) -> None:
        self._desk.look_up("transfers", self._orders.transfers(), self._gateway(), self.number)
