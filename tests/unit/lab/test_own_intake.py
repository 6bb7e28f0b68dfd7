import pytest

from tallystick.lab.own_intake import own_intake


@pytest.mark.parametrize(
    ("intake", "own"),
    [
        ("files", "files"),
        ("kafka://a:9092/tally", "kafka://a:9092/tally-07070707"),
        ("rabbitmq://me:x@a", "rabbitmq://me:x@a/tally-07070707"),
        ("kafka://a/tally?tls=on&ca=/etc/ca.crt", "kafka://a/tally-07070707?tls=on&ca=/etc/ca.crt"),
        ("kafka://a?tls=on&ca=/etc/ca.crt", "kafka://a/tally-07070707?tls=on&ca=/etc/ca.crt"),
    ],
)
def test_a_broker_gets_a_name_that_nobody_has_had_and_files_stay_files(intake, own):
    assert own_intake(intake, lambda count: b"\7" * count) == own
