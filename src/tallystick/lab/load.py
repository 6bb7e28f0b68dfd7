"""The load generator: a process of its own that keeps payments in flight over HTTP and writes down every answer.

    python -m tallystick.lab.load <config as JSON>

Closed loop: each connection keeps one payment in flight until none are left. Open loop: payments start at a constant
rate whatever happened to the earlier ones, and a latency counts from the moment the payment *should* have started,
so that a stall is felt by all that came due in it. A payment that builds on another one (a post on its authorisation)
starts when that one's outcome is known, and counts from then. A payment whose outcome is not known (connection lost,
202, 429, 503) is sent again with the same key until it is. It is a measuring instrument, not a client library: it
speaks just enough HTTP/1.1 for the gateway's answers, which always carry a `Content-Length`.

It shares the machine with what it loads, so what can be done before the first payment or after the last one is:
putting requests together, reading what the answers say.

It prints a line of JSON (`Progress`) every fifth of a second and leaves `ANSWER` rows in a file. SIGTERM: it starts
no more payments and ends when those in flight have their outcomes. SIGUSR1: it goes on with those that it kept back.
"""

import asyncio
import gc
import signal
import sys
from collections import deque
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import uvloop

from tallystick import ids
from tallystick.clock import SystemClock
from tallystick.lab.bank_day import BankDay
from tallystick.lab.load_connection import Connection
from tallystick.lab.plan import LEDGER, Payment, Plan
from tallystick.lab.ticks import Ticks
from tallystick.records.commands import TransferFlag

ANSWER = np.dtype(
    [
        ("sent_ns", "<i8"),  # monotonic; in an open loop when it should have been sent
        ("answered_ns", "<i8"),  # monotonic; 0: no outcome known
        ("timestamp", "<u8"),  # of the entry, as answered
        ("status", "S48"),  # of the ledger, as answered
        ("tries", "<u2"),
        ("http", "<u2"),  # of the last answer
        ("acknowledged", "?"),  # some answer said that the request is durable
        ("replayed", "?"),
    ]
)
"""What became of each payment of the plan, in the order of their indexes."""

CONNECTING_MAX = 400
"""Connections being opened at once: a listen queue holds no thousands."""
PAUSE_S = 0.05
PAUSE_S_MAX = 2.0
PROGRESS_S = 0.2
HTTP_WAIT = frozenset({202, 429, 500, 502, 503, 504})


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    host: str
    port: int
    key: str
    plan: Plan | BankDay
    connections: int
    other_ports: list[int] = []
    """Further gateways: what one of them leaves without outcome is asked of the next."""
    answers: str
    """Path of the file to leave the `ANSWER` rows in (NumPy's format)."""
    rate: float = 0.0
    """Payments a second in an open loop; 0: a closed one."""
    kept_back: int = 0
    """The last so many of a closed loop wait for SIGUSR1: what is to happen in a load's middle cannot come late."""
    patience_s: float = 60.0
    """After this long the run ends, whatever is still unknown."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the run is."""

    connected: int
    started: int
    answered: int
    refused: int
    retried: int
    errors: int
    """Connections that could not be opened or broke."""
    p50_ms: float
    """Of the answers since the line before; 0 if there were none."""
    p99_ms: float
    done: bool = False


class _Told(msgspec.Struct):
    """What is read of an answer's body; a created transfer and a problem both have these."""

    status: str | int = ""
    outcome: str = ""
    timestamp: str | int = 0
    type: str = ""


_told = msgspec.json.Decoder(_Told)


