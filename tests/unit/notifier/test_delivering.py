"""Deliveries over real sockets, with the clock in hand: schedule, 410, redirects, slow receivers, replays, ends."""

import asyncio
import ipaddress
import socket
import ssl
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tallystick.notifier.deliveries import State
from tallystick.notifier.delivering import FAILURES_MAX
from tallystick.notifier.schedule import DELAYS_S
from tallystick.notifier.subscriptions import FAILING, GONE
from tallystick.webhooks import signing
from tests.unit.notifier.world import DAY, OTHER, SECOND, TENANT, Notifier, Payments, Receiver, courier, deliver


@pytest.fixture
def payments():
    return Payments()


@pytest.fixture
def notifier(where, payments):
    made = Notifier(where, payments)
    yield made
    made.close()


def again(made, number):
    return made.subscriptions.by_number[number]


def test_every_notification_arrives_once_signed_and_is_marked(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url)
            receiver.verifier, receiver.clock = signing.verifier(subscription.key), notifier.clock
            for _ in range(5):
                payments.pay(20)
            notifier.follow()
            await deliver(made)
            assert sorted(receiver.positions) == notifier.told(subscription)
            assert len(set(receiver.ids)) == len(receiver.ids) == 100
            assert {state for [state] in notifier.rows("state")} == {State.DELIVERED}
            await deliver(made)
            assert len(receiver.got) == 100, "and nothing is sent a second time"

    asyncio.run(story())


def test_ed25519_webhooks_are_verified_by_the_public_key(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url, signature="v1a")
            assert subscription.key.startswith("whpk_")
            receiver.verifier, receiver.clock = signing.verifier(subscription.key), notifier.clock
            payments.pay(3)
            notifier.follow()
            await deliver(made)
            assert len(receiver.got) == 3

    asyncio.run(story())


def test_after_a_rotation_both_keys_verify_until_the_old_one_expires(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url)
            old = subscription.key
            now = notifier.clock.wall_ns()
            with notifier.tables.commit(durable=True):
                new = notifier.subscriptions.rotate(subscription, now, now + 100 * SECOND).key
            assert new != old
            receiver.clock = notifier.clock
            for key, passed_s, arrives in ((old, 0, True), (new, 0, True), (old, 101, False), (new, 0, True)):
                notifier.clock.advance(passed_s * SECOND)
                receiver.verifier = signing.verifier(key)
                payments.pay(1)
                notifier.follow()
                before = len(receiver.got)
                await deliver(made)
                assert len(receiver.got) - before == arrives, (key == old, passed_s)

    asyncio.run(story())


def test_a_failing_receiver_is_tried_on_schedule_and_then_the_delivery_is_dead(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=500)
            subscription = notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            for number, delay_s in enumerate(DELAYS_S, 1):
                if delay_s:
                    notifier.clock.advance((delay_s - 1) * SECOND)
                    await deliver(made)
                    assert len(receiver.got) == number - 1, "not before its time"
                    notifier.clock.advance(round((delay_s * 0.1 + 2) * SECOND))
                await deliver(made)
                assert len(receiver.got) == number
            notifier.clock.advance(3 * DAY)
            await deliver(made)
            assert len(set(receiver.ids)) == 1, "the same id each time"
            assert len(receiver.got) == 10
            assert notifier.rows("state, tries, attempts, reason") == [(State.DEAD, 10, 10, "answered 500")]
            attempts = notifier.tables.rows("SELECT number, status FROM attempts ORDER BY number")
            assert attempts == [(number, 500) for number in range(1, 11)]
            assert again(notifier, subscription.number).enabled

    asyncio.run(story())


def test_410_disables_the_subscription_and_nothing_more_is_sent(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=410)
            subscription = notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            found = again(notifier, subscription.number)
            assert (found.enabled, found.reason) == (False, GONE)
            payments.pay(3)
            notifier.follow()
            notifier.clock.advance(DAY)
            await deliver(made)
            assert len(receiver.got) == 1
            assert notifier.rows("state, reason") == [(State.DEAD, "answered 410")]

    asyncio.run(story())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_fails(notifier, payments, status):
    async def story():
        async with Receiver() as receiver, Receiver() as elsewhere, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=status, headers={"location": elsewhere.url})
            notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert (len(receiver.got), elsewhere.got) == (1, [])
            [(state, reason)] = notifier.rows("state, reason")
            assert state == State.WAITING
            assert "redirect" in reason

    asyncio.run(story())


def test_a_subscription_that_only_fails_for_days_is_disabled_with_its_reason(where, payments):
    notifier = Notifier(where, payments, failing_s_max=86_400)

    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=503)
            subscription = notifier.subscribe(receiver.url)
            for hour in range(26):
                payments.pay(1)
                notifier.follow()
                await deliver(made)
                if hour < 23:
                    assert again(notifier, subscription.number).enabled
                notifier.clock.advance(3_600 * SECOND)
            found = again(notifier, subscription.number)
            assert (found.enabled, found.reason) == (False, FAILING)

    asyncio.run(story())
    notifier.close()


