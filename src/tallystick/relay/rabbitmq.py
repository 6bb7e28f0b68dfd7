"""The outlet to a RabbitMQ topic exchange. The routing key is `TENANT.TYPE`, say `7.transfer.created`.

Messages are persistent, published in order on one channel, many on their way at once, and each is confirmed. A queue
that was bound gets them in that order. What it had of a session that broke off are the first ones, so no gap is there;
but for a queue that refuses some and takes later ones (`x-overflow: reject-publish`), whose receivers must go by ids.

**An event for which no queue is bound** is returned, counted and told, and is no reason to stop: a topic exchange is
asked for some events and not for others, and a relay that waited for a receiver would wait for ever.

pika's blocking connection waits without a deadline where a broker dies at the wrong moment, so the loop here is driven
by hand, and every wait ends: with what was waited for, with the session, or when nothing has come for a while.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pika
import pika.exceptions
import structlog
from pika.adapters.select_connection import IOLoop, SelectConnection

from tallystick.brokers import rabbitmq as session
from tallystick.brokers.address import Address
from tallystick.clock import Clock
from tallystick.errors import Invalid, OutcomeUnknown, TallystickError, Unavailable
from tallystick.relay.cloudevents import CONTENT_TYPE
from tallystick.relay.port import Event

OPEN_S = 8.0
"""How long it may take until a session can be used, with every host that is tried."""
SILENT_S = 8.0
"""Nothing confirmed for so long, and the rest is unknown."""
CLOSE_S = 1.0
WINDOW = 1_000
"""Events on their way at once: what is in memory here and there, and enough for the broker's syncs to be shared."""
_REFUSED = (403, 404, 406)
"""Reply codes of a channel that was closed for what the settings, or the broker's, are."""
_PROPERTIES = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)
_log = structlog.get_logger("tallystick.relay.rabbitmq")


class RabbitOutlet:
    """One exchange of one broker (`relay.port.Outlet`)."""

    def __init__(self, address: Address, clock: Clock) -> None:
        """Nobody is asked before the first `connect` or `send`."""
        self._address = address
        self._clock = clock
        self._session: _Session | None = None

    def connect(self) -> None:
        self._opened()

    def send(self, events: Sequence[Event]) -> int:
        try:
            return self._opened().send(events)
        except BaseException:
            self._give_up()
            raise

    def _opened(self) -> "_Session":
        if self._session is None:
            self._session = _Session(self._address, self._clock)
        return self._session

    def tend(self) -> None:
        if self._session is None:
            return
        self._session.tend()
        if self._session.failure is not None:
            _log.warning("rabbitmq", broker=str(self._address), error=session.told(self._session.failure))
            self._give_up()

    def _give_up(self) -> None:
        gone, self._session = self._session, None
        if gone is not None:
            gone.end()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


