"""Questions about topics whose connection ends meanwhile, which no broker does when it is told."""

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from tallystick.brokers.address import parse
from tallystick.brokers.topics import ASKED_MAX, look
from tallystick.errors import Unavailable

ADDRESS = parse("kafka://127.0.0.1:9092/ledger", "TALLY_INTAKE")


class Failing:
    """Answers with errors, in order; asked once more it would answer what no test waits for."""

    def __init__(self, *codes):
        self.codes = list(codes)

    def describe_topics(self, topics, request_timeout):
        answer = Future()
        answer.set_exception(KafkaException(KafkaError(self.codes.pop(0))))
        return {"payments": answer}


def test_a_connection_that_ends_while_a_broker_is_asked_is_no_answer():
    cluster = Failing(KafkaError._DESTROY_BROKER, KafkaError._TRANSPORT, KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert look(cluster, ADDRESS, ("payments",)) == {}
    assert not cluster.codes


def test_a_cluster_whose_connections_all_end_does_not_serve():
    cluster = Failing(*[KafkaError._TRANSPORT] * ASKED_MAX)
    with pytest.raises(Unavailable, match="does not serve"):
        look(cluster, ADDRESS, ("payments",))
    assert not cluster.codes


def test_a_refusal_is_told_at_once():
    cluster = Failing(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(Unavailable, match="does not serve"):
        look(cluster, ADDRESS, ("payments",))