def test_one_success_begins_the_days_anew(where, payments):
    notifier = Notifier(where, payments, failing_s_max=86_400)

    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url)
            for hour in range(60):
                receiver.answer = lambda request, body, hour=hour: web.Response(status=200 if hour % 20 == 19 else 500)
                payments.pay(1)
                notifier.follow()
                await deliver(made)
                notifier.clock.advance(3_600 * SECOND)
            assert again(notifier, subscription.number).enabled

    asyncio.run(story())
    notifier.close()


def test_a_receiver_that_is_away_is_tried_ever_more_seldom_and_then_gets_everything(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=500)
            subscription = notifier.subscribe(receiver.url)
            payments.pay(60)
            notifier.follow()
            await deliver(made)
            tried = len(receiver.got)
            assert FAILURES_MAX <= tried < 60, "it stops trying all of them"
            for _ in range(600):
                notifier.clock.advance(SECOND)
                await deliver(made)
            assert len(receiver.got) - tried < 30, "once a minute at last"
            receiver.answer = lambda request, body: web.Response(status=200)
            receiver.got.clear()
            notifier.clock.advance(61 * SECOND)
            await deliver(made)
            assert sorted(receiver.positions) == notifier.told(subscription)

    asyncio.run(story())


def test_a_slow_receiver_holds_up_nobody_else_and_gets_no_more_than_its_share(where, payments):
    notifier = Notifier(where, payments, hands_each=4)

    async def story():
        async with Receiver() as slow, Receiver() as quick, courier(notifier) as made:
            free = asyncio.Event()

            async def wait(request, body):
                await free.wait()
                return web.Response(status=200)

            slow.answer = lambda request, body: wait(request, body)
            notifier.subscribe(slow.url)
            other = notifier.subscribe(quick.url, tenant=OTHER)
            payments.pay(50)
            payments.pay(50, tenant=OTHER)
            notifier.follow()
            async with asyncio.timeout(20):
                while len(quick.got) < 50 or slow.at_once < 4:
                    made.step()
                    await asyncio.sleep(0)
            assert slow.at_once_max == 4
            assert quick.at_once_max <= 4
            assert sorted(quick.positions) == notifier.told(other)
            free.set()
            await deliver(made)
            assert len(slow.got) == 50
            assert slow.at_once_max == 4

    asyncio.run(story())
    notifier.close()


def test_many_slow_receivers_of_one_tenant_do_not_take_every_hand(where, payments):
    notifier = Notifier(where, payments, hands_each=4, hands_tenant=6, hands=8)

    async def story():
        async with Receiver() as slow, Receiver() as quick, courier(notifier) as made:
            free = asyncio.Event()

            async def wait(request, body):
                await free.wait()
                return web.Response(status=200)

            slow.answer = lambda request, body: wait(request, body)
            for _ in range(3):
                notifier.subscribe(slow.url)
            notifier.subscribe(quick.url, tenant=OTHER)
            payments.pay(20)
            payments.pay(20, tenant=OTHER)
            notifier.follow()
            async with asyncio.timeout(20):
                while len(quick.got) < 20 or slow.at_once < 6:
                    made.step()
                    await asyncio.sleep(0)
            assert slow.at_once_max == 6
            free.set()
            await deliver(made)
            assert len(slow.got) == 60

    asyncio.run(story())
    notifier.close()


def test_a_receiver_whose_certificate_nobody_vouches_for_is_told_nothing(notifier, payments, tmp_path):
    async def story():
        got = []

        async def talk(reader, writer):
            got.append(await reader.read(100))
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path))
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
        async with server, courier(notifier) as made:
            notifier.subscribe(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert got == []
            assert notifier.rows("state, reason") == [(State.WAITING, "its certificate is not valid for this host")]

    asyncio.run(story())


def self_signed(folder):
    """A key, and a certificate of it that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "self-signed.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_receiver_that_does_not_answer_fails_in_bounded_time(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier, timeout_s=0.2) as made:
            never = asyncio.Event()

            async def wait(request, body):
                await never.wait()

            receiver.answer = lambda request, body: wait(request, body)
            notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            async with asyncio.timeout(5):
                await deliver(made)
            assert notifier.rows("state, reason") == [(State.WAITING, "no answer within 0.2 s")]
            never.set()

    asyncio.run(story())


def test_an_endless_answer_is_read_no_further_than_its_bound(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            written = 0

            async def endless(request, body):
                nonlocal written
                answer = web.StreamResponse(status=200)
                await answer.prepare(request)
                while True:
                    await answer.write(bytes(16_384))
                    written += 16_384

            receiver.answer = lambda request, body: endless(request, body)
            notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            async with asyncio.timeout(5):
                await deliver(made)
            assert notifier.rows("state") == [(State.DELIVERED,)]
            assert written < 32_000_000

    asyncio.run(story())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "the connection broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", "its answer is no HTTP"),
        (b"nonsense\r\n\r\n", "its answer is no HTTP"),
    ],
)
def test_what_is_no_answer_fails(notifier, payments, said, reason):
    async def talk(reader, writer):
        await reader.read(100)
        writer.write(said)
        writer.close()

    async def story():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server, courier(notifier) as made:
            notifier.subscribe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert notifier.rows("state, reason") == [(State.WAITING, reason)]

    asyncio.run(story())


class Names(AbstractResolver):
    """A name server of one's own: each look-up gets the next of its answers."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for address in answer
        ]

    async def close(self):
        pass


