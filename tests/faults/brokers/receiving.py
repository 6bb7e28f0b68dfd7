"""A receiver of events, as a bank would write one: it takes what comes, and drops what is not beyond its last one."""

import json
import secrets
import time

from confluent_kafka import Consumer, TopicPartition

from tallystick import telling
from tallystick.records.entries import WORK


def positions_told(journal):
    """By tenant, the positions of all that is told of, in order: what a receiver must end up with."""
    found = {}
    for block in journal.read(0):
        work = block.entries.view(WORK)
        for row in work[telling.types_of(work) != telling.NONE]:
            found.setdefault(int(row["tenant"]), []).append(int(row["seq"]))
    return found


def taken_once(events):
    """By tenant, what such a receiver takes of these events, in the order in which they came."""
    taken = {}
    for event in events:
        tenant, position = int(event["tenant"]), int(event["sequence"])
        seen = taken.setdefault(tenant, [])
        if not seen or position > seen[-1]:
            seen.append(position)
    return taken


def read_topic(kafka, topic, at_least=0, seconds=60):
    """Every record of the topic, as (partition, key, headers, event), those of a partition in order."""
    consumer = Consumer({**kafka.client_settings(), "group.id": secrets.token_hex(8), "enable.auto.commit": False})
    try:
        known = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ends = {each: consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=30)[1] for each in known}
        consumer.assign([TopicPartition(topic, each, 0) for each in known])
        found, missing, deadline = [], {each for each in known if ends[each]}, time.monotonic() + seconds
        while missing:
            assert time.monotonic() < deadline, "the topic cannot be read to its end"
            for message in consumer.consume(1000, 0.2):
                assert message.error() is None, message.error()
                found.append((message.partition(), message.key(), message.headers(), json.loads(message.value())))
                if message.offset() == ends[message.partition()] - 1:
                    missing.discard(message.partition())
        assert len(found) >= at_least
        return found
    finally:
        consumer.close()


def read_queue(rabbitmq, queue, settled=1.5):
    """Every message of the queue, as (routing key, properties, event), until none has come for a while."""
    connection = rabbitmq.connect()
    try:
        channel, found = connection.channel(), []
        channel.basic_qos(prefetch_count=500)
        for method, properties, body in channel.consume(queue, inactivity_timeout=settled):
            if method is None:
                break
            found.append((method.routing_key, properties, json.loads(body)))
            channel.basic_ack(method.delivery_tag)
        return found
    finally:
        connection.close()