class _Session:
    """One connection with one channel in confirm mode, and the loop that drives them."""

    def __init__(self, address: Address, clock: Clock) -> None:
        """Ready to publish. Raises `Unavailable`, or `Invalid` for what needs a person."""
        self.failure: BaseException | None = None
        self._address = address
        self._clock = clock
        self._connection: SelectConnection | None = None
        self._channel: Any = None
        self._ready = False
        self._published = 0
        self._outstanding: set[int] = set()
        self._unrouted = 0
        configs = session.parameters(address)
        self._loop = IOLoop()
        self._loop.activate_poller()
        self._opening = SelectConnection.create_connection(configs, self._connected, self._loop)
        try:
            self._wait(lambda: self._ready, OPEN_S)
        except OutcomeUnknown as error:
            self.end()
            raise Unavailable(str(error)) from error
        except session.LOST as error:
            self.end()
            raise session.unavailable(address, error) from error
        except BaseException:
            self.end()
            raise

    def send(self, events: Sequence[Event]) -> int:
        """As `relay.port.Outlet.send`; afterwards, if it raised, this session is spent."""
        before = self._unrouted
        try:
            for event in events:
                if len(self._outstanding) >= WINDOW:
                    self._wait(lambda: len(self._outstanding) <= WINDOW // 2, SILENT_S)
                self._published += 1
                self._outstanding.add(self._published)
                self._channel.basic_publish(self._address.name, event.route, event.body, _PROPERTIES, mandatory=True)
            self._wait(lambda: not self._outstanding, SILENT_S)
        except session.LOST as error:
            raise OutcomeUnknown(f"{self._address} ended the session: {session.told(error)}") from error
        return self._unrouted - before

    def tend(self) -> None:
        """Take what has come, heartbeats above all, without waiting."""
        try:
            self._turn(0)
        except session.LOST as error:
            self._fail(error)

    def close(self) -> None:
        """End it as the protocol wants it, if that does not take long."""
        if self._connection is not None and self.failure is None:
            with suppress(*session.LOST, TallystickError):
                self._connection.close()
                self._wait(lambda: self.failure is not None, CLOSE_S)
        self.end()

    def end(self) -> None:
        """Let go of socket and loop at once, whatever state they are in."""
        if self._loop is None:
            return
        gone = pika.exceptions.StreamLostError("given up")
        with suppress(*session.LOST, AssertionError):
            if self._connection is None:
                if self.failure is None:
                    self._opening.abort()
            elif not self._connection.is_closed:
                self._connection._terminate_stream(gone)  # its own timers do the same
            self._turn(0)
            self._turn(0)
        self.failure = self.failure or gone
        self._loop.deactivate_poller()
        self._loop.close()
        self._loop = None

    def _connected(self, found: Any) -> None:
        if isinstance(found, BaseException):
            self._fail(_cause(found))
            return
        self._connection = found
        found.add_on_close_callback(lambda _, error: self._fail(error))
        found.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, error: self._fail(error))
        channel.add_on_return_callback(self._returned)
        channel.exchange_declare(self._address.name, "topic", durable=True, callback=self._declared)

    def _declared(self, _: Any) -> None:
        self._channel.confirm_delivery(self._confirmed, callback=self._confirms)

    def _confirms(self, _: Any) -> None:
        self._ready = True

    def _returned(self, *_: Any) -> None:
        self._unrouted += 1

    def _confirmed(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._fail(pika.exceptions.NackError([]))
        elif frame.method.multiple:
            self._outstanding = {each for each in self._outstanding if each > tag}
        else:
            self._outstanding.discard(tag)

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def _wait(self, done: Callable[[], bool], silent_s: float) -> None:
        """Until `done`. Raises `OutcomeUnknown` when the session ends, or nothing more is confirmed for so long."""
        left, until_ns = len(self._outstanding), self._clock.monotonic_ns() + int(silent_s * 1e9)
        while True:
            if self.failure is not None:  # first of all: a later word may cover what was refused
                raise self._meaning(self.failure)
            if done():
                return
            now_ns = self._clock.monotonic_ns()
            if len(self._outstanding) != left:
                left, until_ns = len(self._outstanding), now_ns + int(silent_s * 1e9)
            elif now_ns >= until_ns:
                raise OutcomeUnknown(f"{self._address} has been silent for {silent_s:g} s")
            self._turn((until_ns - now_ns) / 1e9)

    def _turn(self, seconds: float) -> None:
        """One turn of the loop, which waits no longer than that."""
        timer = self._loop.call_later(seconds, lambda: None)
        self._loop.poll()
        self._loop.process_timeouts()
        self._loop.remove_timeout(timer)

    def _meaning(self, error: BaseException) -> TallystickError:
        if not self._ready:
            if isinstance(error, pika.exceptions.ChannelClosedByBroker) and error.reply_code in _REFUSED:
                return Invalid("", f"{self._address} cannot be the exchange: {error.reply_text}")
            return session.unavailable(self._address, error)
        if isinstance(error, pika.exceptions.NackError):
            return Unavailable(f"{self._address}: a queue took no event; is it full, or without a leader?")
        return OutcomeUnknown(f"{self._address} ended the session: {session.told(error)}")


def _cause(error: Any) -> Any:
    """What a connection failed of, out of the wrappers around it; of several hosts, the last one's."""
    while inner := (getattr(error, "exceptions", None) or [getattr(error, "exception", None)])[-1]:
        error = inner
    return error