def connected_to(notifier, payments, names, loopback=False):
    """What a receiver on this machine gets, if `names` leads to it; and the reason of the failure."""

    async def story():
        async with Receiver() as receiver, courier(notifier, names, loopback=loopback, timeout_s=3) as made:
            subscription = notifier.subscribe(receiver.url)
            with notifier.tables.commit():  # as if a tenant had written it, of a host that is public at that time
                url = f"http://shop.example:{receiver.port}/hook"
                notifier.tables.run("UPDATE subscriptions SET url = ? WHERE number = ?", url, subscription.number)
            notifier.subscriptions.load()
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            return len(receiver.got), notifier.rows("reason")[0][0]

    return asyncio.run(story())


def test_a_name_that_leads_to_this_machine_is_not_connected_to(notifier, payments):
    assert connected_to(notifier, payments, Names(["127.0.0.1"])) == (0, "its address is not public")


def test_a_name_that_leads_there_is_connected_to_where_that_is_allowed(notifier, payments):
    assert connected_to(notifier, payments, Names(["127.0.0.1"]), loopback=True) == (1, "")


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_connected_to(notifier, payments):
    # Rebinding: the second answer would lead inside. Documentation addresses are never routed, so the first fails.
    names = Names(["192.0.2.1"], ["127.0.0.1"])
    got, reason = connected_to(notifier, payments, names)
    assert (got, names.asked) == (0, 1)
    assert reason == "its address is not public"


def test_among_several_addresses_the_inner_one_is_never_connected_to(notifier, payments):
    got, reason = connected_to(notifier, payments, Names(["10.0.0.1", "127.0.0.1", "192.168.0.1"]))
    assert (got, reason) == (0, "its address is not public")


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "017700000001", "localhost", "[::ffff:127.0.0.1]"]
)
def test_another_spelling_of_this_machine_is_not_connected_to(notifier, payments, host):
    async def story():
        async with Receiver() as receiver, courier(notifier, loopback=False, timeout_s=3) as made:
            subscription = notifier.subscribe(receiver.url)
            with notifier.tables.commit():
                url = f"http://{host}:{receiver.port}/"
                notifier.tables.run("UPDATE subscriptions SET url = ? WHERE number = ?", url, subscription.number)
            notifier.subscriptions.load()
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert receiver.got == []
            assert notifier.rows("state") == [(State.WAITING,)]

    asyncio.run(story())


def test_proxies_of_the_environment_are_not_used(notifier, payments, monkeypatch):
    async def story():
        async with Receiver() as receiver, Receiver() as proxy, courier(notifier) as made:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert (len(receiver.got), proxy.got) == (1, [])

    asyncio.run(story())


def test_a_dead_delivery_is_sent_again_when_asked(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url)
            payments.pay(2)
            notifier.follow()
            with notifier.tables.commit():
                notifier.tables.run("UPDATE deliveries SET state = 2, tries = 10, attempts = 10, done_at = 1")
                [(webhook_id,), _] = notifier.rows("webhook_id")
                notifier.deliveries.again(subscription.number, webhook_id, notifier.clock.wall_ns())
            await deliver(made)
            assert receiver.ids == [webhook_id]
            assert sorted(notifier.rows("state, attempts")) == [(State.DELIVERED, 11), (State.DEAD, 10)]

    asyncio.run(story())


def test_what_was_sent_but_not_written_down_is_sent_again_under_the_same_id(where, payments):
    """A process that is killed between send and mark: the next one begins with the same tables."""

    async def story():
        async with Receiver() as receiver:
            killed = Notifier(where, payments)
            async with courier(killed) as first:
                killed.subscribe(receiver.url)
                payments.pay(7)
                killed.follow()
                first.step()
                await first.idle()
                assert len(receiver.got) == 7
                first._over.clear()  # what a kill loses
            killed.close()
            following = Notifier(where, payments, killed.clock)
            async with courier(following) as second:
                await deliver(second)
            assert len(receiver.got) == 14
            assert len(set(receiver.ids)) == 7
            assert {state for [state] in following.rows("state")} == {State.DELIVERED}
            following.close()

    asyncio.run(story())


