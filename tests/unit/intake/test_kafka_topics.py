import pytest

from tallystick.intake.kafka_topics import MESSAGE_BYTES_MIN, SETTINGS, faults

SAFE = {**SETTINGS, "flush.messages": "1", "min.insync.replicas": "1"}
NEVER = "9223372036854775807"


@pytest.mark.parametrize(
    ("replicas", "changed"),
    [
        (1, {}),
        (3, {"flush.messages": NEVER, "min.insync.replicas": "2"}),
        (5, {"flush.messages": NEVER, "min.insync.replicas": "3"}),
        (1, {"max.message.bytes": str(MESSAGE_BYTES_MIN)}),
    ],
)
def test_a_topic_whose_records_stay_is_taken(replicas, changed):
    assert faults({**SAFE, **changed}, replicas) == []


@pytest.mark.parametrize(
    ("replicas", "changed", "named"),
    [
        (1, {"flush.messages": NEVER}, "flush.messages"),
        # the broker takes the smaller of this and the replicas there are, so it proves nothing
        (1, {"flush.messages": NEVER, "min.insync.replicas": "2"}, "replicas 1 and min.insync.replicas 2"),
        (2, {"flush.messages": NEVER, "min.insync.replicas": "2"}, "replicas 2"),
        (3, {"flush.messages": NEVER, "min.insync.replicas": "1"}, "min.insync.replicas 1"),
        (3, {"flush.messages": "1", "min.insync.replicas": "1"}, "min.insync.replicas 1"),
        (1, {"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable true"),
        (1, {"cleanup.policy": "compact"}, "cleanup.policy compact"),
        (1, {"cleanup.policy": "compact,delete"}, "cleanup.policy compact,delete"),
        (1, {"retention.ms": "604800000"}, "retention.ms 604800000"),
        (1, {"retention.bytes": "1073741824"}, "retention.bytes 1073741824"),
        (1, {"max.message.bytes": "1048588"}, f"max.message.bytes 1048588 (wanted: at least {MESSAGE_BYTES_MIN})"),
    ],
)
def test_a_setting_that_could_lose_an_acknowledged_record_is_named(replicas, changed, named):
    (fault,) = faults({**SAFE, **changed}, replicas)
    assert named in fault


def test_every_fault_is_named_not_only_the_first():
    assert len(faults({**SAFE, "retention.ms": "1", "cleanup.policy": "compact"}, 1)) == 2
