"""What an engine does for its topics now and then: delete what is decided and old, see that they are still the same.

Never waits: a question goes out, and a later `step` looks whether its answer has come.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tallystick.brokers.topics import ADMIN_S, Topic, topic_id
from tallystick.errors import Corrupt

_log = structlog.get_logger("tallystick.intake.kafka")
Place = tuple[str, int]


class Chores:
    """One round after the other. Used by one thread."""

    def __init__(self, admin: AdminClient, topics: Mapping[str, Topic]) -> None:
        self._admin = admin
        self._topics = topics
        self._questions: Mapping[Any, Future[Any]] = {}
        self._answered: Callable[[], None] | None = None
        self._decided: dict[Place, int] = {}
        self._before_ms = 0
        self._deleted: dict[Place, int] = {}

    @property
    def idle(self) -> bool:
        """Whether the last round is over."""
        return self._answered is None

    def begin(self, decided: Mapping[Place, int], before_ms: int) -> None:
        """A round: blocks up to `decided` that are older than `before_ms` go."""
        self._decided = {place: upto for place, upto in decided.items() if upto > self._deleted.get(place, 0)}
        self._before_ms = before_ms
        names = TopicCollection(list(self._topics))
        self._ask(self._admin.describe_topics(names, request_timeout=ADMIN_S), self._look)

    def step(self) -> None:
        """Go on if the answers are there. Raises `Corrupt` if a topic is not the one it was."""
        if self._answered is None or not all(question.done() for question in self._questions.values()):
            return
        answered, self._answered = self._answered, None
        try:
            answered()
        except KafkaException as error:
            _log.warning("kafka: housekeeping failed, and is tried again", error=error.args[0].str())

    def _ask(self, questions: Mapping[Any, Future[Any]], answered: Callable[[], None]) -> None:
        self._questions, self._answered = questions, answered

    def _look(self) -> None:
        for name, question in self._questions.items():
            if topic_id(question.result()) != self._topics[name].id:
                raise Corrupt(f"topic {name} was made anew; what it held is gone")
        if self._decided:
            spec = OffsetSpec.for_timestamp(self._before_ms)
            places = {TopicPartition(*place): spec for place in self._decided}
            self._ask(self._admin.list_offsets(places, request_timeout=ADMIN_S), self._delete)

    def _delete(self) -> None:
        old = {(place.topic, place.partition): answer.result().offset for place, answer in self._questions.items()}
        upto = {
            place: min(decided, old[place]) if old[place] >= 0 else decided  # -1: there is none so young
            for place, decided in self._decided.items()
        }
        upto = {place: offset for place, offset in upto.items() if offset > self._deleted.get(place, 0)}
        if upto:
            places = [TopicPartition(*place, offset) for place, offset in upto.items()]
            self._ask(self._admin.delete_records(places, request_timeout=ADMIN_S), self._check_deleted)
            self._deleted.update(upto)

    def _check_deleted(self) -> None:
        for question in self._questions.values():
            question.result()
