"""`tally bench follow`, case `notifier`: how many webhooks a second reach a receiver on this machine, each checked.

The journal is there before the clock starts; then a subscription is made from its beginning. The time runs until the
receiver has every webhook, and the notifier's tables must say the same: delivered, once each in effect. The receiver
runs in this process, the notifier in its own as `tally up` starts it; signing, its database and sockets are inside. Its
reference is a bare client: the same library posts as many bytes to the same receiver, and keeps nothing.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httptools
import msgspec
import uvloop

from tallystick.answers.addresses import address
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose.library import Ledger
from tallystick.errors import Unavailable
from tallystick.inquiries.gatewayend import InquiryEnd
from tallystick.lab import procstat
from tallystick.lab.bench_follow import FILES, own_place
from tallystick.lab.results import Result, median
from tallystick.records.commands import COMMANDS_MAX
from tallystick.records.objects import Account, Transfer
from tallystick.settings import Settings
from tallystick.webhooks import asking, signing
from tallystick.webhooks.asking import Asked, Operation
from tallystick.webhooks.shapes import DeliveryList, SubscriptionIn, SubscriptionMade, SubscriptionOut
from tallystick.webhooks.signing import Verifier

CASE = "notifier"
DELIVERIES = 50_000
BODY_BYTES = 420
"""Of a bare post: about what a payment's webhook has."""
HANDS = Settings.model_fields["webhook_hands"].default
TENANT = 1
START_S, END_S, LOOK_S = 30.0, 120.0, 0.1
_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Measured(msgspec.Struct, frozen=True):
    """One run."""

    seconds: float
    cpu_us: float
    """Of the notifier, for one webhook."""
    received: int
    distinct: int
    """Webhook ids among them."""


def run(runs: int, count: int, folder: Path | None, say: Callable[[str], None], services: str = FILES) -> Result:
    """The medians of so many runs. Raises `Unavailable` if webhooks do not arrive, or not once each in effect."""
    measured, bare_rates = [], []
    for number in range(runs):
        say(f"run {number + 1} of {runs}: {CASE}")
        with tempfile.TemporaryDirectory(prefix="tally-bench-", dir=folder) as place, own_place(services) as url:
            found = measure(count, Path(place), say, url)
            if found.distinct != count:
                raise Unavailable(f"{found.distinct:,} webhooks arrived, not {count:,}")
            measured.append(found)
        bare_rates.append(bare(count))
    rate = median(count / each.seconds for each in measured)
    reference_rate = median(bare_rates)
    return Result(
        case=CASE,
        rate=rate,
        unit="webhooks",
        cpu_us=median(each.cpu_us for each in measured),
        reference="bare posts by the same client",
        reference_rate=reference_rate,
        ratio=rate / reference_rate,
        extra={"webhooks": count, "repeated": sum(each.received - each.distinct for each in measured)},
    )


