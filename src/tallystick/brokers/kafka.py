"""What every client of a Kafka cluster is told, and its errors in one line."""

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from tallystick.brokers.address import Address
from tallystick.errors import Unavailable

quiet = logging.getLogger("tallystick.brokers.kafka.client")
"""For a client's own log: what matters of it comes by its `error_cb`."""
quiet.propagate = False
quiet.addHandler(logging.NullHandler())


def client_settings(address: Address) -> dict[str, Any]:
    """What every client of this cluster is told."""
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(f"{host}:{port}" for host, port in address.hosts),
        "client.id": "tallystick",
        "socket.connection.setup.timeout.ms": 5_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        # Who leads, and who answers for topics, is asked anew so often. The client's own five minutes are how long it
        # would wait for a broker that has died meanwhile.
        "topic.metadata.refresh.interval.ms": 1_000,
    }
    security = "SSL" if address.tls else "PLAINTEXT"
    if address.user:
        found |= {
            "sasl.mechanism": address.options.get("mechanism", "SCRAM-SHA-256"),
            "sasl.username": address.user,
            "sasl.password": address.password,
        }
        security = f"SASL_{security}"
    found["security.protocol"] = security
    files = {"ca": "ssl.ca.location", "certificate": "ssl.certificate.location", "key": "ssl.key.location"}
    return found | {files[name]: value for name, value in address.options.items() if name in files}


def unavailable(address: Address, error: KafkaException) -> Unavailable:
    """In one line what a broker, or the client, said."""
    told = error.args[0]
    return Unavailable(f"{address} does not serve: {told.str() if isinstance(told, KafkaError) else told}")
