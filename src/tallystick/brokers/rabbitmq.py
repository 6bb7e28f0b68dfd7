"""Sessions with a RabbitMQ broker: how one begins, and what it means when one ends."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingConnection

from tallystick.brokers.address import Address
from tallystick.errors import Invalid, Unavailable

HEARTBEAT_S = 4
"""Silence that ends a session, at either end, after twice that at most."""
CONNECT_S = 3.0
BLOCKED_S = 8.0
"""How long a broker that is short of disk or memory may leave a publisher waiting."""
LOST = (pika.exceptions.AMQPError, OSError)
"""What a client raises when a session is over."""
PERSISTENT = pika.BasicProperties(delivery_mode=2)
# It tells of each channel, and of each try to connect with a stack trace; what matters of it we say in one line.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def connect(address: Address) -> BlockingConnection:
    """A session with the first host that answers. Raises `Unavailable` in one line, `Invalid` for files of no use."""
    try:
        return BlockingConnection(parameters(address))
    except LOST as error:
        raise unavailable(address, error) from error


def parameters(address: Address) -> list[pika.ConnectionParameters]:
    """One for each host. Raises `Invalid` for files of no use."""
    context = _tls(address) if address.tls else None
    return [
        pika.ConnectionParameters(
            host,
            port,
            credentials=pika.PlainCredentials(address.user or "guest", address.password or "guest"),
            ssl_options=pika.SSLOptions(context, host) if context else None,
            heartbeat=HEARTBEAT_S,
            socket_timeout=CONNECT_S,
            stack_timeout=2 * CONNECT_S,
            blocked_connection_timeout=BLOCKED_S,
            client_properties={"connection_name": "tallystick"},
        )
        for host, port in address.hosts
    ]


def _tls(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.options.get("ca"))
        if certificate := address.options.get("certificate"):
            context.load_cert_chain(certificate, address.options.get("key"))
    except OSError as error:
        raise Invalid("", f"{address}: a file of ca, certificate, key is of no use: {error}") from error
    return context


def unavailable(address: Address, error: BaseException) -> Unavailable:
    """In one line what the client says of it."""
    return Unavailable(f"{address} does not serve: {told(error)}")


def told(error: BaseException) -> str:
    """An error of the client's, in a few words."""
    why = str(error) or ", ".join(map(repr, error.args))  # of a session that never began it has the causes only
    return " ".join(f"{type(error).__name__} {why}".split())[:200]


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """A session that ends meanwhile is `Unavailable`: for what changes nothing, or may be done again."""
    try:
        yield
    except LOST as error:
        raise unavailable(address, error) from error
