import pytest

from tallystick.relay.kafka import SETTINGS, faults

NEVER = "9223372036854775807"
SAFE = {**SETTINGS, "flush.messages": "1", "min.insync.replicas": "1", "retention.ms": "604800000"}


def test_a_topic_that_keeps_what_it_confirms_is_taken_however_long_it_keeps_it():
    assert faults(SAFE, 1) == []
    assert faults({**SAFE, "flush.messages": NEVER, "min.insync.replicas": "2"}, 3) == []


@pytest.mark.parametrize(
    ("replicas", "changed", "named"),
    [
        (1, {"flush.messages": NEVER}, "flush.messages"),
        (2, {"flush.messages": NEVER, "min.insync.replicas": "2"}, "replicas 2"),
        (1, {"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable true"),
        (1, {"cleanup.policy": "compact"}, "cleanup.policy compact"),
        (1, {"cleanup.policy": "compact,delete"}, "cleanup.policy compact,delete"),
    ],
)
def test_a_setting_that_would_lose_an_event_is_named(replicas, changed, named):
    (fault,) = faults({**SAFE, **changed}, replicas)
    assert named in fault
