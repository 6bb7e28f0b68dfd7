"""A notifier of one's own: a real file, a journal that the real engine wrote, a real receiver, and a clock by hand."""

import asyncio
import contextlib
import json

from aiohttp import web

from tallystick.journal.follow import Follower
from tallystick.lab.shard import Shard
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.notifier.addresses import Guard
from tallystick.notifier.deliveries import Deliveries
from tallystick.notifier.delivering import Courier, Limits
from tallystick.notifier.making import Making
from tallystick.notifier.sending import HttpSender
from tallystick.notifier.sqlite import SqliteTables
from tallystick.notifier.subscriptions import Subscriptions
from tallystick.records import objects
from tallystick.records.commands import Kind, frame
from tallystick.records.objects import Account, Transfer
from tallystick.webhooks import signing
from tallystick.webhooks.shapes import SubscriptionIn

TENANT, OTHER = 7, 2**64 - 8
SECOND = 1_000_000_000
DAY = 86_400 * SECOND


class Entropy:
    """Bytes that differ each time, the same in each run."""

    def __init__(self):
        self.calls = 0

    def __call__(self, count):
        self.calls += 1
        return (self.calls.to_bytes(4) * (count // 4 + 1))[:count]


class Payments:
    """A journal that grows by what it is told to decide. Each tenant has accounts 1 and 2."""

    def __init__(self):
        self.shard = Shard(64, 4096)
        self.now, self.requests, self.transfers = 1_700_000_000 * SECOND, 0, 1000
        for tenant in (TENANT, OTHER):
            events = [Account(id=number, ledger=1, code=1) for number in (1, 2)]
            self.decide(Kind.ACCOUNT, objects.pack_all(events, objects.pack_account), tenant)

    @property
    def journal(self):
        return self.shard.journal

    def decide(self, kind, events, tenant=TENANT):
        self.requests += 1
        self.now += 1_000_000
        self.shard.decide([frame(events, kind, tenant, self.requests, self.now)], self.now)

    def pay(self, count=1, tenant=TENANT, amount=5):
        """So many transfers in one block."""
        events = []
        for _ in range(count):
            self.transfers += 1
            events.append(
                Transfer(id=self.transfers, debit_account_id=1, credit_account_id=2, amount=amount, ledger=1, code=3)
            )
        self.decide(Kind.TRANSFER, objects.pack_all(events, objects.pack_transfer), tenant)


class Notifier:
    """Its parts, wired as the process does it."""

    def __init__(self, path, payments, clock=None, fresh_max=100, **limits):
        """`path`: of a file, or what opens the tables."""
        self.path, self.payments = path, payments
        self.clock = clock or SimulatedClock()
        self.entropy = Entropy()
        self.limits = Limits(**limits)
        self.tables = path() if callable(path) else SqliteTables(path)
        self.subscriptions = Subscriptions(self.tables, self.entropy, loopback=True)
        self.deliveries = Deliveries(self.tables, shard=0)
        self.making = Making(self.tables, payments.journal, self.subscriptions, self.deliveries, self.clock, fresh_max)
        self.follower = Follower(payments.journal, self.making, self.clock, entries_at_once=1)

    def subscribe(self, url="http://127.0.0.1:9/", types=("*",), tenant=TENANT, **fields):
        end = self.payments.journal.end()
        with self.tables.commit(durable=True):
            return self.subscriptions.make(
                tenant, SubscriptionIn(url, list(types), **fields), self.clock.wall_ns(), end, behind=False
            )

    @staticmethod
    def subscribe_in(url="http://127.0.0.1:9/", types=("*",)):
        return SubscriptionIn(url, list(types))

    def follow(self):
        """Take in all that there is."""
        while not self.follower.step() or self.making.step():
            pass

    def rows(self, what="seq, state, tries", order="number"):
        return self.tables.rows(f"SELECT {what} FROM deliveries ORDER BY {order}")

    def told(self, subscription=None):
        """Positions, in order of making."""
        wanted = "" if subscription is None else f"WHERE subscription = {subscription.number}"
        return [seq for [seq] in self.tables.rows(f"SELECT seq FROM deliveries {wanted} ORDER BY number")]

    def close(self):
        self.tables.close()


class Receiver:
    """A real HTTP server on this machine that keeps what it gets, and answers as it is told to."""

    def __init__(self, verifier=None, clock=None):
        self.got = []
        self.answer = lambda request, body: web.Response(status=204)
        self.verifier, self.clock = verifier, clock
        self.at_once = self.at_once_max = 0

    async def _handle(self, request):
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            body = await request.read()
            if self.verifier is not None:
                signing.verify([self.verifier], request.headers, body, self.clock.wall_ns() / SECOND)
            self.got.append((request.headers["webhook-id"], json.loads(body), request.path))
            answer = self.answer(request, body)
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            self.at_once -= 1

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    @property
    def positions(self):
        return [int(body["data"]["position"]) for _, body, _ in self.got]

    @property
    def ids(self):
        return [webhook_id for webhook_id, _, _ in self.got]


@contextlib.asynccontextmanager
async def courier(notifier, resolver=None, timeout_s=5.0, loopback=True):
    """A courier with the real client."""
    sender = HttpSender(Guard(loopback), timeout_s, resolver)
    made = Courier(
        notifier.tables,
        notifier.subscriptions,
        notifier.deliveries,
        notifier.making,
        sender,
        notifier.clock,
        notifier.entropy,
        notifier.limits,
    )
    try:
        yield made
    finally:
        await made.stop(0)
        await sender.close()


async def deliver(made, rounds=1000):
    """Until nothing is due at the clock's time, and all is written down."""
    for _ in range(rounds):
        wait_s = made.step()
        if not made.hands and wait_s:
            return
        await made.idle()
    raise AssertionError("it does not come to an end")
