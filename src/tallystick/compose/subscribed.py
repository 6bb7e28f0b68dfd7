"""What the notifier of a shard is asked when a tenant moves: it alone has the tables, in files as in a database."""

import socket
from types import TracebackType

from tallystick.answers.addresses import address
from tallystick.answers.frames import Frames, frame
from tallystick.clock import SystemClock
from tallystick.compose import services
from tallystick.errors import Invalid, Unavailable
from tallystick.inquiries import wire
from tallystick.inquiries.wire import Outcome
from tallystick.notifier.schema import FILE
from tallystick.settings import Settings

NAME = "notifier"
ANSWER_S = 30.0
READ_BYTES = 262_144


def is_kept(settings: Settings) -> bool:
    """Whether the shard's notifier ever kept anything: where none did, nobody has subscribed.

    Raises `Unavailable` if that cannot be known now.
    """
    if settings.services == services.FILES:
        return settings.path(*FILE).exists()
    return NAME in services.kept_there(settings)


class Notifier:
    """The notifier of one shard, to be asked something. Leave the context to let go of it."""

    def __init__(self, settings: Settings) -> None:
        """Raises `Unavailable` if it does not run."""
        self._shard = settings.shard
        self._clock = SystemClock()
        self._number = 0
        self._frames = Frames()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(address(settings.data, NAME).path))
        except OSError as error:
            self._socket.close()
            raise Unavailable(
                f"the notifier of shard {self._shard} does not run, which has its tenants' webhooks; "
                "`tally up` starts it"
            ) from error

    def ask(self, operation: str, tenant: int, body: bytes) -> bytes:
        """What it answers. Raises `Invalid` as it does, and `Unavailable`: it may have been done then."""
        self._number += 1
        deadline_ns = self._clock.monotonic_ns() + round(ANSWER_S * 1e9)
        try:
            self._socket.sendall(frame(wire.encode(wire.Inquiry(self._number, operation, tenant, deadline_ns, body))))
            while data := self._socket.recv(READ_BYTES):
                for one in self._frames.feed(data):
                    found = wire.decode_reply(one)
                    if found.number == self._number:
                        return self._told(found)
        except OSError as error:
            raise Unavailable(f"the notifier of shard {self._shard} did not answer: {error}. Do it again") from error
        raise Unavailable(f"the notifier of shard {self._shard} ended; do it again once it is back")

    def _told(self, reply: wire.Reply) -> bytes:
        if reply.outcome is Outcome.DONE:
            return reply.body
        text = reply.body.decode()
        if reply.outcome is Outcome.INVALID:
            field, _, message = text.partition("\0")
            raise Invalid(field, message)
        raise Unavailable(f"the notifier of shard {self._shard}: {text}")

    def __enter__(self) -> "Notifier":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