def test_what_was_tried_before_is_tried_again_after_a_start_though_nothing_new_comes(where, payments):
    async def story():
        async with Receiver() as receiver:
            receiver.answer = lambda request, body: web.Response(status=500)
            first = Notifier(where, payments)
            first.subscribe(receiver.url)
            payments.pay(2)
            first.follow()
            async with courier(first) as made:
                await deliver(made)
            first.close()
            assert len(receiver.got) == 2
            second = Notifier(where, payments, first.clock)
            second.clock.advance(DAY)
            receiver.answer = lambda request, body: web.Response(status=204)
            async with courier(second) as made:
                await deliver(made)
            assert {state for [state] in second.rows("state")} == {State.DELIVERED}
            second.close()

    asyncio.run(story())


def test_a_stop_lets_what_is_on_its_way_arrive_and_writes_it_down(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            notifier.subscribe(receiver.url)
            payments.pay(5)
            notifier.follow()
            made.step()
            await made.stop(5)
            states = [state for [state] in notifier.rows("state")]
            assert states.count(State.DELIVERED) == len(receiver.got)

    asyncio.run(story())


def test_what_a_stop_breaks_off_counts_as_never_tried(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            never = asyncio.Event()

            async def wait(request, body):
                await never.wait()

            receiver.answer = lambda request, body: wait(request, body)
            subscription = notifier.subscribe(receiver.url)
            payments.pay(1)
            notifier.follow()
            made.step()
            async with asyncio.timeout(5):
                while not receiver.at_once:
                    await asyncio.sleep(0)
            await made.stop(0.01)
            assert notifier.rows("state, tries, attempts") == [(State.WAITING, 0, 0)]
            assert again(notifier, subscription.number).failing_since is None
            never.set()

    asyncio.run(story())


def test_no_more_is_sent_to_a_subscription_that_is_deleted(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            subscription = notifier.subscribe(receiver.url)
            payments.pay(3)
            notifier.follow()
            with notifier.tables.commit():
                notifier.subscriptions.delete(subscription)
                notifier.deliveries.forget(subscription.number)
            await deliver(made)
            assert receiver.got == []

    asyncio.run(story())


def test_a_changed_url_counts_for_what_waits(notifier, payments):
    async def story():
        async with Receiver() as old, Receiver() as new, courier(notifier) as made:
            old.answer = lambda request, body: web.Response(status=500)
            subscription = notifier.subscribe(old.url)
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            with notifier.tables.commit():
                notifier.tables.run("UPDATE subscriptions SET url = ? WHERE number = ?", new.url, subscription.number)
            notifier.subscriptions.load()
            notifier.clock.advance(6 * SECOND)
            await deliver(made)
            assert (len(old.got), len(new.got)) == (1, 1)
            assert old.ids == new.ids

    asyncio.run(story())


def test_the_step_says_when_there_is_more_to_do(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            receiver.answer = lambda request, body: web.Response(status=500)
            notifier.subscribe(receiver.url)
            assert made.step() == 1.0
            payments.pay(1)
            notifier.follow()
            await deliver(made)
            assert made.step() == 1.0
            notifier.clock.advance(round(4.9 * SECOND))
            assert 0 < made.step() < 1.0

    asyncio.run(story())


def test_old_deliveries_are_forgotten_with_their_attempts(notifier, payments):
    async def story():
        async with Receiver() as receiver, courier(notifier) as made:
            notifier.subscribe(receiver.url)
            payments.pay(2)
            notifier.follow()
            await deliver(made)
            assert notifier.deliveries.tidy(notifier.clock.wall_ns() - DAY) == 0
            notifier.clock.advance(2 * DAY)
            payments.pay(1)
            notifier.follow()
            with notifier.tables.commit():
                assert notifier.deliveries.tidy(notifier.clock.wall_ns() - DAY) == 2
            assert len(notifier.rows()) == 1
            assert notifier.tables.rows("SELECT count(*) FROM attempts") == [(0,)]

    asyncio.run(story())


def test_a_tenant_s_own_words_reach_only_its_own_subscriptions(notifier, payments):
    async def story():
        async with Receiver() as mine, Receiver() as theirs, courier(notifier) as made:
            notifier.subscribe(mine.url)
            notifier.subscribe(theirs.url, tenant=OTHER)
            payments.pay(4, tenant=TENANT)
            notifier.follow()
            await deliver(made)
            assert (len(mine.got), theirs.got) == (4, [])

    asyncio.run(story())
