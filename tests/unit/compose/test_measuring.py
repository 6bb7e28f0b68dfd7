"""What is said in the engine's log about requests, where something went wrong; what is counted, e2e tests see."""

import numpy as np
import structlog

from tallystick.compose import measuring
from tallystick.engine.drafts import Answer, Delivery, Draft
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.measures import table
from tallystick.records.commands import Kind, frame
from tallystick.records.results import RESULT


def delivery(request_id, lane=b"L" * 16, count=2):
    commands = frame(bytes(128 * count), Kind.TRANSFER, tenant=1, request_id=request_id, submitted_at=1)
    return Delivery(commands, lane, 7 if lane else 0)


class Given:
    def __init__(self, deliveries):
        self.deliveries = deliveries

    def receive(self, commands_max):
        return self.deliveries


def watched(deliveries):
    clock = SimulatedClock()
    watch = measuring.Watch(table.in_memory(measuring.FAMILIES), clock)
    watch.source(Given(deliveries)).receive(8190)
    return watch, clock


def draft(deliveries):
    return Draft(None, 40, {}, [Answer(each, np.zeros(len(each.commands), RESULT)) for each in deliveries])


def test_a_batch_that_is_slow_to_decide_is_told_with_its_requests():
    deliveries = [delivery(0xAB), delivery(0xCD)]
    watch, clock = watched(deliveries)
    clock.advance(measuring.SLOW_NS + 1)
    with structlog.testing.capture_logs() as logs:
        watch.putting(lambda work: None)(draft(deliveries))
    assert [line["event"] for line in logs] == ["slow to decide"]
    assert logs[0]["request_ids"] == [f"{0xAB:032x}", f"{0xCD:032x}"]
    assert logs[0]["commands"] == 4
    assert logs[0]["lanes"] == [f"{b'L'.hex() * 16}:7"] * 2


def test_a_quick_batch_leaves_no_line():
    watch, _ = watched([delivery(0xAB)])
    with structlog.testing.capture_logs() as logs:
        watch.putting(lambda work: None)(draft([delivery(0xAB)]))
    assert logs == []


def test_a_request_that_is_decided_alone_is_told():
    watch, _ = watched([delivery(0xAB)])
    with structlog.testing.capture_logs() as logs:
        watch.putting(lambda work: None)(draft([delivery(0xEF, lane=b"")]))
    assert [(line["event"], line["request_ids"]) for line in logs] == [("request decided alone", [f"{0xEF:032x}"])]


def test_what_ends_the_engine_is_told_with_what_it_was_at_and_no_endless_line():
    watch, _ = watched([delivery(number, count=1) for number in range(1, 300)])
    with structlog.testing.capture_logs() as logs:
        watch.ends(OSError("no"))
    assert logs[0]["kind"] == "OSError"
    assert len(logs[0]["request_ids"]) == measuring.LOGGED_IDS_MAX
    assert logs[0]["commands"] == 299