def bare(count: int) -> float:
    """Posts a second of a client that does nothing else, to the receiver that webhooks go to."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_bare(count))


async def _bare(count: int) -> float:
    clock = SystemClock()
    received = TakesAll()
    server, url = await serve(received)
    command = (sys.executable, "-m", "tallystick.lab.bare_posts", url, str(count), str(HANDS), str(BODY_BYTES))
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(END_S):
            while not received.got:
                await asyncio.sleep(0.001)
            began_ns = clock.monotonic_ns()
            if await process.wait():
                raise Unavailable("the bare client failed")
    finally:
        server.close()
    return count / ((clock.monotonic_ns() - began_ns) / 1e9)


def measure(count: int, place: Path, say: Callable[[str], None], services: str = FILES) -> Measured:
    """Deliver `count` webhooks. Raises `Unavailable` if they do not all arrive, once each in effect."""
    say(f"a journal of {count:,} transfers")
    data = place / "data"
    _pay(data, count)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(count, data, say, services))


def _pay(data: Path, count: int) -> None:
    with Ledger.open(data) as ledger:
        ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2)], tenant=TENANT)
        for first in range(0, count, COMMANDS_MAX):
            ids = range(first + 1, min(count, first + COMMANDS_MAX) + 1)
            ledger.create_transfers(
                [
                    Transfer(id=number, debit_account_id=1, credit_account_id=2, amount=1, ledger=1, code=1)
                    for number in ids
                ],
                tenant=TENANT,
            )


async def _measure(count: int, data: Path, say: Callable[[str], None], services: str) -> Measured:
    clock = SystemClock()
    receiver = _Receiver(clock)
    server, url = await serve(receiver)
    environment = {"TALLY_DATA": str(data), "TALLY_WEBHOOK_LOOPBACK": "true", "TALLY_SERVICES": services}
    with (data / "notifier.log").open("wb") as log:
        process = subprocess.Popen(
            ["env", *(f"{name}={value}" for name, value in environment.items()), *_COMMAND],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    link = InquiryEnd("notifier", address(data, "notifier"), clock)
    try:
        made = await _subscribed(link, SubscriptionIn(url, ["transfer.created"], from_position="0"))
        receiver.verifier = signing.verifier(made.key)
        began_ns, cpu_before = clock.monotonic_ns(), procstat.cpu_us({process.pid})
        deadline_ns = began_ns + round(END_S * 1e9)
        while len(receiver.got) < count:
            if clock.monotonic_ns() > deadline_ns or process.poll() is not None:
                raise Unavailable(f"{len(receiver.got):,} of {count:,} webhooks arrived in {END_S:g} s; see {data}")
            say(f"{len(receiver.got):,} of {count:,} webhooks")
            await asyncio.sleep(LOOK_S)
        seconds = (clock.monotonic_ns() - began_ns) / 1e9
        cpu_us = procstat.cpu_us({process.pid}) - cpu_before
        await _all_written_down(link, made)
        received = sum(receiver.got.values())
        return Measured(seconds, cpu_us / count, received, len(receiver.got))
    finally:
        link.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        server.close()


_COMMAND = (sys.executable, "-m", "tallystick.compose.notifier")


async def _subscribed(link: InquiryEnd, wanted: SubscriptionIn) -> SubscriptionMade:
    """The subscription, once the notifier is there to make it."""
    body = asking.encode(Asked(request_id=system_entropy(16), body=msgspec.json.encode(wanted)))
    async with asyncio.timeout(START_S):
        while True:
            try:
                told = await link.ask(Operation.MAKE, TENANT, body)
            except Unavailable:
                await asyncio.sleep(LOOK_S)
                continue
            return msgspec.json.decode(asking.decode_told(told).body, type=SubscriptionMade)


async def _all_written_down(link: InquiryEnd, made: SubscriptionMade) -> None:
    """Wait until the notifier's own tables say that nothing waits and nothing is dead. Raises `Unavailable`."""
    subscription = int(made.id, 16).to_bytes(16)
    async with asyncio.timeout(START_S):
        while True:
            told = await link.ask(Operation.GET, TENANT, asking.encode(Asked(subscription)))
            if msgspec.json.decode(asking.decode_told(told).body, type=SubscriptionOut).waiting == 0:
                break
            await asyncio.sleep(LOOK_S)
    dead = await link.ask(Operation.DELIVERIES, TENANT, asking.encode(Asked(subscription, state="dead", limit=1)))
    if msgspec.json.decode(asking.decode_told(dead).body, type=DeliveryList).deliveries:
        raise Unavailable("some deliveries are dead, although the receiver took all that came")


async def serve(receiver: "_Receiver | TakesAll") -> tuple[asyncio.Server, str]:
    """Let it receive on a port of its own; the server, and its URL."""
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(receiver), "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


class TakesAll:
    """Counts posts, and looks at nothing."""

    def __init__(self) -> None:
        self.got = 0

    def take(self, headers: dict[str, str], body: bytes) -> bytes:
        self.got += 1
        return _TAKEN


class _Receiver:
    """Counts webhooks by id, and checks each."""

    def __init__(self, clock: SystemClock) -> None:
        self.got: Counter[str] = Counter()
        self.verifier: Verifier | None = None
        self._clock = clock

    def take(self, headers: dict[str, str], body: bytes) -> bytes:
        if self.verifier is None:  # it came before its key did: it comes again
            return b"HTTP/1.1 503 Not Yet\r\ncontent-length: 0\r\n\r\n"
        self.got[signing.verify([self.verifier], headers, body, self._clock.wall_ns() / 1e9)] += 1
        return _TAKEN


class _Connection(asyncio.Protocol):
    """One connection. Lean, so that what is measured is its other end."""

    _transport: asyncio.Transport

    def __init__(self, receiver: _Receiver | TakesAll) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._transport.write(self._receiver.take(self._headers, self._body))