class Load:
    """One run: hands payments to connections and notes the answers."""

    def __init__(self, config: Config, clock: SystemClock) -> None:
        self.config = config
        self.clock = clock
        self.total = config.plan.payments
        self._until = self.total - config.kept_back
        self.rows: npt.NDArray[np.void] = np.zeros(self.total, ANSWER)
        # Columns as views: assigning one cell costs a fraction of assigning through a row.
        self._sent = self.rows["sent_ns"]
        self._answered_ns = self.rows["answered_ns"]
        self._tries = self.rows["tries"]
        self._http = self.rows["http"]
        self._acknowledged = self.rows["acknowledged"]
        self.started = self.answered = self.refused = self.retried = self.errors = self.connected = 0
        self.idle: dict[Connection, None] = {}
        self.overdue: deque[int] = deque()
        self.finished = asyncio.Event()
        self.connecting = asyncio.Semaphore(CONNECTING_MAX)
        self.loop = asyncio.get_running_loop()
        self._recent: list[int] = []
        self._bodies: dict[int, tuple[bytes, bool]] = {}  # of each last answer, and whether it was a replay
        self._prepared: list[bytes] = []
        self._builds = isinstance(config.plan, BankDay)
        self._parked: dict[int, list[int]] = {}  # by payment, those that build on it
        self.ports = [config.port, *config.other_ports]
        self._head = (
            f"POST /v1/transfers HTTP/1.1\r\nHost: {config.host}:{config.port}\r\n"
            f"Authorization: Bearer {config.key}\r\nContent-Type: application/json\r\nIdempotency-Key: "
        ).encode()

    def request(self, index: int) -> bytes:
        """The bytes of payment `index`: the same at every try."""
        return self._prepared[index] if self._prepared else self._request(index)

    def prepare(self) -> None:
        """Put all requests together, at the price of their memory."""
        self._prepared = [self._request(index) for index in range(self.total)]

    def _request(self, index: int) -> bytes:
        payment = self.config.plan.payment(index)
        body = _body(payment)
        return b"%b%032x\r\nContent-Length: %d\r\n\r\n%b" % (self._head, payment.id, len(body), body)

    def sending(self, index: int) -> None:
        """Payment `index` goes out, for the first time or again."""
        if self._tries[index]:
            self.retried += 1
        elif not self._sent[index]:
            self._sent[index] = self.clock.monotonic_ns()
        if self._tries[index] < 65_535:
            self._tries[index] += 1

    def answer(self, index: int, http: int, body: bytes, replayed: bool) -> bool:
        """Note an answer. False if it is no outcome, and the payment is to be sent again."""
        self._http[index] = http
        if http in HTTP_WAIT:
            if http == 202:
                self._acknowledged[index] = True
            return False
        self._bodies[index] = body, replayed
        now = self.clock.monotonic_ns()
        self._answered_ns[index] = now
        self._acknowledged[index] = http in (200, 201, 422)
        self._recent.append(now - int(self._sent[index]))
        self.answered += 1
        self.refused += http == 422
        if self.answered == self.total:
            self.finished.set()
        for child in self._parked.pop(index, ()):
            self._sent[child] = now
            self._start(child)
        return True

    def _start(self, index: int) -> None:
        """Send a payment on a connection that is free, or else on the first that will be."""
        if self.idle:
            self.idle.popitem()[0].send(index)
        else:
            self.overdue.append(index)

    def _must_wait(self, index: int) -> bool:
        """Whether a payment builds on one without outcome so far; that outcome starts it."""
        after = self.config.plan.payment(index).after if self._builds else -1
        if after < 0 or self._answered_ns[after]:
            return False
        self._parked.setdefault(after, []).append(index)
        return True

    def read_bodies(self) -> None:
        """Note what the answers say, in their rows."""
        for index, (body, replayed) in self._bodies.items():
            try:
                told = _told.decode(body)
            except msgspec.DecodeError:
                told = _Told()
            # In a problem `status` is HTTP's (RFC 9457), and `outcome` the ledger's if it decided at all.
            status = told.status if isinstance(told.status, str) else told.outcome or told.type.rpartition("/")[2]
            row = self.rows[index]
            row["status"] = status.encode()
            row["timestamp"] = int(told.timestamp)
            row["replayed"] = replayed

    def pause_s(self, index: int) -> float:
        """How long to wait before the next try: longer each time, and not the same for all who wait."""
        longest = min(PAUSE_S * (1 << min(int(self._tries[index]), 10)) / 2, PAUSE_S_MAX)
        return longest * (0.5 + (index * 40_503 & 0xFFFF) / 131_072)

    def next(self, connection: "Connection") -> int | None:
        """The next payment for a free connection; None if there is none for it now."""
        if self.overdue:
            return self.overdue.popleft()
        while not self.config.rate and self.started < self._until:
            self.started += 1
            if not self._must_wait(self.started - 1):
                return self.started - 1
        self.idle[connection] = None
        return None

    def arrivals(self) -> None:
        """Start payments at the constant rate from now on."""
        self._gap_ns = round(1e9 / self.config.rate)
        self._start_ns = self.clock.monotonic_ns() + self._gap_ns
        self._ticks = Ticks(self._start_ns, self._gap_ns)
        self.loop.add_reader(self._ticks.descriptor, self._arrive)

    def _arrive(self) -> None:
        """Start every payment that is due by now."""
        self._ticks.read()
        now = self.clock.monotonic_ns()
        while self.started < self.total:
            index = self.started
            due_ns = self._start_ns + index * self._gap_ns
            if due_ns > now:
                return
            self.started += 1
            if not self._must_wait(index):
                self._sent[index] = due_ns
                self._start(index)
        self.loop.remove_reader(self._ticks.descriptor)
        self._ticks.close()

    def keep_back_no_more(self) -> None:
        """Start those that were kept back, too, on the connections that are free."""
        self._until = self.total
        for connection in list(self.idle):
            del self.idle[connection]
            index = self.next(connection)
            if index is None:
                return
            connection.send(index)

    def start_no_more(self) -> None:
        """Finish what is in flight, then end."""
        self.total = self._until = self.started
        if self.answered == self.total:
            self.finished.set()

    def progress(self, done: bool = False) -> Progress:
        """How far the run is, and the latencies since the last call."""
        recent, self._recent = sorted(self._recent), []
        return Progress(
            connected=self.connected,
            started=self.started,
            answered=self.answered,
            refused=self.refused,
            retried=self.retried,
            errors=self.errors,
            p50_ms=recent[len(recent) // 2] / 1e6 if recent else 0.0,
            p99_ms=recent[len(recent) * 99 // 100] / 1e6 if recent else 0.0,
            done=done,
        )


def _body(payment: Payment) -> bytes:
    """A payment as the API takes it."""
    body = b'{"id":"%032x","amount":"%d"' % (payment.id, payment.amount)
    if payment.debit_account_id:
        body += b',"debit_account_id":"%032x","credit_account_id":"%032x","ledger":%d,"code":%d' % (
            *(payment.debit_account_id, payment.credit_account_id),
            *(LEDGER, payment.code),
        )
    if payment.pending_id:
        body += b',"pending_id":"%b"' % ids.show(payment.pending_id).encode()
    if payment.flags:
        names = [str(flag.name).lower() for flag in TransferFlag if flag in payment.flags]
        body += b',"flags":' + msgspec.json.encode(names)
    return body + b"}"


async def run(config: Config) -> None:
    """Make all payments of the plan, or as many as patience allows, and leave the answers in the file."""
    load = Load(config, SystemClock())
    load.loop.add_signal_handler(signal.SIGTERM, load.start_no_more)
    load.loop.add_signal_handler(signal.SIGUSR1, load.keep_back_no_more)
    printing = load.loop.create_task(_print(load))
    connections = [Connection(load) for _ in range(config.connections)]
    if config.rate:
        load.prepare()
        await asyncio.gather(*(connection.open() for connection in connections))
        load.arrivals()
    opening = [] if config.rate else [load.loop.create_task(connection.open()) for connection in connections]
    # What lives now lives to the end: a collection that walks 10,000 connections would be measured as latency.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        await asyncio.wait_for(load.finished.wait(), config.patience_s)
    except TimeoutError:
        load.finished.set()
    printing.cancel()
    for task in opening:
        task.cancel()
    load.read_bodies()
    _say(load.progress(done=True))
    with Path(config.answers).open("wb") as file:
        np.save(file, load.rows)
    for connection in connections:
        if connection.transport is not None:
            connection.transport.abort()


async def _print(load: Load) -> None:
    while True:
        _say(load.progress())
        await asyncio.sleep(PROGRESS_S)


def _say(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Run with the configuration given as the only argument."""
    config = msgspec.json.decode(sys.argv[1], type=Config)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(config))


if __name__ == "__main__":
    main()
