"""The queues of an intake on RabbitMQ as they must be, and how a block gets into one.

A quorum queue syncs before it confirms. With a delivery limit it drops a message that was delivered so often, and a
death of its consumer counts. 4.x has a limit of 20 unless told otherwise: an engine that restarts in a loop would lose
acknowledged payments. Its word for none, -1, is taken by 3.10.8 for a limit that is passed already: a message is gone
when the first engine dies that was given it (tried). So the limit is a number that both understand and nobody reaches.
With a length limit it drops the oldest, or, told so, refuses. A queue that is there with other arguments is refused by
the broker, which names the argument. Policies are not part of that comparison: none may match these queues.
"""

from typing import Any

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from tallystick.brokers.address import Address
from tallystick.brokers.rabbitmq import PERSISTENT
from tallystick.errors import Invalid

SUBMIT_S = 8.0
"""When a message counts as unknown that the broker has not confirmed."""
SETTLE_S = 2.0
"""3.10.8 forgets the log of a queue declared within the second before it is killed, and what it confirmed with it
(tried: 0 s lost, 1 s and more kept). So a new queue takes nothing before it is that old."""
DELIVERIES_MAX = 1 << 53
QUEUE_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERIES_MAX}
LANE_ARGUMENTS: dict[str, Any] = {**QUEUE_ARGUMENTS, "x-single-active-consumer": True}
NOT_FOUND, LOCKED, PRECONDITION_FAILED = 404, 405, 406


def declare(address: Address, connection: BlockingConnection, queue: str, arguments: dict[str, Any]) -> None:
    """Have a durable queue, as it must be. Raises `Invalid` that names what another one has there."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise
        raise Invalid("", f"{address} would lose acknowledged payments: {error.reply_text}") from error
    channel.close()


def publish(connection: BlockingConnection, channel: BlockingChannel, queue: str, body: bytes) -> None:
    """Durable when it returns, within `SUBMIT_S`. Raises one of `LOST` if that is not known: the session is over then.

    A queue without a leader answers after 65 s, while the session lives. The client has no deadline of its own, so a
    timer of its loop ends the session, in the way in which its own timer for blocked sessions does.
    """
    inner = connection._impl
    silent = pika.exceptions.ConnectionBlockedTimeout(f"no confirm within {SUBMIT_S:g} s")
    timer = inner._adapter_call_later(SUBMIT_S, lambda: inner._terminate_stream(silent))
    try:
        channel.basic_publish("", queue, body, PERSISTENT, mandatory=True)
    finally:
        inner._adapter_remove_timeout(timer)


def exists(connection: BlockingConnection, queue: str) -> bool:
    """Whether there is a queue of that name."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return False
    channel.close()
    return True


def lock(connection: BlockingConnection, name: str) -> BlockingChannel | None:
    """Own a name until the session ends or the channel deletes that queue; None if another session owns it."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, exclusive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != LOCKED:
            raise
        return None
    return channel
